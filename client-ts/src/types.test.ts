import { expectTypeOf, test } from "vitest";
import {
  ask,
  type Client,
  connect,
  describe,
  event,
  mutation,
  type Position,
  place,
  present,
  query,
  subscription,
  type Update,
} from "./index.js";
import { type Mutation, type RealtimeProviderProps, type Session, usePresent } from "./react/index.js";
import { liveOptions, mutationOptions, queryOptions } from "./tanstack/index.js";

type Report = { rows: number };

const add = mutation<number, number>("add");
const load = mutation<string, Report, number>("import");
const me = query<void, { name: string }>("users.me");
const find = query<{ name?: string } | undefined, string[]>("find");
const ticks = subscription<number, Report>("ticks");
const all = subscription<void, string>("all");
const typing = event<boolean>("typing");
const left = event<void>("left");
const confirm = ask<string, boolean>("confirm");

declare const client: Client;

test("inference", () => {
  typesOnly(() => {
    expectTypeOf(client.call(add, 5)).toEqualTypeOf<Promise<number>>();
    expectTypeOf(client.call(me)).toEqualTypeOf<Promise<{ name: string }>>();
    expectTypeOf(client.call(find)).toEqualTypeOf<Promise<string[]>>();
    expectTypeOf(client.call(find, { name: "a" })).toEqualTypeOf<Promise<string[]>>();
    client.call(load, "csv", { onProgress: (part) => expectTypeOf(part).toEqualTypeOf<number>() });
    client.call(me, undefined, { timeoutMs: 5 });
    // @ts-expect-error: an input is needed
    client.call(add);
    // @ts-expect-error: an input of another type
    client.call(add, "5");
    // @ts-expect-error: it takes none
    client.call(me, 5);
    // @ts-expect-error: a subscription is no procedure
    client.call(ticks, 5);

    client.subscribe(ticks, 3, {
      onData(value, position) {
        expectTypeOf(value).toEqualTypeOf<Report>();
        expectTypeOf(position).toEqualTypeOf<Position | undefined>();
      },
    });
    // @ts-expect-error: an input of another type
    client.subscribe(ticks, "3", { onData: () => {} });
    expectTypeOf(client.updates(ticks, 3).next()).resolves.toEqualTypeOf<IteratorResult<Update<Report>>>();
    client.updates(all);
    // @ts-expect-error: an input is needed
    client.updates(ticks);

    client.emit(typing, true);
    client.emit(left);
    // @ts-expect-error: data of another type
    client.emit(typing, 1);
    client.on(typing, (on) => expectTypeOf(on).toEqualTypeOf<boolean>());
    client.answer(confirm, (question, { signal }) => {
      expectTypeOf(question).toEqualTypeOf<string>();
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
      return true;
    });
    client.answer(confirm, async () => false);
    // @ts-expect-error: an answer of another type
    client.answer(confirm, () => "yes");
    // @ts-expect-error: this endpoint takes no messages
    client.send("x");
  });
});

test("inference of sessions with a handler", () => {
  const talk = describe<{ name: string }, string, { said: string }>("talk");
  const api = describe("api");
  const optional = describe<{ name: string } | undefined, string, string>("optional");
  typesOnly(() => {
    connect(api);
    connect(optional);
    connect(optional, { input: { name: "Ann" } });
    // @ts-expect-error: an input is needed
    connect(talk);
    // @ts-expect-error: an input is needed
    connect(talk, { token: () => "" });
    const room = connect(talk, { input: { name: "Ann" }, token: async () => "t" });
    room.send("hi");
    // @ts-expect-error: a message of another type
    room.send(1);
    room.onMessage((message) => expectTypeOf(message).toEqualTypeOf<{ said: string }>());
    connect(talk, { input: () => ({ name: "Ann" }) });
    // @ts-expect-error: an input of another type
    connect(describe<{ room: number }>("room"), { input: () => 1 });
  });
});

test("a client of any endpoint has hooks and presence", () => {
  typesOnly(() => {
    const room = connect(describe<{ name: string }, string, number>("talk"), { input: { name: "Ann" } });
    expectTypeOf<{ client: typeof room }>().toExtend<RealtimeProviderProps>();
    expectTypeOf(present<string>(room, "room").get()).toEqualTypeOf<ReadonlyMap<string, string>>();
    const rooms = place<{ name: string }>("room");
    expectTypeOf(present(room, rooms.of(1)).get()).toEqualTypeOf<ReadonlyMap<string, { name: string }>>();
    expectTypeOf(usePresent(rooms)).toEqualTypeOf<ReadonlyMap<string, { name: string }>>();
    // @ts-expect-error: data of another type
    present<string>(room, rooms);
    // @ts-expect-error: data of another type
    usePresent<{ hue: number }>(rooms.of("a"));
    // @ts-expect-error: an event is no place
    present(room, typing);
  });
});

test("inference of hooks and queries", () => {
  expectTypeOf<Mutation<number, number, unknown>["call"]>().parameter(0).toEqualTypeOf<number>();
  expectTypeOf<Session<{ name: string }, string, number>["lastMessage"]>().toEqualTypeOf<number | undefined>();
  typesOnly(() => {
    expectTypeOf(queryOptions(client, me, undefined).queryFn({})).toEqualTypeOf<Promise<{ name: string }>>();
    expectTypeOf(mutationOptions(client, add).mutationFn).parameter(0).toEqualTypeOf<number>();
    expectTypeOf(liveOptions(client, ticks, 3).queryFn({})).toEqualTypeOf<AsyncIterable<Update<Report>>>();
  });
});

/** Only the types matter: it is not run. */
function typesOnly(_: () => void): void {}
