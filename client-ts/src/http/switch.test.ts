// The end of the fallback: a WebSocket takes its place, or the server says that it is over.

import { afterEach, expect, test, vi } from "vitest";
import { add, block, fallenBack, frame, items, later, setUp, typing } from "../../test/streams.js";
import { settle } from "../testing/index.js";

afterEach(() => vi.unstubAllGlobals());

test("a WebSocket is tried again every five minutes, and when the page is shown; without one the fallback goes on", async () => {
  const { network, client } = setUp();
  client.open();
  await block(network);
  // Its stream, on which nothing comes, is lost meanwhile, and made again.
  await network.advance(5 * 60_000);
  await network.accept("c1");
  expect(client.state.get()).toEqual({ status: "open", connection: "c1" });
  expect(client.can("send")).toBe(true);

  const other = await fallenBack();
  for (let times = 0; times < 3; times += 1) {
    await other.network.signal("wake");
    (await other.network.dialed()).refuse(204);
    await settle();
    expect(other.client.state.get()).toMatchObject({ status: "open", connection: "c1" });
    expect(await other.client.call(add, times)).toBe(times);
  }
});

test("calls that run are carried to their end by the fallback, and what comes later goes by the WebSocket", async () => {
  const { network, client, streams, posted, answer } = await fallenBack();
  const states: string[] = [];
  client.state.subscribe(({ status }) => states.push(status));
  client.subscribe(items, 7, { onData: () => {} });
  await network.advance(50);
  await streams[1]?.say({ type: "welcome", connection: "s" });
  await streams[1]?.say({ type: "data", id: "1", data: 1, epoch: "e", offset: 3 });
  const pending = later();
  answer(() => pending.promise);
  const call = client.call(add, 5);
  await settle();
  await network.signal("wake");
  const server = await network.accept("c2");
  expect(states).toEqual(["open", "reconnecting", "open"]);
  expect(streams.map(({ isCancelled }) => isCancelled)).toEqual([true, true]);
  const after = { epoch: "e", offset: 3 };
  expect(await server.frames()).toMatchObject([{ type: "subscribe", id: "1", after }]);
  const next = client.call(add, 6);
  expect(await server.frames()).toMatchObject([{ type: "call", id: "4", input: 6 }]);
  server.send({ type: "result", id: "4", data: 60 });
  expect(await next).toBe(60);
  pending.resolve(Response.json({ ok: true, data: 50 }));
  expect(await call).toBe(50);
  expect(posted.length).toBe(2);
});

test("a call that the fallback still carries can be given up, and is lost with its request alone", async () => {
  const { network, client, answer } = await fallenBack();
  const requests: {
    signal?: AbortSignal | null | undefined;
    resolve(r: Response): void;
    reject(e: unknown): void;
  }[] = [];
  const hang = (init?: RequestInit) =>
    new Promise<Response>((resolve, reject) => requests.push({ signal: init?.signal, resolve, reject }));
  const controller = new AbortController();
  answer(hang);
  const first = client.call(add, 1, { signal: controller.signal });
  await settle();
  answer(hang);
  const second = client.call(add, 2);
  await settle();
  answer(hang);
  const third = client.call(add, 3, { idempotencyKey: "k" });
  await settle();
  answer(hang);
  const fourth = client.call(add, 4);
  await settle();
  await network.signal("wake");
  const server = await network.accept("c2");
  controller.abort("enough");
  await expect(first).rejects.toBe("enough");
  expect(requests.map(({ signal }) => signal?.aborted)).toEqual([true, false, false, false]);
  requests[1]?.reject(new TypeError("the network is gone"));
  await expect(second).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(client.state.get()).toEqual({ status: "open", connection: "c2" });
  requests[2]?.resolve(new Response("<h1>Bad Gateway</h1>", { status: 502 }));
  for (let n = 0; n < 4; n += 1) await settle();
  // It has a key: the WebSocket takes it over.
  const sent = (await server.frames()).filter(({ type }) => type === "call");
  expect(sent).toMatchObject([{ input: 3, idempotencyKey: "k" }]);
  server.send({ type: "result", id: sent[0]?.id, data: 30 });
  expect(await third).toBe(30);
  requests[3]?.resolve(Response.json({ ok: true, data: 40 }));
  expect(await fourth).toBe(40);
});

