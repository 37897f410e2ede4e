// @vitest-environment happy-dom

import { act } from "react";
import { createRoot } from "react-dom/client";
import { expect, test, vi } from "vitest";
import { RealtimeProvider, useSession } from "../../src/react/index.js";
import { TestNetwork, type TestServer } from "../../src/testing/index.js";
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
