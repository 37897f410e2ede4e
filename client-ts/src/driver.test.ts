import { expect, test, vi } from "vitest";
import { ask, connect, describe, event, mutation, type Options, subscription } from "./index.js";
import { settle, TestNetwork } from "./testing/index.js";

const add = mutation<number, number>("add");
const typing = event<number>("typing");
const items = subscription<number, number>("items");

test("who is shown again while it waits dials at once", async () => {
  const { network, client } = setUp();
  network.isDown = true;
  client.open();
  await network.advance(40_000);
  const attempts = network.requests.length;
  await network.signal("wake");
  expect(network.requests.length).toBe(attempts + 1);
});

test("an attempt that hangs is given up when the page is shown, and a fresh one is not", async () => {
  const { network, client } = setUp();
  client.open();
  const hanging = await network.dialed();
  await network.advance(500);
  await network.signal("wake");
  expect(network.requests.length).toBe(1);
  await network.advance(500);
  await network.signal("wake");
  await network.signal("wake");
  expect(network.requests.length).toBe(2);
  expect(hanging.closeCode).toBeDefined();
  await network.accept("c2");
  expect(client.state.get()).toEqual({ status: "open", connection: "c2" });
});

test("what comes late from a connection that is over touches nothing", async () => {
  const { network, client } = setUp({ pingAfterMs: 1_000, pingTimeoutMs: 1_000 });
  client.open();
  const old = await network.accept("old");
  old.answersClose = false;
  await network.advance(2_000);
  const server = await network.accept("new");
  const call = client.call(add, 1);
  const { id } = await server.next();
  old.send({ type: "result", id, data: "old" });
  old.close(4000);
  await settle();
  expect(client.state.get()).toEqual({ status: "open", connection: "new" });
  client.close();
  await expect(call).rejects.toMatchObject({ from: "closed" });
});

test("an open connection is asked whether it lives when the page is shown, and has 3 s to answer", async () => {
  for (const signal of ["wake", "check"] as const) {
    const { network, client } = setUp();
    client.open();
    const server = await network.accept();
    await network.signal(signal);
    expect(await server.frames()).toEqual([{ type: "ping" }]);
    server.send({ type: "pong" });
    await network.advance(3_000);
    expect(client.state.get().status).toBe("open");
    await network.signal(signal);
    await network.advance(3_000);
    expect(client.state.get()).toMatchObject({ status: "reconnecting", cause: { type: "silent" } });
  }
});

test("a page that is put away leaves its connection, and makes another when it is shown", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.accept("c1");
  await network.signal("freeze");
  expect(server.closeCode).toBe(1005);
  expect(client.state.get()).toMatchObject({ status: "reconnecting", cause: { type: "lost" } });
  network.sleep(3_600_000);
  await network.signal("wake");
  await network.accept("c2");
  expect(client.state.get()).toEqual({ status: "open", connection: "c2" });
});

test("nothing revives a client that is closed, or that was not used", async () => {
  const { network, client } = setUp();
  await network.signal("wake");
  client.open();
  await network.accept();
  await client.close();
  for (const signal of ["wake", "check", "freeze", "wake"] as const) await network.signal(signal);
  await network.advance(60_000);
  expect(network.requests.length).toBe(1);
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
});

test("a laptop that slept an hour asks the server once more before it leaves it", async () => {
  const { network, client } = setUp({ pingAfterMs: 20_000, pingTimeoutMs: 5_000 });
  client.open();
  const server = await network.accept();
  await network.advance(20_000);
  expect(await server.frames()).toEqual([{ type: "ping" }]);
  network.sleep(3_600_000);
  await network.advance(100);
  expect(client.state.get().status).toBe("open");
  expect(await server.frames()).toEqual([{ type: "ping" }]);
  server.send({ type: "pong" });
  await network.advance(6_000);
  expect(client.state.get().status).toBe("open");
  await network.advance(19_000);
  expect(client.state.get()).toMatchObject({ status: "reconnecting", cause: { type: "silent" } });
});

