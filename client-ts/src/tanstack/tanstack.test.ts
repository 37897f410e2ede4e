import { QueryClient, experimental_streamedQuery as streamedQuery } from "@tanstack/react-query";
import { expect, test } from "vitest";
import { connect, describe, mutation, query, subscription, type Update } from "../index.js";
import { settle, TestNetwork } from "../testing/index.js";
import { liveOptions, mutationOptions, queryKey, queryOptions } from "./index.js";

const members = query<{ team: number }, string[]>("members");
const add = mutation<number, number>("add");
const items = subscription<number, string>("items");

test("a cache asks, keeps the answer under its key, and gives up what nobody waits for", async () => {
  const { network, client, cache } = setUp();
  const answer = cache.fetchQuery(queryOptions(client, members, { team: 1 }));
  const server = await network.accept();
  expect(await server.next()).toMatchObject({ path: "members", input: { team: 1 } });
  server.send({ type: "result", id: "1", data: ["Ann"] });
  expect(await answer).toEqual(["Ann"]);
  expect(cache.getQueryData(queryKey(members, { team: 1 }))).toEqual(["Ann"]);

  const given = cache.fetchQuery(queryOptions(client, members, { team: 2 })).catch(() => "given up");
  await settle();
  await cache.cancelQueries({ queryKey: queryKey(members, { team: 2 }) });
  expect(await given).toBe("given up");
  expect((await server.frames()).map(({ type }) => type)).toEqual(["call", "cancel"]);
});

test("a mutation is a call", async () => {
  const { network, client } = setUp();
  const sum = mutationOptions(client, add).mutationFn(5);
  const server = await network.accept();
  expect(await server.next()).toMatchObject({ path: "add", input: 5 });
  server.send({ type: "result", id: "1", data: 7 });
  expect(await sum).toBe(7);
});

test("a subscription is a streamed query", async () => {
  const { network, client, cache } = setUp();
  const live = liveOptions(client, items, 3);
  const all = cache.fetchQuery({
    queryKey: live.queryKey,
    queryFn: streamedQuery<Update<string>>({ streamFn: live.queryFn }),
  });
  const server = await network.accept();
  await server.next();
  server.send({ type: "data", id: "1", data: "a" });
  server.send({ type: "complete", id: "1" });
  expect(await all).toMatchObject([{ type: "item", value: "a" }]);
});

function setUp() {
  const network = new TestNetwork();
  const client = connect(describe("api"), { url: "ws://server/x", environment: network.environment });
  return { network, client, cache: new QueryClient() };
}
