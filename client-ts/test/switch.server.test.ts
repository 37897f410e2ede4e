// The fallback against a real server behind a network that lets a WebSocket through only later: `npm run server`.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { http } from "../src/http/index.js";
import { connect, describe, type Environment, mutation } from "../src/index.js";
import { page } from "../src/page.js";
import { always } from "./fallback.js";
import { type Server, start, stop } from "./servers.js";

const updateCount = mutation<number, number>("update_count");
const realFetch = globalThis.fetch;

let server: Server;
beforeAll(async () => {
  server = await start("counter");
});
afterAll(() => stop(server));
afterEach(() => {
  globalThis.fetch = realFetch;
});

test("a page without a WebSocket gets one, and a call that runs meanwhile has its answer, once", async () => {
  const network = { isBlocked: true, dialed: 0 };
  let wake = () => {};
  const environment: Environment = {
    ...page(blocked(network)),
    watch: (listener) => {
      wake = () => listener("wake");
      return () => {};
    },
  };
  const url = `${server.origin}/__realtime/counter`;
  await using client = connect(describe("counter"), {
    url,
    environment,
    fallback: http,
    reconnect: { baseMs: 20 },
  });
  await client.open();
  expect(client.can("send")).toBe(false);
  expect(await client.call(updateCount, 1)).toBe(1);

  const answers = holdBackAnswers();
  const call = client.call(updateCount, 10);
  await expect.poll(() => answers.held).toBe(1);
  // Still blocked: the fallback goes on.
  wake();
  await expect.poll(() => network.dialed).toBe(3);
  expect(client.state.get().status).toBe("open");
  network.isBlocked = false;
  const isBack = () => {
    wake();
    return client.can("send");
  };
  await expect.poll(isBack).toBe(true);
  expect(await client.call(updateCount, 100)).toBe(111);
  answers.release();
  expect(await call).toBe(11);
  expect(await client.call(updateCount, 0)).toBe(111);
});

test("a server that goes says so by HTTP, too", async () => {
  const other = await start("counter");
  await using client = connect(describe("counter"), {
    url: `${other.origin}/__realtime/counter`,
    fallback: always,
  });
  await client.open();
  const causes: unknown[] = [];
  client.state.subscribe((state) => "cause" in state && causes.push(state.cause));
  await stop(other);
  await expect.poll(() => causes[0]).toMatchObject({ type: "closed", code: 1001 });
});

/** A class of sockets that cannot be opened while the network blocks them. */
function blocked(network: { isBlocked: boolean; dialed: number }) {
  return class {
    onerror: (() => void) | undefined;

    constructor(url: string, protocols: string[]) {
      network.dialed += 1;
      // biome-ignore lint/correctness/noConstructorReturn: what it returns is what `new` does.
      if (!network.isBlocked) return new WebSocket(url, protocols) as never;
      setTimeout(() => this.onerror?.());
    }

    close(): void {}
  };
}

/** Holds back what the server answers from now on to calls by HTTP, until it is released. */
function holdBackAnswers() {
  const answers = { held: 0, release: () => {} };
  const released = new Promise<void>((resolve) => {
    answers.release = resolve;
  });
  globalThis.fetch = async (input, init) => {
    const response = await realFetch(input, init);
    if (init?.method !== "POST") return response;
    answers.held += 1;
    await released;
    return response;
  };
  return answers;
}
