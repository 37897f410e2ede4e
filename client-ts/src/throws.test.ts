// What becomes of the client when code of the application throws: each row of the table in ../README.md.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  ask,
  type Client,
  connect,
  describe,
  event,
  mutation,
  type Options,
  present,
  RealtimeError,
  subscription,
  Unauthorized,
} from "./index.js";
import { settle, TestNetwork, type TestServer } from "./testing/index.js";

const add = mutation<number, number>("add");
const items = subscription<number, number>("items");
const typing = event<number>("typing");
const confirm = ask<string, boolean>("confirm");

const wrong = new Error("on purpose");
const throws = () => {
  throw wrong;
};
/** As an `async` function does it. */
const rejects = () => Promise.reject(wrong);

let logged: unknown[][] = [];
beforeEach(() => {
  logged = [];
  vi.spyOn(console, "error").mockImplementation((...args) => void logged.push(args));
  vi.spyOn(console, "warn").mockImplementation((...args) => void logged.push(args));
});
afterEach(() => vi.restoreAllMocks());

type Peer = Client<void, unknown, unknown>;

/** Has a callback called once, and what is logged then. */
const callbacks: Record<string, [(client: Peer, callback: () => never) => void, object[], string]> = {
  "on an event": [
    (client, callback) => client.on(typing, callback),
    [{ type: "event", name: "typing", data: 1 }],
    "a listener failed",
  ],
  "on a message": [
    (client, callback) => client.onMessage(callback),
    [{ type: "message", value: 1 }],
    "a listener failed",
  ],
  "on a gap": [
    (client, callback) => client.onGap(callback),
    [{ type: "gap", topic: "t", count: 1, cause: "overflow" }],
    "a listener failed",
  ],
  "on an error": [
    (client, callback) => client.onError(callback),
    [{ type: "error", error: { code: "MINE", message: "no" } }],
    "a listener failed",
  ],
  "on presence": [
    (client, callback) => {
      let isFirst = true;
      present(client, "room").subscribe(() => {
        if (!isFirst) return callback();
        isFirst = false;
      });
    },
    [{ type: "event", name: "presence", data: { name: "room", here: [{ connection: "1", data: 1 }] } }],
    "a listener failed",
  ],
  onProgress: [
    (client, onProgress) => client.call(add, 1, { onProgress }).catch(() => {}),
    [{ type: "progress", id: "1", data: 1 }],
    "onProgress failed",
  ],
  onData: [
    (client, onData) => client.subscribe(items, 1, { onData }),
    [{ type: "data", id: "1", data: 1 }],
    "onData failed",
  ],
  onGap: [
    (client, onGap) => client.subscribe(items, 1, { onData: () => {}, onGap }),
    [{ type: "gap", id: "1", count: 1, cause: "overflow" }],
    "onGap failed",
  ],
  onBegin: [
    (client, onBegin) => client.subscribe(items, 1, { onData: () => {}, onBegin }),
    [{ type: "subscribed", id: "1", topic: "t", epoch: "e", offset: 1 }],
    "onBegin failed",
  ],
  onError: [
    (client, onError) => client.subscribe(items, 1, { onData: () => {}, onError }),
    [{ type: "error", id: "1", error: { code: "MINE", message: "no" } }],
    "onError failed",
  ],
  onComplete: [
    (client, onComplete) => client.subscribe(items, 1, { onData: () => {}, onComplete }),
    [{ type: "complete", id: "1" }],
    "onComplete failed",
  ],
};

for (const [name, [use, frames, message]] of Object.entries(callbacks)) {
  for (const [way, callback] of Object.entries({ throws, rejects })) {
    test(`${name} ${way}: it is logged, and all others go on`, async () => {
      const { client, server } = await open();
      use(client, callback as () => never);
      const others = [vi.fn(), vi.fn()];
      client.on(typing, others[0] as () => void);
      client.subscribe(items, 2, { onData: others[1] as () => void });
      const sent = await server.frames();
      for (const frame of frames) server.send(frame as { type: string });
      await settle();
      expect(logged).toContainEqual([message, wrong]);
      server.send({ type: "event", name: "typing", data: 2 });
      server.send({ type: "data", id: sent.at(-1)?.id, data: 3 });
      await settle();
      expect(others[0]).toHaveBeenCalledWith(2);
      expect(others[1]).toHaveBeenCalledWith(3, undefined);
      expect(client.state.get().status).toBe("open");
      // It goes on, and is called again: nothing is unsubscribed.
      expect(await server.frames()).toEqual([]);
    });
  }
}