test("closing ends a WebSocket that is tried, and the calls that an earlier connection carries", async () => {
  const { network, client, answer } = await fallenBack();
  let signal: AbortSignal | null | undefined;
  answer((init) => {
    signal = init?.signal;
    return new Promise(() => {});
  });
  const call = client.call(add, 1);
  await settle();
  await network.signal("wake");
  await network.accept("c2");
  const closed = client.close();
  await expect(call).rejects.toMatchObject({ from: "closed" });
  await closed;
  await settle();
  expect(signal?.aborted).toBe(true);

  const other = await fallenBack();
  await other.network.signal("wake");
  const server = await other.network.dialed();
  await other.client.close();
  await settle();
  expect(server.closeCode).toBe(1005);
  for (const { leftovers } of [network, other.network]) expect(leftovers).toEqual({ timers: 0, watchers: 0 });
});

test("events are handled one after the other, and none overtakes on the WebSocket", async () => {
  const { network, client, posted, answer } = await fallenBack();
  const first = later();
  answer(() => first.promise);
  for (const data of [1, 2, 3]) client.emit(typing, data);
  await settle();
  expect(posted.map(({ data }) => data)).toEqual([1]);
  await network.signal("wake");
  const server = await network.accept("c2");
  client.emit(typing, 4);
  expect(await server.frames()).toEqual([]);
  first.resolve(new Response(null, { status: 204 }));
  await network.advance(20);
  expect(posted.map(({ data }) => data)).toEqual([1, 2, 3]);
  expect(await server.frames()).toMatchObject([{ type: "event", data: 4 }]);
});

test("an event that hangs holds up the WebSocket for 3 s at most, and those behind it go when it does", async () => {
  const { network, client, answer } = await fallenBack();
  answer(() => new Promise(() => {}));
  client.emit(typing, 1);
  await network.signal("wake");
  const server = await network.accept("c2");
  client.emit(typing, 2);
  await network.advance(2_900);
  expect(await server.frames()).toEqual([]);
  await network.advance(200);
  expect(await server.frames()).toMatchObject([{ type: "event", data: 2 }]);
});

test("events that were emitted before a close are sent; those of a lost connection are lost with it", async () => {
  const { client, posted, answer } = await fallenBack();
  const first = later();
  answer(() => first.promise);
  client.emit(typing, 1);
  client.emit(typing, 2);
  await client.close();
  first.resolve(new Response(null, { status: 204 }));
  for (let n = 0; n < 4; n += 1) await settle();
  expect(posted.map(({ data }) => data)).toEqual([1, 2]);

  const other = await fallenBack();
  other.answer(() => Promise.reject(new TypeError("no network")));
  other.client.emit(typing, 1);
  other.client.emit(typing, 2);
  for (let n = 0; n < 4; n += 1) await settle();
  expect(other.posted.map(({ data }) => data)).toEqual([1]);
  expect(other.client.state.get().status).toBe("reconnecting");
});

test("events that wait for others are held back where they count, and are refused when there are too many", async () => {
  const { client, answer } = await fallenBack();
  answer(() => new Promise(() => {}));
  const large = "x".repeat(1 << 19) as never;
  for (let n = 0; n < 2; n += 1) client.emit(typing, large);
  // 1 MiB is with the socket, and 16 MiB may wait.
  expect(() => {
    for (let n = 0; n < 40; n += 1) client.emit(typing, large);
  }).toThrow("too much waits to be sent");
});

