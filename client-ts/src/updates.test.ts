import { expect, test, vi } from "vitest";
import { connect, describe, event, type Options, subscription, type Update } from "./index.js";
import { settle, TestNetwork, type TestServer } from "./testing/index.js";

const items = subscription<number, number>("items");

test("a loop gets items and gaps until it is complete", async () => {
  const { network, client } = setUp();
  const told: Update<number>[] = [];
  const loop = (async () => {
    for await (const update of client.updates(items, 3)) told.push(update);
    return "complete";
  })();
  const server = await network.accept();
  expect(await server.next()).toMatchObject({ type: "subscribe", input: 3, credit: 64 });
  server.send({ type: "data", id: "1", data: 1, epoch: "e", offset: 7 });
  server.send({ type: "gap", id: "1", count: 2, cause: "overflow" });
  server.send({ type: "complete", id: "1" });
  expect(await loop).toBe("complete");
  expect(told).toEqual([
    { type: "item", value: 1, position: { epoch: "e", offset: 7 } },
    { type: "gap", count: 2, cause: "overflow" },
  ]);
});

test("nothing is subscribed before the first is asked for, and the failure is thrown once", async () => {
  const { network, client } = setUp();
  const updates = client.updates(items, 3);
  await settle();
  expect(network.requests).toEqual([]);
  const next = updates.next();
  const server = await network.accept();
  await server.next();
  server.send({ type: "error", id: "1", error: { code: "MINE", message: "no" } });
  await expect(next).rejects.toMatchObject({ code: "MINE", from: "server" });
  expect(await updates.next()).toEqual({ done: true, value: undefined });
});

for (const way of ["break", "return", "throw"]) {
  test(`leaving a loop by ${way} unsubscribes at once`, async () => {
    const { network, client } = setUp();
    const loop = (async () => {
      for await (const _ of client.updates(items, 3)) {
        if (way === "break") break;
        if (way === "return") return;
        throw new Error("on purpose");
      }
    })().catch(() => {});
    const server = await network.accept();
    await server.next();
    server.send({ type: "data", id: "1", data: 1 });
    await loop;
    expect(await server.frames()).toEqual([{ type: "unsubscribe", id: "1" }]);
  });
}

test("what waits when a loop is left is given to nobody", async () => {
  const { network, client } = setUp();
  const updates = client.updates(items, 3);
  const first = updates.next();
  const server = await network.accept();
  await server.next();
  send(server, 3);
  await first;
  await updates.return?.();
  expect(await updates.next()).toEqual({ done: true, value: undefined });
});

test("two who ask at once get one update each, in their order", async () => {
  const { network, client } = setUp();
  const updates = client.updates(items, 3);
  const asked = [updates.next(), updates.next(), updates.next()];
  const server = await network.accept();
  await server.next();
  server.send({ type: "data", id: "1", data: 1 });
  server.send({ type: "data", id: "1", data: 2 });
  server.send({ type: "complete", id: "1" });
  const told = await Promise.all(asked);
  expect(told.map(({ value }) => value?.value)).toEqual([1, 2, undefined]);
});

test("an item is taken when the next is asked for", async () => {
  const { network, client } = setUp();
  const updates = client.updates(items, 3);
  const first = updates.next();
  const server = await network.accept();
  await server.next();
  send(server, 64);
  await first;
  for (let n = 0; n < 31; n += 1) await updates.next();
  expect(await server.frames()).toEqual([]);
  await updates.next();
  expect(await server.frames()).toEqual([{ type: "credit", id: "1", more: 32 }]);
});

test("a signal ends a loop with its reason", async () => {
  const { network, client } = setUp();
  const controller = new AbortController();
  const updates = client.updates(items, 3, { signal: controller.signal });
  const next = updates.next();
  const server = await network.accept();
  await server.next();
  controller.abort("enough");
  await expect(next).rejects.toBe("enough");
  expect(await server.frames()).toEqual([{ type: "unsubscribe", id: "1" }]);
  const late = client.updates(items, 3, { signal: controller.signal });
  await expect(late.next()).rejects.toBe("enough");
});

test("a signal ends a loop also where the end is on its way, and not one that is over", async () => {
  const { network, client } = setUp();
  const controller = new AbortController();
  const updates = client.updates(items, 3, { signal: controller.signal });
  const first = updates.next();
  const server = await network.accept();
  await server.next();
  send(server, 3);
  server.send({ type: "complete", id: "1" });
  await first;
  controller.abort("enough");
  await expect(updates.next()).rejects.toBe("enough");
  expect(await updates.next()).toEqual({ done: true, value: undefined });
});

test("the position is that of the last item that was taken", async () => {
  const { network, client } = setUp();
  const updates = client.updates(items, 3, { after: { epoch: "e", offset: 1 } });
  expect(updates.position).toEqual({ epoch: "e", offset: 1 });
  const next = updates.next();
  const server = await network.accept();
  expect(await server.next()).toMatchObject({ after: { epoch: "e", offset: 1 } });
  server.send({ type: "data", id: "1", data: 2, epoch: "e", offset: 2 });
  server.send({ type: "data", id: "1", data: 3, epoch: "e", offset: 3 });
  await next;
  expect(updates.position).toEqual({ epoch: "e", offset: 2 });
});

test("a callback that returns a promise holds the next item up", async () => {
  const { network, client } = setUp();
  const takes: (() => void)[] = [];
  client.subscribe(items, 3, { onData: () => new Promise<void>((take) => takes.push(take)) });
  const server = await network.accept();
  await server.next();
  send(server, 2);
  await settle();
  expect(takes.length).toBe(1);
  takes[0]?.();
  await settle();
  expect(takes.length).toBe(2);
});

