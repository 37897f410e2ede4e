// @vitest-environment happy-dom

import { act } from "react";
import { expect, test } from "vitest";
import { place } from "../../src/index.js";
import {
  type Mutation,
  useAnswer,
  useEvent,
  useMutation,
  usePresent,
  useQuery,
  useSubscription,
} from "../../src/react/index.js";
import { add, added, confirm, frame, items, macrotask, names, render, say, setUp } from "./support.js";

test("a query is shared, asked again after an event and a reconnection, and the newest answer wins", async () => {
  const { network, client } = setUp();
  function Names() {
    const { data, isFetching, refetch } = useQuery(names, undefined, { refreshOn: [added] });
    return (
      <button type="button" onClick={refetch}>
        {`${data?.join()} ${isFetching}`}
      </button>
    );
  }
  const screen = await render(
    client,
    <>
      <Names />
      <Names />
    </>,
  );
  let server = await network.accept();
  await macrotask();
  expect(await server.frames()).toMatchObject([{ type: "call", id: "1", path: "names" }]);
  await say(server, { type: "result", id: "1", data: ["a"] });
  expect(screen.text).toBe("a falsea false");
  await say(server, { type: "event", name: "added", data: 1 });
  await say(server, { type: "event", name: "added", data: 2 });
  // Events that come faster than answers do not keep an answer away.
  expect((await server.frames()).map(({ type }) => type)).toEqual(["call"]);
  await say(server, { type: "result", id: "2", data: ["old"] });
  expect(screen.text).toBe("old trueold true");
  expect((await server.frames()).map(({ type }) => type)).toEqual(["call"]);
  await say(server, { type: "result", id: "3", data: ["new"] });
  expect(screen.text).toBe("new falsenew false");
  server.lose();
  await act(async () => {
    server = await network.accept("c2");
  });
  expect(await server.frames()).toMatchObject([{ type: "call", path: "names" }]);
});

test("an optimistic change that throws is dropped, and one without data is not applied", async () => {
  const { network, client } = setUp();
  let call: (input: number) => Promise<number> = () => Promise.reject();
  function Sum() {
    const sum = useSubscription(items, { board: 1 }, { reduce: (_: number, item: number) => item });
    const apply = (data: number, input: number) => {
      if (data === undefined || data > 1) throw new Error("no such card");
      return data + input;
    };
    call = useMutation(add, { optimistic: [sum, apply] }).call;
    return <p>{`${sum.data}`}</p>;
  }
  const screen = await render(client, <Sum />);
  const server = await network.accept();
  await macrotask();
  await act(async () => void call(5).catch(() => {}));
  await frame();
  expect(screen.text).toBe("undefined");
  for (const [data, shown] of [
    [1, "6"],
    [2, "2"],
    [3, "3"],
  ] as const) {
    await say(server, { type: "data", id: "1", data });
    await frame();
    expect(screen.text).toBe(shown);
  }
});

test("an optimistic change lies on top until the call has ended, and a failure needs no undoing", async () => {
  const { network, client } = setUp();
  let call: (input: number) => Promise<number> = () => Promise.reject();
  function Sum() {
    const sum = useSubscription(items, { board: 1 }, { initial: 0 });
    const mutation = useMutation(add, { optimistic: [sum, (data, input) => data + input] });
    call = mutation.call;
    return <p>{`${sum.data} ${mutation.isPending} ${(mutation.error as Error | undefined)?.message}`}</p>;
  }
  const screen = await render(client, <Sum />);
  const server = await network.accept();
  await macrotask();
  await server.frames();
  await say(server, { type: "data", id: "1", data: 10 });
  await act(async () => {
    call(5).catch(() => {});
  });
  expect(screen.text).toBe("15 true undefined");
  await say(server, { type: "data", id: "1", data: 20 });
  expect(screen.text).toBe("25 true undefined");
  await say(server, { type: "error", id: "2", error: { code: "MINE", message: "no" } });
  expect(screen.text).toBe("20 false no");
  await act(async () => {
    call(7).catch(() => {});
  });
  await say(server, { type: "result", id: "3", data: 27 });
  expect(screen.text).toBe("20 false undefined");
});

