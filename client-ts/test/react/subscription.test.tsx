// @vitest-environment happy-dom

import { act } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { expect, test, vi } from "vitest";
import { RealtimeProvider, useConnection, useQuery, useSession, useSubscription } from "../../src/react/index.js";
import { identify } from "../../src/react/registry.js";
import { settle } from "../../src/testing/index.js";
import { frame, items, macrotask, names, render, roots, say, setUp, talk } from "./support.js";

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

test("inputs are equal where they are the same in JSON, and else are not", async () => {
  expect(identify("n", { b: [{ d: 1, c: 2 }], a: 1 })).toBe(identify("n", { a: 1, b: [{ c: 2, d: 1 }] }));
  const others = [undefined, null, {}, [], "", { a: 1 }, [["a", 1]], { a: "1" }, { a: { a: 1 } }, new Date(0)];
  expect(new Set(others.map((input) => identify("n", input))).size).toBe(others.length - 1);
  expect(identify("n", 1, "k")).not.toBe(identify("n", 1));
});
