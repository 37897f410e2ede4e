// @vitest-environment happy-dom

import { act, type ReactNode, StrictMode } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, expect, test, vi } from "vitest";
import { ask, connect, describe, event, mutation, query, subscription } from "../index.js";
import { type Frame, settle, TestNetwork, type TestServer } from "../testing/index.js";
import {
  RealtimeProvider,
  useAnswer,
  useConnection,
  useEvent,
  useMutation,
  usePresent,
  useQuery,
  useSession,
  useSubscription,
} from "./index.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

const items = subscription<{ board: number; side?: string }, number>("items");
const names = query<void, string[]>("names");
const add = mutation<number, number>("add");
const added = event<number>("added");
const confirm = ask<string, boolean>("confirm");
const talk = describe<{ name: string }, string, string>("talk");

const roots: Root[] = [];
afterEach(async () => {
  for (const root of roots.splice(0)) await act(async () => root.unmount());
});

test("StrictMode makes one socket and one subscription, and the end of the component ends it", async () => {
  const { network, client } = setUp();
  function Items() {
    return <p>{useSubscription(items, { board: 1 }).data}</p>;
  }
  const screen = await render(client, <Items />);
  const server = await network.accept();
  await macrotask();
  expect(network.requests.length).toBe(1);
  expect(await server.frames()).toMatchObject([{ type: "subscribe", id: "1", input: { board: 1 } }]);
  await say(server, { type: "data", id: "1", data: 7 });
  expect(screen.text).toBe("7");
  await screen.show(null);
  await macrotask();
  expect(await server.frames()).toEqual([{ type: "unsubscribe", id: "1" }]);
});

test("equal inputs share a subscription, whatever the order of their fields; another input ends the old one", async () => {
  const { network, client } = setUp();
  function Items({ input }: { input: { board: number; side?: string } }) {
    const { data, status } = useSubscription(items, input);
    return <p>{`${status} ${data} `}</p>;
  }
  const screen = await render(
    client,
    <>
      <Items input={{ board: 1, side: "a" }} />
      <Items input={{ side: "a", board: 1 }} />
    </>,
  );
  const server = await network.accept();
  await macrotask();
  expect((await server.frames()).length).toBe(1);
  await say(server, { type: "data", id: "1", data: 7 });
  expect(screen.text).toBe("live 7 live 7 ");
  await screen.show(
    <>
      <Items input={{ board: 2 }} />
      <Items input={{ side: "a", board: 1 }} />
    </>,
  );
  await macrotask();
  expect(await server.frames()).toMatchObject([{ type: "subscribe", id: "2", input: { board: 2 } }]);
  expect(screen.text).toBe("pending undefined live 7 ");
  await screen.show(<Items input={{ board: 2 }} />);
  await macrotask();
  expect(await server.frames()).toEqual([{ type: "unsubscribe", id: "1" }]);
});

test("a loader's data are joined by their position; gaps, staleness and the end are states", async () => {
  const { network, client } = setUp();
  function Sum() {
    const live = useSubscription(
      items,
      { board: 1 },
      {
        initial: 10,
        after: { epoch: "e", offset: 4 },
        reduce: (sum: number, item) => sum + item,
      },
    );
    return (
      <button type="button" onClick={live.restart}>
        {`${live.status} ${live.data} ${live.gap?.cause} ${live.position?.offset}`}
      </button>
    );
  }
  const screen = await render(client, <Sum />);
  expect(screen.text).toBe("pending 10 undefined 4");
  let server = await network.accept();
  await macrotask();
  expect(await server.next()).toMatchObject({ after: { epoch: "e", offset: 4 } });
  await say(server, { type: "data", id: "1", data: 5, epoch: "e", offset: 5 });
  expect(screen.text).toBe("live 15 undefined 5");
  await act(async () => {
    server.lose();
    await settle();
  });
  await frame();
  expect(screen.text).toBe("stale 15 undefined 5");
  await act(async () => {
    server = await network.accept();
  });
  await frame();
  expect(screen.text).toBe("live 15 undefined 5");
  expect(await server.next()).toMatchObject({ after: { epoch: "e", offset: 5 } });
  await say(server, { type: "gap", id: "1", count: 2, cause: "overflow" });
  expect(screen.text).toBe("live 15 overflow 5");
  await act(async () => screen.element.querySelector("button")?.click());
  await frame();
  expect(screen.text).toBe("pending 10 undefined 4");
  expect(await server.frames()).toMatchObject([
    { type: "unsubscribe", id: "1" },
    { type: "subscribe", id: "3" },
  ]);
  await say(server, { type: "complete", id: "3" });
  expect(screen.text).toBe("complete 10 undefined 4");
});

test("a failure is a state", async () => {
  const { network, client } = setUp();
  function Items() {
    const { status, error } = useSubscription(items, { board: 1 });
    return <p>{`${status} ${(error as Error | undefined)?.message}`}</p>;
  }
  const screen = await render(client, <Items />);
  const server = await network.accept();
  await macrotask();
  await say(server, { type: "error", id: "1", error: { code: "PERMISSION_DENIED", message: "no" } });
  expect(screen.text).toBe("failed no");
});