test("an answer that came during a pause counts before the deadline that passed", async () => {
  const { network, client } = setUp();
  const call = client.call(add, 1, { timeoutMs: 5_000 });
  const server = await network.accept();
  await server.next();
  network.sleep(3_600_000);
  const handled = network.advance(100);
  await settle();
  server.send({ type: "result", id: "1", data: 7 });
  await handled;
  expect(await call).toBe(7);
});

test("a call whose answer did not come fails also after a pause", async () => {
  const { network, client } = setUp();
  const call = client.call(add, 1, { timeoutMs: 5_000 });
  const failed = expect(call).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  const server = await network.accept();
  await server.next();
  network.sleep(3_600_000);
  await network.advance(100);
  await failed;
});

test("a pause while connecting or closing leaves the server its time", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.dialed();
  network.sleep(3_600_000);
  await network.advance(5_000);
  server.open();
  server.send({ type: "welcome", connection: "c1" });
  await settle();
  expect(client.state.get()).toEqual({ status: "open", connection: "c1" });
});

test("nothing is given to a socket that holds a lot, so that it can be taken back", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.accept();
  server.socket.bufferedAmount = 1 << 20;
  const controller = new AbortController();
  client.call(add, 1, { signal: controller.signal }).catch(() => {});
  client.emit(typing, 2);
  await network.advance(1_000);
  expect(await server.frames()).toEqual([]);
  controller.abort();
  server.socket.bufferedAmount = 0;
  await network.advance(20);
  expect(await server.frames()).toEqual([{ type: "event", name: "typing", data: 2 }]);
});

test("what waits behind a full socket is in its first order on the next connection", async () => {
  const { network, client } = setUp();
  client.subscribe(items, 1, { onData: () => {} });
  const server = await network.accept();
  expect(await server.frames()).toMatchObject([{ type: "subscribe", id: "1" }]);
  server.socket.bufferedAmount = 1 << 20;
  client.emit(typing, 2);
  const controller = new AbortController();
  const call = client.call(add, 3, { signal: controller.signal });
  server.send({ type: "result", id: "3", data: "of a call that was not sent" });
  await settle();
  server.lose();
  const next = await network.accept();
  expect((await next.frames()).map(({ type }) => type)).toEqual(["subscribe", "event", "call"]);
  next.send({ type: "result", id: "3", data: 4 });
  expect(await call).toBe(4);
});

test("what was of use on one connection only is not sent on another", async () => {
  const { network, client } = setUp();
  const stop = client.subscribe(items, 1, { onData: () => {} });
  const server = await network.accept();
  await server.frames();
  server.socket.bufferedAmount = 1 << 20;
  stop();
  server.lose();
  expect(await (await network.accept()).frames()).toEqual([]);
});

test("a burst is cut to what may wait when the connection is lost, from its end", async () => {
  const { network, client } = setUp({ offlineQueue: { frames: 2 } });
  client.open();
  const server = await network.accept();
  server.socket.bufferedAmount = 1 << 20;
  const calls = [1, 2, 3, 4].map((n) => client.call(add, n));
  const ended = Promise.allSettled(calls);
  server.lose();
  const next = await network.accept();
  const frames = await next.frames();
  expect(frames.map(({ input }) => input)).toEqual([1, 2]);
  for (const { id } of frames) next.send({ type: "result", id, data: 0 });
  const failures = (await ended).map((end) => end.status === "rejected" && end.reason.message);
  const offline = "there is no connection, and no room to wait for one";
  expect(failures).toEqual([false, false, offline, offline]);
});

test("closing sends events that wait, and no call", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.accept();
  server.socket.bufferedAmount = 1 << 20;
  const call = client.call(add, 1);
  client.emit(typing, 2);
  const closed = client.close();
  await expect(call).rejects.toMatchObject({ from: "closed" });
  await closed;
  expect(await server.frames()).toEqual([{ type: "event", name: "typing", data: 2 }]);
});

test("a call whose time was over during a pause is not sent", async () => {
  const { network, client } = setUp();
  const call = client.call(add, 1, { timeoutMs: 1_000 });
  const failed = expect(call).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  const server = await network.dialed();
  network.sleep(5_000);
  server.open();
  server.send({ type: "welcome", connection: "c" });
  expect(await server.frames()).toEqual([]);
  await network.advance(100);
  await failed;
});

