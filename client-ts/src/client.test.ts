import { expect, test } from "vitest";
import { connect, describe, mutation, RealtimeError, subscription } from "./index.js";
import { settle, TestNetwork } from "./testing/index.js";

const add = mutation<number, number>("add");
const count = mutation<void, number>("count");
const items = subscription<number, number>("items");
const api = describe("api");

test("a call is answered", async () => {
  const { network, client } = setUp();
  const sum = client.call(add, 5);
  const server = await network.accept();
  expect(await server.next()).toEqual({ type: "call", id: "1", path: "add", input: 5, timeoutMs: 30000 });
  server.send({ type: "result", id: "1", data: 7 });
  expect(await sum).toBe(7);
});

test("nothing happens until a client is used", async () => {
  const { network, client } = setUp();
  await network.advance(60_000);
  expect(network.requests).toEqual([]);
  expect(client.state.get()).toEqual({ status: "idle" });
  client.call(count).catch(() => {});
  expect(network.requests).toEqual([{ url: "ws://server/__realtime/api", token: undefined }]);
});

test("items come in order, with gaps in their place", async () => {
  const { network, client } = setUp();
  const told: unknown[] = [];
  client.subscribe(items, 3, {
    onData: (value, position) => told.push([value, position]),
    onGap: (gap) => told.push(gap),
    onComplete: () => told.push("complete"),
  });
  const server = await network.accept();
  expect(await server.next()).toEqual({ type: "subscribe", id: "1", path: "items", input: 3, credit: 64 });
  server.send({ type: "data", id: "1", data: 1, epoch: "e", offset: 4 });
  server.send({ type: "gap", id: "1", count: 3, from: 5, to: 7, cause: "overflow" });
  server.send({ type: "data", id: "1", data: 2 });
  server.send({ type: "complete", id: "1" });
  await settle();
  expect(told).toEqual([
    [1, { epoch: "e", offset: 4 }],
    { count: 3, from: 5, to: 7, cause: "overflow" },
    [2, undefined],
    "complete",
  ]);
});

test("the server's error comes as it is", async () => {
  const { network, client } = setUp();
  const call = client.call(add, 5);
  const server = await network.accept();
  await server.next();
  const error = { code: "TOO_MUCH", message: "no", details: { limit: 2 }, retryAfterMs: 100 };
  server.send({ type: "error", id: "1", error });
  const failure = await call.catch((failed: RealtimeError) => failed);
  expect(failure).toBeInstanceOf(RealtimeError);
  expect(failure).toMatchObject({ ...error, from: "server", retryable: false });
});

function setUp(options = {}) {
  const network = new TestNetwork();
  const client = connect(api, { url: "ws://server/__realtime/api", environment: network.environment, ...options });
  return { network, client };
}
