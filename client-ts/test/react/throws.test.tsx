// @vitest-environment happy-dom

import { act } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type LiveSubscription, useMutation, useSubscription } from "../../src/react/index.js";
import { add, frame, items, macrotask, render, say, setUp } from "./support.js";

const wrong = new Error("on purpose");

let logged: unknown[][] = [];
beforeEach(() => {
  logged = [];
  vi.spyOn(console, "error").mockImplementation((...args) => void logged.push(args));
});
afterEach(() => vi.restoreAllMocks());

test("a reduce that throws fails its subscription, which is ended; others go on, and it can begin again", async () => {
  const { network, client } = setUp();
  let live: LiveSubscription<number> | undefined;
  function Sum() {
    const reduce = (sum: number, item: number) => {
      if (item === 0) throw wrong;
      return sum + item;
    };
    live = useSubscription(items, { board: 1 }, { initial: 0, reduce });
    return <p>{`${live.status} ${live.data} ${live.error} `}</p>;
  }
  const Other = () => <p>{useSubscription(items, { board: 2 }).data}</p>;
  const screen = await render(
    client,
    <>
      <Sum />
      <Sum />
      <Other />
    </>,
  );
  const server = await network.accept();
  await macrotask();
  await server.frames();
  await say(server, { type: "data", id: "1", data: 5 });
  await say(server, { type: "data", id: "1", data: 0 });
  await say(server, { type: "data", id: "1", data: 7 });
  await say(server, { type: "data", id: "2", data: 9 });
  expect(screen.text).toBe("failed 5 Error: on purpose failed 5 Error: on purpose 9");
  expect(logged).toEqual([["reduce failed", wrong]]);
  expect(await server.frames()).toEqual([{ type: "unsubscribe", id: "1" }]);

  await act(async () => live?.restart());
  await frame();
  expect(screen.text).toBe("pending 0 undefined pending 0 undefined 9");
  expect(await server.frames()).toMatchObject([{ type: "subscribe", id: "4" }]);
  await say(server, { type: "data", id: "4", data: 7 });
  expect(screen.text).toBe("live 7 undefined live 7 undefined 9");
});

test("an optimistic change or its `until` that throws is dropped, and the item is not", async () => {
  const { network, client } = setUp();
  let call: (input: number) => Promise<number> = () => Promise.reject();
  let fails: "apply" | "until" = "until";
  function Sum() {
    const sum = useSubscription(items, { board: 1 }, { initial: 1 });
    const fail = (which: string) => {
      if (fails === which) throw wrong;
    };
    const apply = (data: number, input: number) => {
      fail("apply");
      return data + input;
    };
    const until = () => {
      fail("until");
      return false;
    };
    call = useMutation(add, { optimistic: [sum, apply], until }).call;
    return <p>{`${sum.data} ${sum.status}`}</p>;
  }
  const screen = await render(client, <Sum />);
  const server = await network.accept();
  await macrotask();
  await act(async () => void call(100).catch(() => {}));
  expect(screen.text).toBe("101 pending");
  await say(server, { type: "data", id: "1", data: 2 });
  expect(screen.text).toBe("2 live");
  expect(logged).toEqual([["`until` of an optimistic change failed", wrong]]);
  fails = "apply";
  await act(async () => void call(100).catch(() => {}));
  await frame();
  expect(screen.text).toBe("2 live");
  expect(logged.at(-1)).toEqual(["an optimistic change failed", wrong]);
});