test("a listener of the state throws: it is logged, and the client connects", async () => {
  const { client } = setUp();
  client.state.subscribe(throws);
  client.outdated.subscribe(rejects as () => void);
  await settle();
  expect(logged).toEqual([
    ["a listener failed", wrong],
    ["a listener failed", wrong],
  ]);
});

test("an answer throws: the server is told INTERNAL, or the error that was meant for it", async () => {
  const { client, server } = await open();
  client.answer(confirm, throws);
  server.send({ type: "call", id: "1", path: "confirm", input: "?" });
  expect(await server.frames()).toMatchObject([{ type: "error", id: "1", error: { code: "INTERNAL" } }]);
  expect(logged).toEqual([["the answer to a call failed", wrong]]);
  client.answer(confirm, async () => {
    throw new RealtimeError("MINE", "no");
  });
  server.send({ type: "call", id: "2", path: "confirm", input: "?" });
  expect(await server.frames()).toMatchObject([{ error: { code: "MINE", message: "no" } }]);
  expect(logged.length).toBe(1);
});

test("a token function throws: the attempt has failed like any other, and after Unauthorized the client is closed", async () => {
  for (const token of [throws, rejects]) {
    const { client } = setUp({ token });
    client.open();
    await settle();
    const cause = { type: "token", message: "on purpose" };
    expect(client.state.get()).toMatchObject({ status: "reconnecting", cause });
  }
  const token = () => {
    throw new Unauthorized();
  };
  const { client } = setUp({ token });
  client.open();
  await settle();
  expect(client.state.get()).toMatchObject({ status: "closed", cause: { type: "token" } });
});

test("a token function throws when the server asks for a fresh token: it is logged, and the connection stays", async () => {
  let left = 1;
  const token = () => {
    left -= 1;
    return left < 0 ? throws() : "t";
  };
  const { client, server } = await open({ token });
  server.send({ type: "reauthenticate", withinMs: 1_000 });
  await settle();
  expect(logged).toEqual([["no fresh token: on purpose"]]);
  expect(client.state.get().status).toBe("open");
});

test("a rule when to connect again throws: it is logged, and another attempt is made", async () => {
  const closed = await open({ reconnectOn: throws });
  closed.server.close(4000);
  await settle();
  expect(closed.client.state.get().status).toBe("reconnecting");
  const refused = setUp({ reconnectOnRefusal: throws });
  refused.client.open();
  (await refused.network.dialed()).refuse(400);
  await settle();
  expect(refused.client.state.get().status).toBe("reconnecting");
  expect(logged).toEqual(Array(2).fill(["a rule when to connect again failed", wrong]));
});

test("an input throws when it is asked for: the client closes, or tries again if it was connected before", async () => {
  const cause = { type: "invalid", message: "on purpose" };
  const first = setUp({ input: throws });
  first.client.open();
  await settle();
  expect(first.client.state.get()).toMatchObject({ status: "closed", cause });
  let left = 1;
  const input = () => {
    left -= 1;
    if (left < 0) throws();
  };
  const { network, client } = setUp({ input });
  client.open();
  (await network.accept()).lose();
  await network.advance(1_000);
  expect(client.state.get()).toMatchObject({ status: "reconnecting", cause });
});

test("a value throws when it is written: the call, the event or the subscription fails with INVALID_ARGUMENT alone", async () => {
  const { client, server } = await open();
  const input = { toJSON: throws } as never;
  const error = { code: "INVALID_ARGUMENT", message: expect.stringContaining("on purpose") };
  await expect(client.call(add, input)).rejects.toMatchObject(error);
  expect(() => client.emit(typing, input)).toThrow(expect.objectContaining(error));
  const onError = vi.fn();
  client.subscribe(items, input, { onData: () => {}, onError });
  await settle();
  expect(onError).toHaveBeenCalledWith(expect.objectContaining(error));
  expect(await server.frames()).toEqual([]);
});

test("a loop over updates throws: its subscription is ended", async () => {
  const { client, server } = await open();
  const loop = (async () => {
    for await (const _ of client.updates(items, 1)) throw wrong;
  })();
  await server.next();
  server.send({ type: "data", id: "1", data: 1 });
  await expect(loop).rejects.toBe(wrong);
  expect(await server.frames()).toEqual([{ type: "unsubscribe", id: "1" }]);
});

async function open(options: Partial<Options> = {}): Promise<{ client: Peer; server: TestServer }> {
  const { network, client } = setUp(options);
  client.open();
  return { client, server: await network.accept() };
}

function setUp(options: Partial<Options> & { input?: () => void } = {}) {
  const network = new TestNetwork();
  const { environment } = network;
  const client: Peer = connect(describe("api"), { url: "ws://server/x", environment, ...options });
  return { network, client };
}