test("an optimistic change goes when the subscription has come to what the call wrote", async () => {
  const { network, client } = setUp();
  let call: (input: number) => Promise<number> = () => Promise.reject();
  function Sum() {
    const sum = useSubscription(items, { board: 1 }, { initial: 0, reduce: (sum, item) => sum + item });
    call = useMutation(add, { optimistic: [sum, (data, input) => data + input] }).call;
    return <p>{`${sum.data} at ${sum.position?.epoch}:${sum.position?.offset}`}</p>;
  }
  const screen = await render(client, <Sum />);
  let server = await network.accept();
  await macrotask();
  await server.frames();
  const written = (topic: string, epoch: string, offset: number) => ({
    data: null,
    wrote: [{ topic, epoch, offset }],
  });
  const addAnd = async (input: number, answer: object) => {
    await act(async () => {
      call(input).catch(() => {});
    });
    const { id } = await server.next();
    await say(server, { type: "result", id, ...answer });
  };
  await say(server, { type: "subscribed", id: "1", topic: "a", epoch: "e", offset: 3 });
  expect(screen.text).toBe("0 at e:3");
  // The answer is there before the entry, and another entry is not it.
  await addAnd(5, written("a", "e", 5));
  expect(screen.text).toBe("5 at e:3");
  await say(server, { type: "data", id: "1", data: 10, epoch: "e", offset: 4 });
  expect(screen.text).toBe("15 at e:4");
  await say(server, { type: "data", id: "1", data: 5, epoch: "e", offset: 5 });
  expect(screen.text).toBe("15 at e:5");
  // Nothing of this feed, nothing of this log, and nothing that it has not: it goes with the answer.
  for (const answer of [{ data: null }, written("b", "e", 9), written("a", "f", 9), written("a", "e", 5)]) {
    await addAnd(100, answer);
    expect(screen.text).toBe("15 at e:5");
  }
  // A gap tells of it, and so does another log.
  await addAnd(7, written("a", "e", 6));
  expect(screen.text).toBe("22 at e:5");
  await say(server, { type: "gap", id: "1", count: 1, from: 6, to: 6, cause: "retention" });
  expect(screen.text).toBe("15 at e:6");
  await addAnd(7, written("a", "e", 9));
  expect(screen.text).toBe("22 at e:6");
  server.lose();
  await act(async () => {
    server = await network.accept("c2");
  });
  expect(await server.next()).toMatchObject({ type: "subscribe", after: { epoch: "e", offset: 6 } });
  await say(server, { type: "subscribed", id: "1", topic: "a", epoch: "f", offset: 1, resumed: false });
  expect(screen.text).toBe("22 at e:6");
  await say(server, { type: "gap", id: "1", count: 0, cause: "diverged" });
  expect(screen.text).toBe("15 at f:1");
  // And the end of the subscription.
  await addAnd(7, written("a", "f", 2));
  expect(screen.text).toBe("22 at f:1");
  await say(server, { type: "complete", id: "1" });
  expect(screen.text).toBe("15 at f:1");
});

test("of several calls the newest is told, and none after a reset", async () => {
  const { network, client } = setUp();
  let mutation: Mutation<number, number, unknown> | undefined;
  function Adds() {
    mutation = useMutation(add);
    return <p>{`${mutation.data} ${mutation.isPending}`}</p>;
  }
  const screen = await render(client, <Adds />);
  await act(async () => {
    mutation?.call(1);
    mutation?.call(2);
  });
  const server = await network.accept();
  const [first, second] = await server.frames();
  await say(server, { type: "result", id: second?.id, data: "second" });
  await say(server, { type: "result", id: first?.id, data: "first" });
  expect(screen.text).toBe("second false");
  await act(async () => {
    mutation?.call(3);
  });
  const [third] = await server.frames();
  await act(async () => mutation?.reset());
  expect(screen.text).toBe("undefined false");
  await say(server, { type: "result", id: third?.id, data: "third" });
  expect(screen.text).toBe("undefined false");
});