test("a callback may end its subscription, and is not told of what waits", async () => {
  const { network, client } = setUp();
  const onData = vi.fn(() => stop());
  const stop = client.subscribe(items, 3, { onData });
  const server = await network.accept();
  await server.next();
  send(server, 3);
  await settle();
  expect(onData).toHaveBeenCalledTimes(1);
  expect(await server.frames()).toEqual([{ type: "unsubscribe", id: "1" }]);
});

test("who ends a subscription is told nothing any more, not even what was on its way to it", async () => {
  const { network, client } = setUp();
  const onData = vi.fn();
  const stop = client.subscribe(items, 3, { onData, onComplete: onData, onError: onData });
  client.on(event<void>("enough"), () => stop());
  const server = await network.accept();
  await server.next();
  server.send({ type: "data", id: "1", data: 1 });
  server.send({ type: "event", name: "enough" });
  server.send({ type: "complete", id: "1" });
  await settle();
  expect(onData).not.toHaveBeenCalled();
});

test("a signal ends a subscription also where an item is on its way to it", async () => {
  const { network, client } = setUp();
  const controller = new AbortController();
  const onData = vi.fn();
  client.subscribe(items, 3, { onData, onComplete: onData, onError: onData, signal: controller.signal });
  client.on(event<void>("enough"), () => controller.abort());
  const server = await network.accept();
  await server.next();
  server.send({ type: "data", id: "1", data: 1 });
  server.send({ type: "event", name: "enough" });
  await settle();
  expect(onData).not.toHaveBeenCalled();
});

test("a callback that fails is logged, and the next item comes", async () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => {});
  const { network, client } = setUp();
  const onData = vi.fn((value: number) => {
    if (value === 0) throw new Error("on purpose");
    return Promise.reject(new Error("on purpose"));
  });
  client.subscribe(items, 3, { onData });
  const server = await network.accept();
  await server.next();
  send(server, 3);
  await settle();
  expect(onData).toHaveBeenCalledTimes(3);
  expect(logged).toHaveBeenCalledTimes(3);
  logged.mockRestore();
});

test("a failure before it has begun is told like any other", async () => {
  const { client } = setUp();
  await client.close();
  const onError = vi.fn();
  client.subscribe(items, 3, { onData: () => {}, onError });
  expect(onError).not.toHaveBeenCalled();
  await settle();
  expect(onError).toHaveBeenCalledWith(expect.objectContaining({ from: "closed" }));
});

test("a subscription that has ended holds no signal", async () => {
  const { network, client } = setUp();
  const { signal } = new AbortController();
  const removed = vi.spyOn(signal, "removeEventListener");
  client.subscribe(items, 3, { onData: () => {}, signal });
  const server = await network.accept();
  await server.next();
  server.send({ type: "complete", id: "1" });
  await settle();
  expect(removed).toHaveBeenCalledWith("abort", expect.anything());
});

test("a signal ends a subscription", async () => {
  const { network, client } = setUp();
  const controller = new AbortController();
  client.subscribe(items, 3, { onData: () => {}, signal: controller.signal });
  const server = await network.accept();
  await server.next();
  controller.abort();
  expect(await server.frames()).toEqual([{ type: "unsubscribe", id: "1" }]);
  client.subscribe(items, 3, { onData: () => {}, signal: controller.signal });
  expect(await server.frames()).toEqual([]);
});

function send(server: TestServer, count: number): void {
  for (let data = 0; data < count; data += 1) server.send({ type: "data", id: "1", data });
}

function setUp(options: Partial<Options> = {}) {
  const network = new TestNetwork();
  const environment = network.environment;
  return { network, client: connect(describe("api"), { url: "ws://server/x", environment, ...options }) };
}

test("what was written to a log that was left is not waited for", async () => {
  const { network, client } = setUp();
  const updates = client.updates(items, 3);
  const written = (epoch: string, offset: number) => ({ value: null, at: [{ topic: "a", epoch, offset }] });
  const first = updates.next();
  const server = await network.accept();
  expect([updates.has({ value: null, at: [] }), updates.has(written("e", 1))]).toEqual([true, false]);
  server.send({ type: "subscribed", id: "1", topic: "a", epoch: "e", offset: 3 });
  await first;
  expect([3, 4].map((offset) => updates.has(written("e", offset)))).toEqual([true, false]);
  server.send({ type: "subscribed", id: "1", topic: "a", epoch: "f", offset: 0, resumed: false });
  server.send({ type: "gap", id: "1", count: 0, cause: "diverged" });
  await updates.next();
  expect(updates.position).toEqual({ epoch: "e", offset: 3 });
  await updates.next();
  expect(updates.position).toEqual({ epoch: "f", offset: 0 });
  expect([written("e", 4), written("f", 1), written("g", 1)].map((at) => updates.has(at))).toEqual([
    true,
    false,
    false,
  ]);
});

test("handlers are told of beginnings", async () => {
  const { network, client } = setUp();
  const told: unknown[] = [];
  client.subscribe(items, 3, { onData: () => {}, onBegin: (begun, position) => told.push(begun, position) });
  const server = await network.accept();
  server.send({ type: "subscribed", id: "1", topic: "a", epoch: "e", offset: 3, proof: "p" });
  await settle();
  const position = { epoch: "e", offset: 3, proof: "p" };
  expect(told).toEqual([{ topic: "a", position, resumed: undefined }, position]);
});