test("1 000 items are not 1 000 renders, and the last is shown", async () => {
  const { network, client } = setUp();
  let renders = 0;
  function Items() {
    renders += 1;
    return <p>{useSubscription(items, { board: 1 }).data}</p>;
  }
  const screen = await render(client, <Items />);
  const server = await network.accept();
  await macrotask();
  await server.frames();
  renders = 0;
  for (let round = 0; round < 40; round += 1) {
    await act(async () => {
      for (let n = 0; n < 25; n += 1) server.send({ type: "data", id: "1", data: round * 25 + n });
      await settle();
    });
  }
  await frame();
  await frame();
  expect(screen.text).toBe("999");
  expect(renders).toBeLessThan(100);
});

test("a hook that is not enabled does nothing", async () => {
  const { network, client } = setUp();
  function Idle() {
    const live = useSubscription(items, { board: 1 }, { enabled: false, initial: 3 });
    const { status } = useQuery(names, undefined, { enabled: false });
    return <p>{`${live.status} ${live.data} ${status}`}</p>;
  }
  const screen = await render(client, <Idle />);
  await macrotask();
  expect(screen.text).toBe("idle 3 idle");
  expect(network.requests).toEqual([]);
});

test("nothing happens on a server", () => {
  const { network, client } = setUp();
  function Page() {
    const live = useSubscription(items, { board: 1 }, { initial: 3 });
    const { status } = useQuery(names, undefined);
    const room = useSession(talk, { name: "Ann" }, { environment: network.environment, url: "ws://server/talk" });
    const { status: connection } = useConnection();
    return <p>{`${live.data} ${status} ${room.status} ${connection}`}</p>;
  }
  const html = renderToString(
    <RealtimeProvider client={client}>
      <Page />
    </RealtimeProvider>,
  );
  expect(html).toBe("<p>3 pending idle idle</p>");
  expect(network.requests).toEqual([]);
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
});

test("a page of a server is taken over without a complaint, and connects then", async () => {
  const logged = vi.spyOn(console, "error");
  const { network, client } = setUp();
  function Page() {
    const live = useSubscription(items, { board: 1 }, { initial: 3, after: { epoch: "e", offset: 4 } });
    return <p>{`${live.data} ${live.status}`}</p>;
  }
  const page = (
    <RealtimeProvider client={client}>
      <Page />
    </RealtimeProvider>
  );
  const element = document.createElement("div");
  element.innerHTML = renderToString(page);
  await act(async () => {
    roots.push(hydrateRoot(element, page));
  });
  const server = await network.accept();
  await macrotask();
  expect(await server.frames()).toMatchObject([{ type: "subscribe", after: { epoch: "e", offset: 4 } }]);
  await say(server, { type: "data", id: "1", data: 5 });
  expect(element.textContent).toBe("5 live");
  expect(logged).not.toHaveBeenCalled();
  logged.mockRestore();
});

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
  expect((await server.frames()).map(({ type }) => type)).toEqual(["call", "cancel", "call"]);
  await say(server, { type: "result", id: "2", data: ["old"] });
  await say(server, { type: "result", id: "4", data: ["new"] });
  expect(screen.text).toBe("new falsenew false");
  server.lose();
  await act(async () => {
    server = await network.accept("c2");
  });
  expect(await server.frames()).toMatchObject([{ type: "call", path: "names" }]);
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
  function People() {
    return <p>{[...usePresent<string>("room")].map(([id, name]) => `${id}=${name}`).join()}</p>;
  }
  const screen = await render(client, <People />);
  const server = await network.accept();
  const notice = (data: object) =>
    say(server, { type: "event", name: "presence", data: { name: "room", ...data } });
  await notice({ here: [{ connection: "1", data: "Ann" }] });
  await notice({ joined: [{ connection: "2", data: "Bob" }] });
  await notice({ name: "other", joined: [{ connection: "3", data: "Eve" }] });
  await notice({ changed: [{ connection: "1", data: "Anna" }], left: ["2"] });
  expect(screen.text).toBe("1=Anna");
  await notice({ here: [{ connection: "9", data: "Zoe" }] });
  expect(screen.text).toBe("9=Zoe");
});

