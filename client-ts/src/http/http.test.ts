import { afterEach, expect, test, vi } from "vitest";
import { connect, describe, type Environment, event, mutation, subscription } from "../index.js";
import { settle, TestNetwork } from "../testing/index.js";
import { EventParser } from "./events.js";
import { http } from "./index.js";

const add = mutation<number, number>("add");
const items = subscription<number, number>("items");

afterEach(() => vi.unstubAllGlobals());

test("a WebSocket that fails twice while the server answers is blocked, and calls go by HTTP", async () => {
  const { network, client, fetched } = setUp();
  const sum = client.call(add, 5);
  await block(network);
  expect(client.state.get()).toMatchObject({ status: "open" });
  expect(await sum).toBe(5);
  const [url, init] = fetched.mock.calls[0] ?? [];
  expect([url, init?.method]).toEqual(["http://server/x", "POST"]);
  expect(JSON.parse(`${init?.body}`)).toEqual({ path: "add", input: 5, timeoutMs: expect.any(Number) });
  expect([client.can("send"), client.can("emit"), client.can("answer")]).toEqual([false, false, false]);
});

test("a restart is not taken for a block", async () => {
  const { network, client } = setUp();
  client.open();
  (await network.dialed()).refuse(204);
  (await network.dialed()).lose();
  (await network.dialed()).refuse(204);
  const server = await network.accept();
  client.emit(event<number>("typing"), 1);
  expect(await server.frames()).toEqual([{ type: "event", name: "typing", data: 1 }]);
});

test("a WebSocket is tried again every five minutes, and when the page is shown", async () => {
  const { network, client } = setUp();
  client.open();
  await block(network);
  await network.advance(5 * 60_000);
  await network.accept("c1");
  expect(client.state.get()).toEqual({ status: "open", connection: "c1" });
  expect(client.can("send")).toBe(true);

  const other = setUp();
  other.client.open();
  await block(other.network);
  await other.network.signal("wake");
  // One failure is enough to come back.
  (await other.network.dialed()).refuse(204);
  await other.network.advance(2_000);
  expect(other.client.state.get()).toEqual({ status: "open", connection: "http" });
});

test("errors come as they are, and an answer that is none is a lost connection", async () => {
  const { network, client, fetched } = setUp();
  client.open();
  await block(network);
  const error = { code: "MINE", message: "no", details: { a: 1 } };
  fetched.mockImplementationOnce(async () => Response.json({ ok: false, error }, { status: 500 }));
  await expect(client.call(add, 1)).rejects.toMatchObject({ ...error, from: "server" });
  fetched.mockImplementationOnce(async () => new Response("<h1>Bad Gateway</h1>", { status: 502 }));
  await expect(client.call(add, 1)).rejects.toMatchObject({ code: "UNAVAILABLE", from: "client" });
  expect(client.state.get().status).toBe("reconnecting");
});

test("a call that is given up is aborted", async () => {
  const { network, client, fetched } = setUp();
  client.open();
  await block(network);
  let signal: AbortSignal | null | undefined;
  fetched.mockImplementationOnce((_, init) => {
    signal = init?.signal;
    return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal?.reason)));
  });
  const controller = new AbortController();
  const call = client.call(add, 1, { signal: controller.signal });
  controller.abort("enough");
  await expect(call).rejects.toBe("enough");
  await settle();
  expect(signal?.aborted).toBe(true);
  expect(client.state.get().status).toBe("open");
});

test("a subscription is a stream, which goes on behind its position where it breaks", async () => {
  const { network, client, fetched } = setUp();
  client.open();
  await block(network);
  const told: unknown[] = [];
  const streams: Stream[] = [];
  fetched.mockImplementation(async () => {
    const stream = new Stream();
    streams.push(stream);
    return stream.response;
  });
  client.subscribe(items, 3, {
    onData: (value, position) => told.push([value, position?.offset]),
    onGap: ({ count, cause }) => told.push({ count, cause }),
    onComplete: () => told.push("complete"),
  });
  await settle();
  await streams[0]?.say(":\n\nid: e:f:7\ndata: 1\n\nevent: na");
  await streams[0]?.say('med\ndata: 2\n\nevent: gap\ndata: {"count":3,"cause":"overflow"}\n\n');
  expect(told).toEqual([[1, 7], [2, undefined], { count: 3, cause: "overflow" }]);
  await streams[0]?.end();
  expect(client.state.get().status).toBe("reconnecting");
  await network.advance(1_000);
  const [url, init] = fetched.mock.calls.at(-1) ?? [];
  expect(`${url}`).toBe("http://server/x?path=items&input=3");
  expect(init?.headers).toMatchObject({ accept: "text/event-stream", "last-event-id": "e:f:7" });
  await streams[1]?.say("id: e:f:9007199254740993\ndata: 4\n\nevent: complete\ndata: null\n\n");
  expect(told.slice(3)).toEqual([[4, "9007199254740993"], "complete"]);
  expect(client.state.get().status).toBe("open");
});