for (const [code, status] of [
  [4001, "closed"],
  [1008, "closed"],
  [1000, "closed"],
  [1012, "reconnecting"],
] as const) {
  test(`the server closes with ${code}: ${status}, as over a WebSocket`, async () => {
    const { client, streams } = await fallenBack();
    await streams[0]?.say({ type: "close", code, reason: "why" });
    expect(client.state.get()).toMatchObject({ status, cause: { type: "closed", code, reason: "why" } });

    const other = await fallenBack();
    other.client.subscribe(items, 1, { onData: () => {}, onError: () => {} });
    await other.network.advance(50);
    await other.streams[1]?.say({ type: "welcome", connection: "x" });
    await other.streams[1]?.say({ type: "close", code, reason: "why" });
    expect(other.client.state.get()).toMatchObject({ status, cause: { code } });
  });
}

test("a stream of subscriptions that is over says so, and that is no end of the client", async () => {
  const { network, client, streams } = await fallenBack();
  client.subscribe(items, 1, { onData: () => {} });
  await network.advance(50);
  await streams[1]?.say({ type: "welcome", connection: "x" });
  await streams[1]?.say({ type: "complete", id: "1" }, { type: "close", code: 1000, reason: "" });
  await streams[1]?.end();
  expect(client.state.get().status).toBe("open");
});

for (const [status, token, then] of [
  [401, false, "closed"],
  [403, false, "closed"],
  [401, true, "reconnecting"],
  [429, false, "reconnecting"],
  [503, false, "reconnecting"],
] as const) {
  test(`a stream that is refused with ${status} ${token ? "with" : "without"} a token function: ${then}`, async () => {
    const options = token ? { token: () => "t" } : {};
    const { network, client, posted, answer } = await fallenBack(options);
    answer(async () => new Response(null, { status, headers: { "retry-after": "7" } }));
    client.subscribe(items, 1, { onData: () => {}, onError: () => {} });
    await network.advance(50);
    expect(posted).toEqual([{ subscribe: [frame("1", 1)] }]);
    const cause = { type: "refused", status };
    expect(client.state.get()).toMatchObject({ status: "reconnecting", cause, afterMs: expect.any(Number) });
    expect((client.state.get() as { afterMs: number }).afterMs).toBeGreaterThanOrEqual(7_000);

    const other = await fallenBack(options);
    other.answer(async () => new Response(null, { status }));
    other.client.subscribe(items, 1, { onData: () => {}, onError: () => {} });
    await other.network.advance(50);
    expect(other.client.state.get()).toMatchObject({ status: then, cause });
  });
}

test("a redirection, to a login for example, is no stream and ends the client, as over a WebSocket", async () => {
  const { network, client, answer } = setUp({ reconnectOnRefusal: ({ status }) => status !== 302 });
  client.open();
  await block(network);
  client.subscribe(items, 1, { onData: () => {}, onError: () => {} });
  // What `fetch` makes of it.
  const response = Object.defineProperties(new Response(null), {
    type: { value: "opaqueredirect" },
    status: { value: 0 },
  });
  answer(async () => response);
  await network.advance(50);
  expect(client.state.get()).toMatchObject({ status: "closed", cause: { type: "refused", status: 302 } });
});

test("a WebSocket that the server closes for good ends the client, also beside the fallback", async () => {
  const { network, client } = await fallenBack();
  await network.signal("wake");
  const server = await network.dialed();
  server.open();
  server.close(4003, "banned");
  await settle();
  expect(client.state.get()).toMatchObject({ status: "closed", cause: { code: 4003 } });
});

test("a call that wants its progress is told that there is none, and runs", async () => {
  const logged = vi.spyOn(console, "warn").mockImplementation(() => {});
  const { client } = await fallenBack();
  const onError = vi.fn();
  client.onError(onError);
  expect(client.can("progress")).toBe(false);
  expect(await client.call(add, 1)).toBe(1);
  expect(onError).not.toHaveBeenCalled();
  expect(await client.call(add, 1, { onProgress: () => {} })).toBe(1);
  const error = { code: "UNIMPLEMENTED", message: "the progress of add needs a WebSocket" };
  expect(onError.mock.calls).toEqual([[expect.objectContaining(error)]]);
  logged.mockRestore();
});