test("sessions with the same input share a connection, and another input is another", async () => {
  const network = new TestNetwork();
  const options = { environment: network.environment, url: "ws://server/talk" };
  function Room({ name }: { name: string }) {
    const room = useSession(talk, { name });
    return <p>{`${name} ${room.status} ${room.lastMessage} `}</p>;
  }
  const screen = await render(
    undefined,
    <>
      <Room name="Ann" />
      <Room name="Ann" />
      <Room name="Bob" />
    </>,
    options,
  );
  await macrotask();
  expect(network.requests.map(({ url }) => new URL(url).searchParams.get("input"))).toEqual([
    '{"name":"Ann"}',
    '{"name":"Bob"}',
  ]);
  let ann: TestServer | undefined;
  let bob: TestServer | undefined;
  await act(async () => {
    ann = await network.accept("c1");
    bob = await network.accept("c2");
  });
  await say(ann, { type: "message", value: "hi" });
  expect(screen.text).toBe("Ann open hi Ann open hi Bob open undefined ");
  await screen.show(<Room name="Ann" />);
  await macrotask();
  expect(bob?.closeCode).toBe(1000);
  expect(ann?.closeCode).toBeUndefined();
});

test("a provider that is rendered again with other options keeps its sessions", async () => {
  const network = new TestNetwork();
  const element = document.createElement("div");
  const root = createRoot(element);
  roots.push(root);
  function Room() {
    return <p>{useSession(talk, { name: "Ann" }).status}</p>;
  }
  for (let n = 0; n < 3; n += 1) {
    await act(async () => {
      root.render(
        <RealtimeProvider options={{ environment: network.environment, url: "ws://server/talk" }}>
          <Room />
        </RealtimeProvider>,
      );
    });
    await macrotask();
  }
  expect(network.requests.length).toBe(1);
});

test("inputs are equal where they are the same in JSON, and else are not", async () => {
  const { identify } = await import("./registry.js");
  expect(identify("n", { b: [{ d: 1, c: 2 }], a: 1 })).toBe(identify("n", { a: 1, b: [{ c: 2, d: 1 }] }));
  const others = [undefined, null, {}, [], "", { a: 1 }, [["a", 1]], { a: "1" }, { a: { a: 1 } }, new Date(0)];
  expect(new Set(others.map((input) => identify("n", input))).size).toBe(others.length - 1);
  expect(identify("n", 1, "k")).not.toBe(identify("n", 1));
});

test("a session connects when it is told to, sends, keeps the newest messages, and closes for good", async () => {
  const network = new TestNetwork();
  const options = { environment: network.environment, url: "ws://server/talk" };
  let room: ReturnType<typeof useSession<{ name: string }, string, string>> | undefined;
  function Room() {
    room = useSession(talk, null, { keep: 3 });
    return <p>{`${room.status} ${room.isOpen} ${room.messages.join()} ${room.error?.message}`}</p>;
  }
  const screen = await render(undefined, <Room />, options);
  await macrotask();
  expect(screen.text).toBe("idle false  undefined");
  expect(network.requests).toEqual([]);
  expect(() => room?.send("x")).toThrow("connect first");

  const opened = vi.fn();
  await act(async () => {
    room?.connect({ name: "Ann" }).then(opened);
  });
  await macrotask();
  expect(opened).not.toHaveBeenCalled();
  let server = await act(async () => network.accept());
  expect(opened).toHaveBeenCalled();
  room?.send("hello");
  expect(await server.frames()).toEqual([{ type: "message", value: "hello" }]);
  for (const value of ["1", "2", "3", "4"]) await say(server, { type: "message", value });
  await say(server, { type: "error", error: { code: "INVALID_ARGUMENT", message: "no" } });
  expect(screen.text).toBe("open true 2,3,4 no");

  await act(async () => {
    server.lose();
    server = await network.accept("c2");
  });
  expect(room?.status).toBe("open");
  await act(async () => room?.close(4001, "bye"));
  expect(server.closeCode).toBe(4001);
  await network.advance(60_000);
  expect(screen.text).toContain("closed false");

  await act(async () => {
    room?.connect({ name: "Ann" });
  });
  await act(async () => network.accept("c3"));
  expect(screen.text).toBe("open true  undefined");
});

async function render(
  client: ReturnType<typeof setUp>["client"] | undefined,
  children: ReactNode,
  options?: object,
) {
  const element = document.createElement("div");
  const root = createRoot(element);
  roots.push(root);
  const show = async (children: ReactNode) => {
    await act(async () => {
      root.render(
        <StrictMode>
          <RealtimeProvider {...(client && { client })} {...(options && { options })}>
            {children}
          </RealtimeProvider>
        </StrictMode>,
      );
    });
  };
  await show(children);
  return {
    element,
    show,
    get text() {
      return element.textContent;
    },
  };
}

/** Sends a frame, and waits until it may be shown. */
async function say(server: TestServer | undefined, sent: Frame): Promise<void> {
  await act(async () => {
    server?.send(sent);
    await settle();
  });
  await frame();
}

/** What is shown for a frame of the screen, and released after a macrotask, goes by the real clock. */
async function frame(): Promise<void> {
  await act(async () => new Promise((resolve) => setTimeout(resolve, 20)));
}

async function macrotask(): Promise<void> {
  await act(async () => new Promise((resolve) => setTimeout(resolve, 1)));
}

function setUp() {
  const network = new TestNetwork();
  const client = connect(describe("api"), { url: "ws://server/x", environment: network.environment });
  return { network, client };
}