test("a stream gives no more than it was granted", async () => {
  const { network, client, fetched } = setUp();
  client.open();
  await block(network);
  const stream = new Stream();
  fetched.mockImplementation(async () => stream.response);
  const updates = client.updates(items, 3);
  const first = updates.next();
  await settle();
  await stream.say("data: 1\n\n".repeat(200));
  await first;
  for (let n = 1; n < 200; n += 1) await updates.next();
  expect(client.state.get().status).toBe("open");
});

test("a refusal ends a subscription, and one that may pass is tried again", async () => {
  const { network, client, fetched } = setUp();
  client.open();
  await block(network);
  const error = { code: "PERMISSION_DENIED", message: "no" };
  fetched.mockImplementationOnce(async () => Response.json({ ok: false, error }, { status: 403 }));
  const onError = vi.fn();
  client.subscribe(items, 3, { onData: () => {}, onError });
  await settle();
  expect(onError).toHaveBeenCalledWith(expect.objectContaining(error));
  const stream = new Stream();
  fetched.mockImplementationOnce(async () => stream.response);
  client.subscribe(items, 3, { onData: () => {}, onError });
  await settle();
  await stream.say(
    'retry: 2417\nevent: error\ndata: {"code":"UNAVAILABLE","message":"full","retryable":true}\n\n',
  );
  expect(onError).toHaveBeenCalledTimes(1);
  expect(client.state.get().status).toBe("reconnecting");
});

test("a proxy that holds a stream back is a lost connection", async () => {
  const { network, client, fetched } = setUp();
  client.open();
  await block(network);
  fetched.mockImplementation((_, init) => {
    return new Promise((_, reject) => init?.signal?.addEventListener("abort", () => reject(init.signal?.reason)));
  });
  client.subscribe(items, 3, { onData: () => {} });
  await network.advance(4_999);
  expect(client.state.get().status).toBe("open");
  await network.advance(1);
  expect(client.state.get().status).toBe("reconnecting");
});

test("an event and a message are refused in words", async () => {
  const logged = vi.spyOn(console, "warn").mockImplementation(() => {});
  const { network, client } = setUp();
  const onError = vi.fn();
  client.onError(onError);
  client.open();
  await block(network);
  client.emit(event<number>("typing"), 1);
  await settle();
  expect(onError).toHaveBeenCalledWith(expect.objectContaining({ code: "UNIMPLEMENTED" }));
  logged.mockRestore();
});

test("closing ends all requests and timers", async () => {
  const { network, client, fetched } = setUp();
  client.open();
  await block(network);
  const stream = new Stream();
  fetched.mockImplementation(async () => stream.response);
  client.subscribe(items, 3, { onData: () => {}, onError: () => {} });
  await settle();
  await client.close();
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
});

test("events are the same in whatever pieces they come", () => {
  const text = "retry: 5\r\nid: e:1\r\nevent: a\ndata: 1\ndata:2\r\r: comment\n\ndata\n\nid: only\n\ndata: x\n\n";
  const whole = new EventParser().push(text);
  expect(whole.map(({ name, data, id }) => [name, data, id])).toEqual([
    ["a", "1\n2", "e:1"],
    ["", "", undefined],
    ["", "x", undefined],
  ]);
  for (let size = 1; size < text.length; size += 1) {
    const parser = new EventParser();
    const pieces = text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
    expect(pieces.flatMap((piece) => parser.push(piece))).toEqual(whole);
  }
});

/** A stream of server-sent events that the test writes. */
class Stream {
  readonly response: Response;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor() {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
    });
    this.response = new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  async say(text: string): Promise<void> {
    this.#controller?.enqueue(new TextEncoder().encode(text));
    await settle();
    await settle();
  }

  async end(): Promise<void> {
    this.#controller?.close();
    await settle();
  }
}

async function block(network: TestNetwork): Promise<void> {
  network.random = 0.5;
  (await network.dialed()).refuse(204);
  const server = await network.dialed();
  server.refuse(204);
  await network.advance(1_000);
}

function setUp() {
  const network = new TestNetwork();
  const fetched = vi.fn(async (_url: string | URL, init?: RequestInit): Promise<Response> => {
    return Response.json({ ok: true, data: JSON.parse(`${init?.body}`).input });
  });
  vi.stubGlobal("fetch", fetched);
  const { probe } = network.environment;
  const environment: Environment = {
    ...network.environment,
    // The server answers by HTTP what does not ask for a WebSocket.
    probe: async (request, signal) =>
      network.requests.includes(request) ? await probe(request, signal) : { status: 204 },
  };
  const client = connect(describe("api"), { url: "ws://server/x", environment, fallback: http });
  return { network, client, fetched };
}
