import { expect, test, vi } from "vitest";
import { connect, describe, PRESENCE, type PresenceNotice, place, present } from "./index.js";
import { Presence } from "./presence.js";
import { settle, TestNetwork, type TestServer } from "./testing/index.js";

const ann = { connection: "1", data: "Ann" };
const bob = { connection: "2", data: "Bob" };

test("who looks later finds the whole list, also without having looked before", async () => {
  const { client, server } = await setUp();
  await tell(server, { name: "room", here: [ann] });
  await tell(server, { name: "room", joined: [bob] });
  const seen = watch(present(client, "room"));
  expect(seen).toEqual([["Ann", "Bob"]]);
  expect(present(client, "elsewhere").get().size).toBe(0);
  await tell(server, { name: "room", left: ["1"] });
  expect(seen).toEqual([["Ann", "Bob"], ["Bob"]]);
  expect(present(client, "room").get()).toEqual(new Map([["2", "Bob"]]));
});

test("a place has a name, and one of its kind has more of it", async () => {
  const { client, server } = await setUp();
  const rooms = place<string>("room");
  await tell(server, { name: "room", here: [ann] });
  await tell(server, { name: "room:1", here: [bob] });
  expect([...present(client, rooms).get().values()]).toEqual(["Ann"]);
  expect([...present(client, rooms.of(1)).get().values()]).toEqual(["Bob"]);
  expect(rooms.of("a").of("b").name).toBe("room:a:b");
});

test("a notice is applied once, however many look, and before a listener of the event is told", async () => {
  const { client, server } = await setUp();
  const seen = [watch(present(client, "room")), watch(present(client, "room"))];
  const sizes: number[] = [];
  client.on(PRESENCE, () => sizes.push(present(client, "room").get().size));
  await tell(server, { name: "room", here: [ann] });
  await tell(server, { name: "room", joined: [bob] });
  for (const one of seen) expect(one).toEqual([[], ["Ann"], ["Ann", "Bob"]]);
  expect(sizes).toEqual([1, 2]);
});

test("without a connection the last list is shown to who looks, and dropped where nobody does", async () => {
  const { network, client, server } = await setUp();
  const seen = watch(present(client, "room"));
  await tell(server, { name: "room", here: [ann] });
  await tell(server, { name: "other", here: [ann] });
  server.lose();
  const next = await network.accept("c2");
  expect(seen.at(-1)).toEqual(["Ann"]);
  expect(present(client, "other").get().size).toBe(0);
  // Not of this connection: only a new list counts.
  await tell(next, { name: "room", joined: [bob] });
  expect(seen.at(-1)).toEqual(["Ann"]);
  await tell(next, { name: "room", here: [bob] });
  expect(seen.at(-1)).toEqual(["Bob"]);
});

test("a client that is told that it has left sees nobody", async () => {
  const { client, server } = await setUp();
  const seen = watch(present(client, "room"));
  await tell(server, { name: "room", here: [ann, { connection: "c", data: "me" }] });
  await tell(server, { name: "room", left: ["c"] });
  expect(seen).toEqual([[], ["Ann", "me"], []]);
});

test("events of the application's that have the same name are not taken for notices", async () => {
  const { client, server } = await setUp();
  const told = vi.fn();
  client.on(PRESENCE, told);
  const strange = [
    null,
    "here",
    7,
    { name: 1 },
    { name: "room", here: "all" },
    { name: "room", here: [null], left: 3 },
  ];
  for (const data of strange) await tell(server, data as never);
  expect(told).toHaveBeenCalledTimes(strange.length);
  expect(client.state.get().status).toBe("open");
  expect(present(client, "room").get().size).toBe(0);
});

test("lists are dropped with the last who looks after the end, and beyond 256 the oldest at which nobody does", () => {
  const presence = new Presence();
  const here = (name: string) => presence.take("presence", { name, here: [ann] }, "c");
  const stop = presence.of("first", () => {}).subscribe(() => {});
  here("first");
  for (let n = 0; n < 300; n += 1) here(`room ${n}`);
  expect(presence.size).toBe(256);
  expect(presence.of("first", () => {}).get().size).toBe(1);
  expect(presence.of("room 44", () => {}).get().size).toBe(0);
  expect(presence.of("room 45", () => {}).get().size).toBe(1);
  presence.lose();
  expect(presence.size).toBe(1);
  stop();
  expect(presence.size).toBe(0);
});

function watch(present: { subscribe(listener: (members: ReadonlyMap<string, unknown>) => void): () => void }) {
  const seen: unknown[][] = [];
  present.subscribe((members) => seen.push([...members.values()]));
  return seen;
}

async function tell(server: TestServer, data: PresenceNotice): Promise<void> {
  server.send({ type: "event", name: "presence", data });
  await settle();
}

async function setUp() {
  const network = new TestNetwork();
  const client = connect(describe("api"), { url: "ws://server/x", environment: network.environment });
  client.open();
  return { network, client, server: await network.accept() };
}
