// The client against real servers: `npm run server`.

import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import {
  ask,
  connect,
  describe,
  event,
  mutation,
  type Options,
  type Position,
  query,
  type State,
  subscription,
  type Update,
} from "../src/index.js";
import { always } from "./fallback.js";
import { type Server, start, stop } from "./servers.js";

const getCount = query<void, number>("get_count");
const updateCount = mutation<number, number>("update_count");
const reset = mutation<void, number>("reset");
const confirm = ask<string, boolean>("confirm");
const countChanged = event<{ by: number; count: number }>("count_changed");
const counter = describe("counter");

const current = query<void, { position: Position }>("stats.current");
const live = subscription<Position | null, object>("stats.live");
const dashboard = describe("dashboard");

let server: Server;
let url: string;

beforeAll(async () => {
  server = await start("counter");
  url = `${server.origin}/__realtime/counter`;
});

afterAll(() => stop(server));

test("calls, events and the server's questions", async () => {
  await using one = connect(counter, { url });
  await using two = connect(counter, { url });
  expect(await one.call(getCount)).toBe(0);
  await two.open();
  const changed = new Promise((resolve) => two.on(countChanged, resolve));
  expect(await one.call(updateCount, 5)).toBe(5);
  expect(await changed).toEqual({ by: 5, count: 5 });

  one.answer(confirm, (question) => question.includes("5"));
  expect(await one.call(reset)).toBe(0);
  one.answer(confirm, () => false);
  await expect(one.call(reset)).rejects.toMatchObject({ code: "ABORTED", from: "server" });
  await expect(one.call(query<void, void>("nothing"))).rejects.toMatchObject({ code: "NOT_FOUND" });
  const wrong = mutation<string, void>("update_count");
  await expect(one.call(wrong, "x")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

test("many calls at once, and one after the other", async () => {
  await using client = connect(counter, { url });
  const counts = await Promise.all(Array.from({ length: 50 }, () => client.call(updateCount, 1)));
  expect(new Set(counts).size).toBe(50);
  for (let n = 0; n < 200; n += 1) await client.call(getCount);
});

test("a call that is given up", async () => {
  await using client = connect(counter, { url });
  client.answer(confirm, () => new Promise<boolean>(() => {}));
  const controller = new AbortController();
  const call = client.call(reset, undefined, { signal: controller.signal });
  await client.call(getCount);
  controller.abort("enough");
  await expect(call).rejects.toBe("enough");
  await client.call(getCount);
});

test("a restart", async () => {
  await using client = connect(counter, { url, reconnect: { baseMs: 20, maxMs: 50 } });
  const states: State["status"][] = [];
  await client.open();
  const lost = new Promise<void>((resolve) => {
    client.state.subscribe(({ status }) => {
      states.push(status);
      if (status === "reconnecting") resolve();
    });
  });
  await stop(server);
  await lost;
  const call = client.call(updateCount, 7);
  server = await start("counter", server.port);
  expect(await call).toBe(7);
  expect(states[0]).toBe("open");
  expect(states).toContain("reconnecting");
  expect(states.at(-1)).toBe("open");
});

test("an endpoint that is not there", async () => {
  const client = connect(describe("nothing"), { url: url.replace("counter", "nothing") });
  await expect(client.open()).rejects.toThrow("refused with 404");
});

test("a token of any letters is offered beside the subprotocol", async () => {
  await using client = connect(counter, { url, token: () => "a.token-of_mine" });
  await using odd = connect(counter, { url, token: async () => "no token: ž" });
  await Promise.all([client.open(), odd.open()]);
});

for (const way of ["a WebSocket", "plain HTTP"]) {
  test(`a query whose position a subscription goes on from, by ${way}`, async () => {
    const served = await start("dashboard");
    onTestFinished(() => stop(served));
    const options: Options = {
      url: `${served.origin}/__realtime/dashboard`,
      reconnect: { baseMs: 20, maxMs: 50 },
    };
    await using client = connect(dashboard, way === "plain HTTP" ? { ...options, fallback: always } : options);
    const { position } = await client.call(current);
    expect(position.epoch).not.toBe("");
    const updates: Update<object>[] = [];
    for await (const update of client.updates(live, position)) {
      if (updates.push(update) === 4) break;
    }
    expect(updates.map(({ type }) => type)).toEqual(["begun", "item", "item", "item"]);
    const offsets = updates.map((update) => (update.type === "item" ? Number(update.position?.offset) : 0));
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
    await expect(client.call(query<void, void>("nothing"))).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
}
