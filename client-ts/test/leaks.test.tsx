// @vitest-environment happy-dom

import { act } from "react";
import { createRoot } from "react-dom/client";
import { expect, test, vi } from "vitest";
import { connect, describe, event, mutation, subscription } from "../src/index.js";
import { RealtimeProvider, useEvent, useMutation, useSession, useSubscription } from "../src/react/index.js";
import { registryOf } from "../src/react/registry.js";
import { settle, TestNetwork } from "../src/testing/index.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

const add = mutation<number, number>("add");
const items = subscription<number, number>("items");
const typing = event<number>("typing");
const talk = describe<number, string, string>("talk");

test("10 000 calls leave nothing", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.accept();
  const { signal } = new AbortController();
  let listeners = 0;
  const add_ = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add_>) => {
    listeners += 1;
    add_(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners -= 1;
    remove(...args);
  };
  const round = async (calls: number) => {
    for (let n = 0; n < calls; n += 1) {
      const call = client.call(add, n, { signal });
      for (const { id } of await server.frames()) server.send({ type: "result", id, data: n });
      expect(await call).toBe(n);
    }
  };
  await round(2_000);
  const before = heap();
  await round(10_000);
  expect(heap() - before).toBeLessThan(500_000);
  expect(listeners).toBe(0);
  expect(network.leftovers.timers).toBe(1);
  await client.close();
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
});

test("1 000 reconnections leave nothing", async () => {
  const { network, client } = setUp();
  network.random = 0;
  client.subscribe(items, 1, { onData: () => {} });
  const round = async (times: number) => {
    for (let n = 0; n < times; n += 1) {
      const server = await network.accept(`c${n}`);
      expect((await server.frames()).map(({ type }) => type)).toEqual(["subscribe"]);
      server.lose();
      await settle();
      // The network remembers them.
      network.requests.length = 0;
    }
  };
  await round(200);
  const before = heap();
  await round(1_000);
  expect(heap() - before).toBeLessThan(500_000);
  expect(network.leftovers.timers).toBeLessThanOrEqual(2);
  expect(network.leftovers.watchers).toBe(1);
});

test("1 000 attempts that were given up leave no socket", async () => {
  const { network, client } = setUp();
  client.open();
  for (let n = 0; n < 1_000; n += 1) {
    const server = await network.dialed();
    if (n % 2 === 0) server.open();
    // The page is shown while the attempt hangs: it is given up for another.
    network.sleep(1_000);
    await network.signal("wake");
    expect(server.closeCode).toBe(1005);
  }
  expect(network.leftovers).toEqual({ timers: 1, watchers: 1 });
  await client.close();
  expect((await network.dialed()).closeCode).toBe(1005);
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
});

test("10 000 mounts and unmounts leave nothing", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.accept();
  const root = createRoot(document.createElement("div"));
  const options = { environment: network.environment, url: "ws://server/talk" };
  const watching = vi.spyOn(client.state, "subscribe");
  let stops = 0;
  watching.mockImplementation(() => () => {
    stops += 1;
  });
  for (let n = 0; n < 10_000; n += 1) {
    const children = n % 2 === 0 ? <Component input={n} /> : null;
    await act(async () => {
      root.render(
        <RealtimeProvider client={client} options={options}>
          {children}
        </RealtimeProvider>,
      );
    });
    // What has left is released a macrotask later.
    if (n % 100 === 99) await act(async () => new Promise((resolve) => setTimeout(resolve, 1)));
  }
  await act(async () => root.unmount());
  await new Promise((resolve) => setTimeout(resolve, 5));
  await settle();
  const kinds = (await server.frames()).map(({ type }) => type);
  expect(kinds.filter((type) => type === "subscribe").length).toBe(5_000);
  expect(kinds.filter((type) => type === "unsubscribe").length).toBe(5_000);
  expect(registryOf(client).size).toBe(0);
  expect(stops).toBe(watching.mock.calls.length);
  // The client that the application has is the only one.
  expect(network.leftovers).toEqual({ timers: 1, watchers: 1 });
  for (let n = 0; n < 5_000; n += 1) expect((await network.dialed()).closeCode).toBe(1005);
}, 120_000);

function Component({ input }: { input: number }) {
  useSubscription(items, input);
  useEvent(typing, () => {});
  useMutation(add);
  useSession(talk, input);
  return null;
}

function setUp() {
  const network = new TestNetwork();
  const client = connect(describe("api"), { url: "ws://server/x", environment: network.environment });
  return { network, client };
}

/** The bytes that are still in use, where the collector can be asked. */
function heap(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().heapUsed;
}
