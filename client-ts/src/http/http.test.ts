import { afterEach, expect, test, vi } from "vitest";
import { add, block, fallenBack, frame, items, type Stream, setUp, typing } from "../../test/streams.js";
import type { Begun } from "../index.js";
import { settle } from "../testing/index.js";
import { EventParser } from "./events.js";

afterEach(() => vi.unstubAllGlobals());

test("a WebSocket that fails twice while the server answers is blocked, and calls go by HTTP", async () => {
  const { network, client, posted, gets } = setUp();
  const sum = client.call(add, 5);
  await block(network);
  expect(client.state.get()).toMatchObject({ status: "open", connection: "c1" });
  expect(await sum).toBe(5);
  expect(posted).toEqual([{ path: "add", input: 5, timeoutMs: expect.any(Number) }]);
  expect(gets[0]?.accept).toBe("text/event-stream; realtime=v1.json");
  expect([client.can("send"), client.can("emit"), client.can("answer")]).toEqual([false, true, false]);
});

test("a restart is not taken for a block, nor is a server that does not know the question", async () => {
  const { network, client } = setUp();
  client.open();
  (await network.dialed()).refuse(204);
  (await network.dialed()).refuse(405);
  (await network.dialed()).refuse(204);
  (await network.dialed()).lose();
  (await network.dialed()).refuse(204);
  const server = await network.accept();
  client.emit(typing, 1);
  expect(await server.frames()).toEqual([{ type: "event", name: "typing", data: 1 }]);
});

test("errors come as they are, and an answer that is none is a lost connection", async () => {
  const { client, answer } = await fallenBack();
  const error = { code: "MINE", message: "no", details: { a: 1 } };
  answer(async () => Response.json({ ok: false, error }, { status: 500 }));
  await expect(client.call(add, 1)).rejects.toMatchObject({ ...error, from: "server" });
  answer(async () => new Response("<h1>Bad Gateway</h1>", { status: 502 }));
  await expect(client.call(add, 1)).rejects.toMatchObject({ code: "UNAVAILABLE", from: "client" });
  expect(client.state.get().status).toBe("reconnecting");
});