test("asking again does not give a silent server more time", async () => {
  const { network, client } = setUp();
  client.open();
  await network.accept();
  await network.signal("wake");
  await network.advance(2_000);
  await network.signal("wake");
  await network.advance(1_000);
  expect(client.state.get()).toMatchObject({ status: "reconnecting", cause: { type: "silent" } });
});

test("once it was connected another subprotocol passes with the deploy", async () => {
  const { network, client } = setUp();
  client.open();
  (await network.accept()).lose();
  (await network.dialed()).open("");
  await settle();
  expect(client.state.get()).toMatchObject({ status: "reconnecting", cause: { type: "invalid" } });
});

test("answers that pile up end the connection", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.accept();
  server.socket.bufferedAmount = 1 << 20;
  const large = "x".repeat(1 << 20);
  client.answer(ask<unknown, string>("large"), () => large);
  for (let id = 0; id < 32; id += 1) {
    server.send({ type: "call", id: `${id}`, path: "large" });
    await settle();
  }
  expect(client.state.get()).toMatchObject({
    status: "reconnecting",
    cause: { type: "lost", message: "the server does not read what it is sent" },
  });
});

test("an answer that the server would not take is told as an error, unless that is too large as well", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.accept("c", { messageBytes: 200 });
  client.answer(ask<unknown, string>("large"), () => "x".repeat(200));
  server.send({ type: "call", id: "1", path: "large" });
  expect(await server.next()).toMatchObject({ type: "error", id: "1", error: { code: "INVALID_ARGUMENT" } });
  server.send({ type: "call", id: "2".repeat(200), path: "large" });
  server.send({ type: "call", id: "3", path: "none" });
  expect(await server.next()).toMatchObject({ type: "error", id: "3", error: { code: "NOT_FOUND" } });
});

test("a welcome with another subprotocol is the end", async () => {
  const { network, client } = setUp();
  const opened = client.open();
  (await network.dialed()).open("");
  await expect(opened).rejects.toThrow("the server does not speak realtime.v1.json: it chose none");
});

test("a server that answers the question of a page with something else is no refusal", async () => {
  for (const status of [200, 204, 405, 426]) {
    const { network, client } = setUp();
    client.open();
    (await network.dialed()).refuse(status);
    await settle();
    expect(client.state.get()).toMatchObject({ status: "reconnecting", cause: { type: "lost" } });
  }
});

test("code of the application may close the client while its connection ends", async () => {
  const { network, client } = setUp();
  let closed: Promise<void> | undefined;
  client.answer(ask<void, void>("hang"), (_, { signal }) => {
    signal.addEventListener("abort", () => {
      closed = client.close();
    });
    return new Promise<void>(() => {});
  });
  const server = await network.accept();
  server.send({ type: "call", id: "a", path: "hang" });
  await settle();
  server.lose();
  await settle();
  await closed;
  expect(client.state.get()).toEqual({ status: "closed", cause: { type: "local" } });
  await network.advance(60_000);
  expect(network.requests.length).toBe(1);
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
});

test("a rule of the application that fails is logged, and the client tries again", async () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => {});
  const fail = () => {
    throw new Error("on purpose");
  };
  const { network, client } = setUp({ reconnectOn: fail, reconnectOnRefusal: fail });
  client.open();
  (await network.accept()).close(4000);
  (await network.dialed()).refuse(400);
  await network.accept("c3");
  expect(client.state.get()).toEqual({ status: "open", connection: "c3" });
  expect(logged).toHaveBeenCalledTimes(2);
  logged.mockRestore();
});

test("attempts end where that is wanted", async () => {
  const { network, client } = setUp({ reconnect: { baseMs: 10, maxMs: 20, attempts: 3 } });
  network.isDown = true;
  const opened = client.open();
  const failed = expect(opened).rejects.toThrow("connection lost");
  await network.advance(1_000);
  await failed;
  expect(network.requests.length).toBe(3);
});

function setUp(options: Partial<Options> = {}) {
  const network = new TestNetwork();
  const client = connect(describe("api"), { url: "ws://server/x", environment: network.environment, ...options });
  return { network, client };
}