test("an optimistic change stays until the data have it", async () => {
  const { network, client } = setUp();
  let call: ((input: number) => Promise<number>) | undefined;
  function Sum() {
    const sum = useSubscription(items, { board: 1 }, { initial: 0 });
    call = useMutation(add, {
      optimistic: [sum, (data, input) => data + input],
      until: (data, input) => data >= input,
    }).call;
    return <p>{sum.data}</p>;
  }
  const screen = await render(client, <Sum />);
  const server = await network.accept();
  await macrotask();
  await server.frames();
  await act(async () => {
    call?.(5);
  });
  await say(server, { type: "result", id: "2", data: 5 });
  expect(screen.text).toBe("5");
  await say(server, { type: "data", id: "1", data: 1 });
  expect(screen.text).toBe("6");
  await say(server, { type: "data", id: "1", data: 5 });
  expect(screen.text).toBe("5");
});

test("events and questions reach the latest render", async () => {
  const { network, client } = setUp();
  const told: string[] = [];
  function Listens({ name }: { name: string }) {
    useEvent(added, (by) => told.push(`${name} ${by}`));
    useAnswer(confirm, (question) => question === name);
    return null;
  }
  const screen = await render(client, <Listens name="a" />);
  const server = await network.accept();
  await screen.show(<Listens name="b" />);
  await say(server, { type: "event", name: "added", data: 1 });
  await say(server, { type: "call", id: "x", path: "confirm", input: "b" });
  expect(told).toEqual(["b 1"]);
  expect(await server.frames()).toEqual([{ type: "result", id: "x", data: true }]);
  await screen.show(null);
  await say(server, { type: "event", name: "added", data: 2 });
  expect(told).toEqual(["b 1"]);
});

test("who is present is followed by notices", async () => {
  const { network, client } = setUp();
  const rooms = place<string>("room");
  function People() {
    return <p>{[...usePresent(rooms.of(1))].map(([id, name]) => `${id}=${name}`).join()}</p>;
  }
  const screen = await render(client, <People />);
  const server = await network.accept();
  const notice = (data: object) =>
    say(server, { type: "event", name: "presence", data: { name: "room:1", ...data } });
  await notice({ here: [{ connection: "1", data: "Ann" }] });
  await notice({ joined: [{ connection: "2", data: "Bob" }] });
  await notice({ name: "other", joined: [{ connection: "3", data: "Eve" }] });
  await notice({ changed: [{ connection: "1", data: "Anna" }], left: ["2"] });
  expect(screen.text).toBe("1=Anna");
  await notice({ here: [{ connection: "9", data: "Zoe" }] });
  expect(screen.text).toBe("9=Zoe");
});

test("a component that comes later sees everybody, and two see the same", async () => {
  const { network, client } = setUp();
  const People = () => <p>{[...usePresent<string>("room").values()].join()}</p>;
  client.open();
  const server = await network.accept();
  const notice = (data: object) =>
    say(server, { type: "event", name: "presence", data: { name: "room", ...data } });
  await notice({ here: [{ connection: "1", data: "Ann" }] });
  await notice({ joined: [{ connection: "2", data: "Bob" }] });
  const screen = await render(client, <People />);
  expect(screen.text).toBe("Ann,Bob");
  await screen.show(
    <>
      <People key="a" />
      <People key="b" />
    </>,
  );
  await notice({ left: ["1"] });
  expect(screen.text).toBe("BobBob");
  await screen.show(null);
  await notice({ joined: [{ connection: "3", data: "Cleo" }] });
  await screen.show(<People />);
  expect(screen.text).toBe("Bob,Cleo");
});