test("a call that is given up is aborted", async () => {
  const { client, answer } = await fallenBack();
  let signal: AbortSignal | null | undefined;
  answer((init) => {
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

test("an event is posted, and its refusal is told; a message is refused in words", async () => {
  const logged = vi.spyOn(console, "warn").mockImplementation(() => {});
  const { client, posted, answer } = await fallenBack();
  const onError = vi.fn();
  client.onError(onError);
  answer(async () => new Response(null, { status: 204 }));
  client.emit(typing, 1);
  await settle();
  expect(posted).toEqual([{ type: "event", name: "typing", data: 1 }]);
  expect(onError).not.toHaveBeenCalled();
  const error = { code: "NOT_FOUND", message: "no such event" };
  answer(async () => Response.json({ ok: false, error }, { status: 404 }));
  client.emit(typing, 2);
  await settle();
  expect(onError).toHaveBeenLastCalledWith(expect.objectContaining(error));
  client.send("hi" as never);
  await settle();
  expect(onError).toHaveBeenLastCalledWith(expect.objectContaining({ code: "UNIMPLEMENTED" }));
  expect(client.state.get().status).toBe("open");
  logged.mockRestore();
});

test("what the server sends by itself comes by one stream", async () => {
  const { client, streams } = await fallenBack();
  const told: unknown[] = [];
  client.on(typing, (data) => told.push(data));
  await streams[0]?.say({ type: "event", name: "typing", data: 7 });
  await streams[0]?.say({ type: "future" });
  expect(told).toEqual([7]);
  await streams[0]?.end();
  expect(client.state.get()).toMatchObject({ status: "reconnecting" });
});

test("all subscriptions come by one stream, which is made anew behind their positions when the set changes", async () => {
  const { network, client, streams, posted } = await fallenBack();
  const told: unknown[] = [];
  const handlers = (name: string) => ({
    onData: (value: number) => told.push([name, value]),
    onGap: ({ cause }: { cause: string }) => told.push([name, cause]),
    onComplete: () => told.push([name, "complete"]),
  });
  client.subscribe(items, 1, handlers("a"));
  client.subscribe(items, 2, handlers("b"));
  await network.advance(50);
  expect(posted).toEqual([{ subscribe: [frame("1", 1), frame("2", 2)] }]);
  await streams[1]?.say({ type: "welcome", connection: "x" });
  await streams[1]?.say({ type: "data", id: "1", data: 10, epoch: "e", offset: 7 });
  await streams[1]?.say({ type: "data", id: "2", data: 20 });

  const stop = client.subscribe(items, 3, handlers("c"));
  await network.advance(49);
  expect(streams.length).toBe(2);
  await network.advance(1);
  const after = { epoch: "e", offset: 7 };
  expect(posted[1]).toEqual({ subscribe: [{ ...frame("1", 1), after }, frame("2", 2), frame("3", 3)] });
  await streams[1]?.say({ type: "data", id: "1", data: "late" });
  await streams[2]?.say({ type: "welcome", connection: "y" });
  await streams[2]?.say({ type: "complete", id: "1" });
  expect(told).toEqual([
    ["a", 10],
    ["b", 20],
    ["b", "reconnect"],
    ["a", "complete"],
  ]);

  stop();
  await network.advance(50);
  expect(posted[2]).toEqual({ subscribe: [frame("2", 2)] });
  await streams[3]?.say({ type: "welcome", connection: "z" });
  await streams[3]?.say({ type: "complete", id: "2" });
  await streams[3]?.end();
  // It has ended with the last of its subscriptions.
  expect(client.state.get().status).toBe("open");
});

test("a feed goes on in another stream, and a state that has not come is asked for again", async () => {
  const { client, streams, posted, network } = await fallenBack();
  const told: unknown[] = [];
  const onData = (value: number) => told.push(value);
  const onBegin = ({ position, resumed }: Begun) => told.push(`${position.offset} ${resumed}`);
  client.subscribe(items, 1, { onData, onBegin });
  await network.advance(50);
  expect(posted[0]).toEqual({ subscribe: [frame("1", 1)] });
  const begin = (stream: Stream | undefined, more: object) => {
    stream?.say({ type: "welcome", connection: "s" });
    stream?.say({ type: "subscribed", id: "1", topic: "a", epoch: "e", ...more });
  };
  begin(streams[1], { offset: 4, state: true });
  await settle();
  // The set changes while the state is on its way.
  const stop = client.subscribe(items, 2, { onData: () => {} });
  await network.advance(50);
  expect(posted[1]).toEqual({ subscribe: [frame("1", 1), frame("2", 2)] });
  begin(streams[2], { offset: 6, state: true });
  streams[2]?.say({ type: "data", id: "1", data: 6, epoch: "e", offset: 6 });
  await settle();
  stop();
  await network.advance(50);
  expect(posted[2]).toEqual({ subscribe: [{ ...frame("1", 1), after: { epoch: "e", offset: 6 } }] });
  begin(streams[3], { offset: 6, resumed: true });
  await settle();
  expect(told).toEqual(["4 undefined", "6 undefined", 6, "6 true"]);
});

test("a quiet feed goes on in another stream behind the position that it began with", async () => {
  const { client, streams, posted, network } = await fallenBack();
  client.subscribe(items, 1, { onData: () => {} });
  await network.advance(50);
  streams[1]?.say({ type: "welcome", connection: "s" });
  streams[1]?.say({ type: "subscribed", id: "1", topic: "a", epoch: "e", offset: 4 });
  await settle();
  client.subscribe(items, 2, { onData: () => {} });
  await network.advance(50);
  const after = { epoch: "e", offset: 4 };
  expect(posted[1]).toEqual({ subscribe: [{ ...frame("1", 1), after }, frame("2", 2)] });
});

test("the answer to a call says what it wrote", async () => {
  const { client, answer } = await fallenBack();
  const wrote = [{ topic: "a", epoch: "e", offset: 3 }];
  answer(async () => Response.json({ ok: true, data: 5, wrote }));
  expect(await client.callWritten(add, 1)).toEqual({ value: 5, at: wrote });
});

test("a stream that breaks is a lost connection, and its subscriptions go on behind their positions", async () => {
  const { network, client, streams, posted } = await fallenBack();
  client.subscribe(items, 1, { onData: () => {} });
  await network.advance(50);
  await streams[1]?.say({ type: "welcome", connection: "x" });
  await streams[1]?.say({ type: "data", id: "1", data: 10, epoch: "e", offset: 7 });
  await streams[1]?.end();
  expect(client.state.get().status).toBe("reconnecting");
  await network.advance(1_000);
  await streams[2]?.say({ type: "welcome", connection: "y" });
  await network.advance(50);
  expect(posted[1]).toEqual({ subscribe: [{ ...frame("1", 1), after: { epoch: "e", offset: 7 } }] });
});

test("a subscription that nobody reads leaves the stream until it is read, and holds up no other", async () => {
  const { network, client, streams, posted } = await fallenBack();
  const slow = client.updates(items, 1);
  const first = slow.next();
  const told: number[] = [];
  client.subscribe(items, 2, { onData: (value) => told.push(value) });
  await network.advance(50);
  await streams[1]?.say({ type: "welcome", connection: "x" });
  const item = (offset: number) => ({ type: "data", id: "1", data: offset, epoch: "e", offset });
  await streams[1]?.say(...Array.from({ length: 100 }, (_, offset) => item(offset)));
  await network.advance(0);
  await streams[1]?.say({ type: "data", id: "2", data: 20 });
  expect(told).toEqual([20]);
  await network.advance(50);
  expect(posted[1]).toEqual({ subscribe: [frame("2", 2)] });
  await streams[2]?.say({ type: "welcome", connection: "y" });

  await first;
  for (let n = 1; n < 40; n += 1) await slow.next();
  await network.advance(50);
  const after = { epoch: "e", offset: 63 };
  expect(posted[2]).toEqual({ subscribe: [{ ...frame("1", 1), after }, frame("2", 2)] });
  await streams[3]?.say({ type: "welcome", connection: "z" });
  await streams[3]?.say(item(64));
  for (let offset = 40; offset <= 64; offset += 1) {
    expect(await slow.next()).toMatchObject({ value: { type: "item", value: offset } });
  }
  expect(client.state.get().status).toBe("open");
});

test("a reader that keeps up leaves the stream as it is", async () => {
  const { network, client, streams } = await fallenBack();
  const told: number[] = [];
  client.subscribe(items, 1, { onData: (value) => told.push(value) });
  await network.advance(50);
  await streams[1]?.say({ type: "welcome", connection: "x" });
  await streams[1]?.say(...Array.from({ length: 300 }, (_, data) => ({ type: "data", id: "1", data })));
  for (let n = 0; n < 10; n += 1) {
    // What a timer of a page waits for: that everything has had its turn.
    for (let turn = 0; turn < 20; turn += 1) await settle();
    await network.advance(0);
  }
  expect(told.length).toBe(300);
  expect(streams.length).toBe(2);
});

test("an error ends its subscription and nothing else", async () => {
  const { network, client, streams } = await fallenBack();
  const onError = vi.fn();
  client.subscribe(items, 3, { onData: () => {}, onError });
  await network.advance(50);
  await streams[1]?.say({ type: "welcome", connection: "x" });
  const error = { code: "PERMISSION_DENIED", message: "no" };
  await streams[1]?.say({ type: "error", id: "1", error });
  expect(onError).toHaveBeenCalledWith(expect.objectContaining(error));
  expect(client.state.get().status).toBe("open");
});

for (const way of ["no first byte in 5 s", "silence of twice the comments' interval", "no welcome"]) {
  test(`${way} is a failed attempt`, async () => {
    const { network, client, streams } = await fallenBack();
    client.subscribe(items, 3, { onData: () => {} });
    await network.advance(50);
    if (way === "no welcome") {
      await streams[1]?.say({ type: "data", id: "1", data: 1 });
    } else {
      const patience = way.startsWith("no first") ? 5_000 : 30_000;
      if (patience > 5_000) await streams[1]?.say({ type: "welcome", connection: "x" });
      await streams[0]?.say({ type: "future" });
      await network.advance(patience - 1);
      expect(client.state.get().status).toBe("open");
      await network.advance(1);
    }
    expect(client.state.get().status).toBe("reconnecting");
  });
}

test("closing ends all requests and timers", async () => {
  const { network, client, streams } = await fallenBack();
  client.subscribe(items, 3, { onData: () => {}, onError: () => {} });
  await network.advance(50);
  await streams[1]?.say({ type: "welcome", connection: "x" });
  await client.close();
  await settle();
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
  expect(streams.map(({ isCancelled }) => isCancelled)).toEqual([true, true]);
});

test("events are the same in whatever pieces they come", () => {
  const text = "retry: 5\r\nid: e:1\r\nevent: a\ndata: 1\ndata:2\r\r: comment\n\ndata\n\nid: only\n\ndata: x\n\n";
  const whole = new EventParser().push(text);
  expect(whole).toEqual(["1\n2", "", "x"]);
  for (let size = 1; size < text.length; size += 1) {
    const parser = new EventParser();
    const pieces = text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
    expect(pieces.flatMap((piece) => parser.push(piece))).toEqual(whole);
  }
});
