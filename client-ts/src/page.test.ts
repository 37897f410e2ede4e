// @vitest-environment happy-dom

import { afterEach, expect, test, vi } from "vitest";
import { page } from "./page.js";

afterEach(() => vi.unstubAllGlobals());

class FakeSocket {
  static last: FakeSocket;
  onopen?: () => void;
  onmessage?: (event: { data: unknown }) => void;
  onclose?: (event: { code: number; reason: string }) => void;
  onerror?: () => void;
  protocol = "realtime.v1.json";

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.last = this;
  }
}

const environment = page(FakeSocket as unknown as typeof WebSocket);

test("a token is offered beside the subprotocol, in a form that a subprotocol may have", () => {
  const offered = (token: string | undefined) => {
    environment.dial({ url: "ws://host/x", token }, events());
    return FakeSocket.last.protocols;
  };
  expect(offered(undefined)).toEqual(["realtime.v1.json"]);
  expect(offered("a.b-c_d~1")).toEqual(["realtime.v1.json", "bearer.a.b-c_d~1"]);
  expect(offered("a b/=,ž?>")).toEqual(["realtime.v1.json", "bearer64.YSBiLz0sxb4_Pg"]);
  expect(offered("")).toEqual(["realtime.v1.json", "bearer64."]);
});

test("a socket tells what happens to it, and one end", () => {
  const told = events();
  environment.dial({ url: "ws://host/x", token: undefined }, told);
  const socket = FakeSocket.last;
  socket.onopen?.();
  socket.onmessage?.({ data: "hi" });
  socket.onerror?.();
  expect(told.onClose).not.toHaveBeenCalled();
  socket.onclose?.({ code: 1012, reason: "restart" });
  expect(told.onOpen).toHaveBeenCalledWith("realtime.v1.json");
  expect(told.onMessage).toHaveBeenCalledWith("hi");
  expect(told.onClose.mock.calls).toEqual([[1012, "restart"]]);
});

test("an error while it is dialled is its end, whether or not a close event follows", () => {
  const told = events();
  environment.dial({ url: "ws://host/x", token: undefined }, told);
  FakeSocket.last.onerror?.();
  FakeSocket.last.onclose?.({ code: 1006, reason: "" });
  expect(told.onClose.mock.calls).toEqual([[1006, ""]]);
});

test("without a class of sockets it says what to do", () => {
  vi.stubGlobal("WebSocket", undefined);
  expect(() => page().dial({ url: "ws://host/x", token: undefined }, events())).toThrow(
    "in the option `WebSocket`",
  );
});

test("the question why is the same request by HTTP, in the same name", async () => {
  const fetched = vi.fn(async (_url: string, _init: RequestInit) => new Response(null, { status: 204 }));
  vi.stubGlobal("fetch", fetched);
  const { signal } = new AbortController();
  expect(await environment.probe({ url: "wss://host/x?input=1", token: "t" }, signal)).toEqual({ status: 204 });
  const [url, init] = fetched.mock.calls[0] ?? [];
  expect(url).toBe("https://host/x?input=1");
  expect(init).toMatchObject({ method: "HEAD", headers: { authorization: "Bearer t" }, credentials: "include" });
});

test("a refusal has a status and perhaps a time, a redirection neither", async () => {
  const answer = (status: number, headers = {}) => {
    vi.stubGlobal("fetch", async () => new Response(null, { status, headers }));
    return environment.probe({ url: "ws://host/x", token: undefined }, new AbortController().signal);
  };
  expect(await answer(503, { "retry-after": "7" })).toEqual({ status: 503, retryAfterMs: 7_000 });
  expect(await answer(503, { "retry-after": "999999" })).toEqual({ status: 503, retryAfterMs: 3_600_000 });
  expect(await answer(429, { "retry-after": "Thu, 01 Jan 2026 00:00:00 GMT" })).toEqual({ status: 429 });
  vi.stubGlobal("fetch", async () => ({ type: "opaqueredirect", status: 0, headers: new Headers() }));
  expect(await environment.probe({ url: "ws://host/x", token: undefined }, new AbortController().signal)).toEqual({
    status: 302,
  });
});

test("where nothing can be asked, a page of another origin is told what may be missing", async () => {
  vi.stubGlobal("fetch", async () => {
    throw new TypeError("Failed to fetch");
  });
  const ask = (url: string) => environment.probe({ url, token: undefined }, new AbortController().signal);
  vi.stubGlobal("location", { origin: "http://localhost:5173" });
  const foreign = "is http://localhost:5173 in Config::origins, and Config::cors set with credentials?";
  for (const url of ["ws://localhost:3000/x", "ws://localhost:51730/x", "wss://localhost:5173/x"]) {
    await expect(ask(url)).rejects.toThrow(foreign);
  }
  await expect(ask("ws://localhost:5173/x")).rejects.toThrow("Failed to fetch");
  // Node.js has no page.
  vi.stubGlobal("location", undefined);
  await expect(ask("ws://localhost:3000/x")).rejects.toThrow("Failed to fetch");
});

test("the page tells when it is back, may be gone, and is put away; until nobody listens", () => {
  const told: string[] = [];
  const stop = environment.watch((signal) => told.push(signal));
  const tell = (name: string, fields = {}) => window.dispatchEvent(Object.assign(new Event(name), fields));
  const show = (visibilityState: string) => {
    Object.defineProperty(document, "visibilityState", { value: visibilityState, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  };
  tell("online");
  tell("offline");
  show("hidden");
  show("visible");
  tell("pagehide", { persisted: false });
  tell("pagehide", { persisted: true });
  tell("pageshow");
  expect(told).toEqual(["wake", "check", "wake", "freeze", "wake"]);
  stop();
  tell("online");
  expect(told.length).toBe(5);
});

test("a timer that is longer than timers are does not fire at once", () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const run = vi.fn();
  const cancel = environment.after(365 * 86_400_000, run);
  vi.advanceTimersByTime(1_000);
  expect(run).not.toHaveBeenCalled();
  cancel();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

test("the clock does not go back with that of the wall", () => {
  const before = environment.now();
  vi.useFakeTimers({ toFake: ["Date"], now: 0 });
  expect(environment.now()).toBeGreaterThanOrEqual(before);
  vi.useRealTimers();
});

function events() {
  return { onOpen: vi.fn(), onMessage: vi.fn(), onClose: vi.fn(), onRefuse: vi.fn() };
}
