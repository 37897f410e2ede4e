// @vitest-environment happy-dom

import { act } from "react";
import { createRoot } from "react-dom/client";
import { expect, test, vi } from "vitest";
import { RealtimeProvider, useSession } from "../../src/react/index.js";
import { settle, TestNetwork, type TestServer } from "../../src/testing/index.js";
import { macrotask, render, roots, say, talk } from "./support.js";

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

test("connecting with another input ends the old session, and begins without its messages", async () => {
  const { network, room, shown } = await lobby();
  const ann = await opened(network, () => room().connect({ name: "Ann" }));
  await say(ann, { type: "message", value: "hi" });
  expect(shown()).toBe("open hi undefined");
  const bob = await opened(network, () => room().connect({ name: "Bob" }), "c2");
  await macrotask();
  expect(ann.closeCode).toBe(1000);
  expect(network.requests.map(({ url }) => new URL(url).searchParams.get("input"))).toEqual([
    '{"name":"Ann"}',
    '{"name":"Bob"}',
  ]);
  expect(shown()).toBe("open  undefined");
  await say(ann, { type: "message", value: "late" });
  await say(bob, { type: "message", value: "hello" });
  expect(shown()).toBe("open hello undefined");
});

test("the promise of a session that is refused is rejected, and its error is shown", async () => {
  const { network, room, shown } = await lobby();
  let failed: Promise<void> | undefined;
  await act(async () => {
    failed = expect(room().connect({ name: "Ann" })).rejects.toMatchObject({ from: "closed" });
    (await network.dialed()).refuse(404);
  });
  await failed;
  await macrotask();
  expect(shown()).toBe("closed  the client is closed: refused with 404");
});

test("closing rejects a promise that waits, and unmounting closes", async () => {
  const { network, room, screen, shown } = await lobby();
  let failed: Promise<void> | undefined;
  await act(async () => {
    failed = expect(room().connect({ name: "Ann" })).rejects.toMatchObject({ code: "CANCELLED" });
  });
  await act(async () => room().close());
  await failed;
  expect((await network.dialed()).closeCode).toBe(1005);
  expect(shown()).toMatch(/^closed /);
  const server = await opened(network, () => room().connect({ name: "Ann" }));
  await screen.show(null);
  await macrotask();
  expect(server.closeCode).toBe(1000);
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
});

test("the reason why a session has no connection is its error until it has one again", async () => {
  const { network, room, shown } = await lobby();
  let server = await opened(network, () => room().connect({ name: "Ann" }));
  await act(async () => {
    server.sendRaw("no frame");
    await settle();
  });
  expect(shown()).toMatch(/^reconnecting {2}connection lost: no frame: /);
  expect(room().error).toMatchObject({ code: "UNAVAILABLE", retryable: true });
  server = await opened(network, () => {}, "c2");
  expect(shown()).toBe("open  undefined");
});

/** A component that connects when it is told to. */
async function lobby() {
  const network = new TestNetwork();
  let room: ReturnType<typeof useSession<{ name: string }, string, string>>;
  function Room() {
    room = useSession(talk, null);
    return <p>{`${room.status} ${room.messages.join()} ${room.error?.message}`}</p>;
  }
  const screen = await render(undefined, <Room />, { environment: network.environment, url: "ws://server/talk" });
  return { network, screen, room: () => room, shown: () => screen.text };
}

async function opened(network: TestNetwork, connect: () => unknown, id = "c1"): Promise<TestServer> {
  return act(async () => {
    connect();
    return network.accept(id);
  });
}
