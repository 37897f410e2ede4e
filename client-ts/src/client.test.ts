import { expect, test, vi } from "vitest";
import {
  ask,
  connect,
  describe,
  event,
  mutation,
  type Options,
  RealtimeError,
  type State,
  subscription,
  Unauthorized,
} from "./index.js";
import { settle, TestNetwork } from "./testing/index.js";

const add = mutation<number, number>("add");
const count = mutation<void, number>("count");
const items = subscription<number, number>("items");
const typing = event<number>("typing");
const confirm = ask<string, boolean>("confirm");
const api = describe<void, unknown, unknown>("api");

test("nothing happens until a client is used", async () => {
  const { network, client } = setUp();
  await network.advance(60_000);
  expect(network.requests).toEqual([]);
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
  expect(client.state.get()).toEqual({ status: "idle" });
  client.call(count).catch(() => {});
  expect(network.requests).toEqual([{ url: "ws://server/__realtime/api", token: undefined }]);
});

test("the input is in the URL, and a URL that cannot be is the end", async () => {
  const network = new TestNetwork();
  const { environment } = network;
  const talk = describe<{ name: string }>("talk");
  connect(talk, { environment, url: "https://host:8080/app/talk#x", input: { name: "Ann & Bob" } }).open();
  expect(network.requests[0]?.url).toBe("wss://host:8080/app/talk?input=%7B%22name%22%3A%22Ann+%26+Bob%22%7D");
  const client = connect(api, { environment, url: "/path" });
  await expect(client.open()).rejects.toMatchObject({ from: "closed" });
  expect(client.state.get()).toMatchObject({ status: "closed", cause: { type: "invalid" } });
});

test("an input that is a function is asked for before each attempt", async () => {
  let after = 0;
  const { network, client } = setUp({ input: () => ({ after }) });
  client.open();
  const server = await network.accept();
  after = 7;
  server.lose();
  await network.accept();
  const inputs = network.requests.map(({ url }) => new URL(url).searchParams.get("input"));
  expect(inputs).toEqual(['{"after":0}', '{"after":7}']);
});

test("who opens a client that waits for its next attempt has it made at once", async () => {
  const { network, client } = setUp();
  client.open();
  (await network.dialed()).lose();
  await settle();
  expect(client.state.get().status).toBe("reconnecting");
  const opened = client.open();
  expect(client.state.get()).toEqual({ status: "connecting", attempt: 2 });
  await network.accept("c");
  await opened;
  expect(network.requests.length).toBe(2);
});

test("messages come with their position, and what is missing of a topic is told", async () => {
  const { network, client } = setUp();
  const told: unknown[] = [];
  client.onMessage((message, position) => told.push([message, position]));
  client.onGap((gap) => told.push(gap));
  const server = await network.accept();
  server.send({ type: "message", value: "a" });
  server.send({ type: "message", value: "b", topic: "t", epoch: "e", offset: 3 });
  server.send({ type: "gap", topic: "t", count: 2, cause: "retention", from: 4, to: 5 });
  await settle();
  expect(told).toEqual([
    ["a", undefined],
    ["b", { epoch: "e", offset: 3 }],
    { topic: "t", count: 2, cause: "retention", from: 4, to: 5 },
  ]);
});

test("a close is final while a token is fetched, and its late token dials nothing", async () => {
  let give = (_: string): void => {};
  const token = () => new Promise<string>((resolve) => (give = resolve));
  const { network, client } = setUp({ token });
  const opened = client.open();
  await client.close();
  give("late");
  await network.advance(60_000);
  await expect(opened).rejects.toThrow("the client is closed: closed by this side");
  expect(network.requests).toEqual([]);
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
});

test("a token that takes longer than an attempt may is not used", async () => {
  const gives: ((token: string) => void)[] = [];
  const token = () => new Promise<string>((resolve) => gives.push(resolve));
  const { network, client } = setUp({ token });
  client.open();
  await network.advance(10_000);
  expect(client.state.get()).toMatchObject({ status: "reconnecting", cause: { type: "timeout" } });
  await network.advance(300);
  gives[0]?.("late");
  gives[1]?.("fresh");
  await settle();
  expect(network.requests.map(({ token }) => token)).toEqual(["fresh"]);
});

test("a token function that has none any more ends the client", async () => {
  const token = () => {
    throw new Unauthorized("logged out");
  };
  const { network, client } = setUp({ token });
  await expect(client.call(add, 1)).rejects.toThrow("the client is closed: no token: logged out");
  await network.advance(60_000);
  expect(network.requests).toEqual([]);
});

test("2 000 calls that were given up while they waited leave nothing and send nothing", async () => {
  const { network, client } = setUp({ offlineQueue: { frames: 5_000 } });
  network.isDown = true;
  const controllers = Array.from({ length: 2_000 }, () => new AbortController());
  const calls = controllers.map(({ signal }, n) => client.call(add, n, { signal }));
  const failures = Promise.allSettled(calls);
  for (const controller of controllers) controller.abort();
  await failures;
  network.isDown = false;
  const server = await network.accept();
  expect(await server.frames()).toEqual([]);
});

test("256 calls wait by default, and what was refused is never sent", async () => {
  const { network, client } = setUp();
  network.isDown = true;
  const ended = Promise.allSettled(Array.from({ length: 300 }, (_, n) => client.call(add, n)));
  network.isDown = false;
  const server = await network.accept();
  const frames = await server.frames();
  expect(frames.map(({ input }) => input)).toEqual(Array.from({ length: 256 }, (_, n) => n));
  for (const { id } of frames) server.send({ type: "result", id, data: 0 });
  expect((await ended).filter(({ status }) => status === "rejected").length).toBe(44);
});

test("what was queued while the page was hidden is sent when it is shown", async () => {
  const { network, client } = setUp();
  network.isDown = true;
  client.emit(typing, 1);
  await network.advance(60_000);
  const attempts = network.requests.length;
  network.isDown = false;
  // Its timers stand still.
  network.sleep(5_000);
  await network.signal("wake");
  expect(network.requests.length).toBe(attempts + 1);
  const server = await network.accept();
  expect(await server.frames()).toEqual([{ type: "event", name: "typing", data: 1 }]);
});

test("close resolves within 3 s of a dead network", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.accept();
  server.answersClose = false;
  const done = vi.fn();
  client.close().then(done);
  await network.advance(2_999);
  expect(server.closeCode).toBe(1000);
  expect(done).not.toHaveBeenCalled();
  await network.advance(1);
  expect(done).toHaveBeenCalled();
  expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
});

test("close says the code and the reason, and is the same when it is said twice", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.accept();
  await Promise.all([client.close(4001, "done"), client.close()]);
  expect(server.closeCode).toBe(4001);
  expect(client.state.get()).toEqual({ status: "closed", cause: { type: "local" } });
});

test("a client can be awaited and returned from an async function", async () => {
  const { client } = setUp();
  expect(await (async () => client)()).toBe(client);
  expect("then" in client).toBe(false);
});

test("a name may be any text", async () => {
  const { network, client } = setUp();
  for (const name of ["then", "__proto__", "constructor", "a-b", "toString"]) {
    client.call(mutation<void, void>(name)).catch(() => {});
  }
  const server = await network.accept();
  const names = (await server.frames()).map(({ path }) => path);
  expect(names).toEqual(["then", "__proto__", "constructor", "a-b", "toString"]);
});

test("an abort before sending sends nothing, and one after it cancels; both keep their reason", async () => {
  const { network, client } = setUp();
  const early = new AbortController();
  const never = client.call(add, 1, { signal: early.signal });
  early.abort("changed my mind");
  await expect(never).rejects.toBe("changed my mind");
  const server = await network.accept();
  const late = new AbortController();
  const call = client.call(add, 2, { signal: late.signal });
  expect(await server.frames()).toMatchObject([{ type: "call", input: 2 }]);
  const reason = new Error("gone");
  late.abort(reason);
  await expect(call).rejects.toBe(reason);
  expect(await server.frames()).toEqual([{ type: "cancel", id: "2" }]);
  // Its answer is ignored, and the next abort of a signal is, too.
  server.send({ type: "result", id: "2", data: 1 });
  await expect(client.call(add, 3, { signal: late.signal })).rejects.toBe(reason);
  expect(await server.frames()).toEqual([]);
});

test("a signal that ends after the answer does nothing, and holds nothing", async () => {
  const { network, client } = setUp();
  const { signal } = new AbortController();
  const removed = vi.spyOn(signal, "removeEventListener");
  const call = client.call(add, 1, { signal });
  const server = await network.accept();
  await server.next();
  server.send({ type: "result", id: "1", data: 2 });
  expect(await call).toBe(2);
  expect(removed).toHaveBeenCalledTimes(1);
});

test("values without a form in JSON fail before they are queued", async () => {
  const { network, client } = setUp();
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  const any = mutation<unknown, void>("any");
  for (const value of [cycle, 1n, () => {}, Symbol("s")]) {
    await expect(client.call(any, value)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", from: "client" });
    expect(() => client.emit(event<unknown>("any"), value)).toThrow("any cannot be written");
    expect(() => client.send(value)).toThrow("a message cannot be written");
  }
  expect(() => client.send(undefined)).toThrow("a message cannot be written");
  client.open();
  const server = await network.accept();
  expect(await server.frames()).toEqual([]);
});

test("a time that is none is refused", async () => {
  const { client } = setUp();
  for (const timeoutMs of [Number.NaN, -1]) {
    await expect(client.call(add, 1, { timeoutMs })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  }
});

test("a message over the limit of the server fails alone", async () => {
  const { network, client } = setUp();
  const large = "ž".repeat(600);
  const echo = mutation<string, string>("echo");
  const before = client.call(echo, large);
  client.subscribe(subscription<string, void>("large"), large, { onData: () => {}, onError });
  const server = await network.accept("c", { messageBytes: 1_000 });
  const wrong = {
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining("is more than the server takes, 1000"),
  };
  await expect(before).rejects.toMatchObject(wrong);
  expect(onError).toHaveBeenCalledWith(expect.objectContaining(wrong));
  await expect(client.call(echo, large)).rejects.toMatchObject(wrong);
  expect(() => client.send(large)).toThrow("is more than the server takes");
  expect(await server.frames()).toEqual([]);
  client.send("small");
  expect(await server.frames()).toEqual([{ type: "message", value: "small" }]);
});
const onError = vi.fn();

test("listeners may be added, removed and fail while others are told; one that is added twice is told twice", async () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => {});
  const { network, client } = setUp();
  const told: string[] = [];
  const twice = (n: number) => told.push(`twice ${n}`);
  client.on(typing, twice);
  const stopOne = client.on(typing, twice);
  client.on(typing, (n) => {
    if (n > 1) return;
    stopLast();
    client.on(typing, (n) => told.push(`late ${n}`));
    throw new Error("on purpose");
  });
  const stopLast = client.on(typing, (n) => told.push(`last ${n}`));
  const server = await network.accept();
  server.send({ type: "event", name: "typing", data: 1 });
  await settle();
  expect(told).toEqual(["twice 1", "twice 1"]);
  stopOne();
  server.send({ type: "event", name: "typing", data: 2 });
  await settle();
  expect(told.slice(2)).toEqual(["twice 2", "late 2"]);
  expect(logged).toHaveBeenCalledTimes(1);
  logged.mockRestore();
});

test("progress is told before the answer, and a listener that fails harms nothing", async () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => {});
  const { network, client } = setUp();
  const told: unknown[] = [];
  const call = client.call(add, 1, {
    onProgress(part) {
      told.push(part);
      throw new Error("on purpose");
    },
  });
  const server = await network.accept();
  await server.next();
  server.send({ type: "progress", id: "1", data: 0.5 });
  server.send({ type: "result", id: "1", data: 2 });
  expect(await call).toBe(2);
  expect(told).toEqual([0.5]);
  expect(logged).toHaveBeenCalledTimes(1);
  logged.mockRestore();
});

test("an answerer has a signal that ends with the call, its deadline and the connection", async () => {
  const { network, client } = setUp();
  const signals: AbortSignal[] = [];
  client.answer(confirm, (_, { signal }) => {
    signals.push(signal);
    return new Promise<boolean>(() => {});
  });
  const server = await network.accept();
  for (const id of ["a", "b", "c"]) {
    server.send({ type: "call", id, path: "confirm", input: "sure?", timeoutMs: id === "b" ? 1_000 : 60_000 });
  }
  server.send({ type: "cancel", id: "a" });
  await settle();
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, false, false]);
  await network.advance(1_000);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true, false]);
  server.lose();
  await settle();
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true, true]);
});

test("an answerer that fails says no more than it wants to", async () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => {});
  const { network, client } = setUp();
  client.answer(ask<void, void>("throws"), () => {
    throw new Error("a secret");
  });
  client.answer(ask<void, unknown>("cycle"), () => 1n);
  client.answer(ask<void, void>("refuses"), async () => {
    throw new RealtimeError("MINE", "so", { details: { a: 1 }, retryAfterMs: 5, retryable: true });
  });
  const server = await network.accept();
  for (const path of ["throws", "cycle", "refuses"]) server.send({ type: "call", id: path, path });
  expect(await server.frames()).toEqual([
    { type: "error", id: "throws", error: { code: "INTERNAL", message: "internal error" } },
    { type: "error", id: "cycle", error: expect.objectContaining({ code: "INTERNAL" }) },
    {
      type: "error",
      id: "refuses",
      error: { code: "MINE", message: "so", details: { a: 1 }, retryAfterMs: 5, retryable: true },
    },
  ]);
  logged.mockRestore();
});

test("a call of the server is answered once, and its timer ends with it", async () => {
  const { network, client } = setUp();
  const answers: ((value: boolean) => void)[] = [];
  client.answer(confirm, () => new Promise<boolean>((resolve) => answers.push(resolve)));
  const server = await network.accept();
  const { timers } = network.leftovers;
  for (const id of ["a", "b"]) server.send({ type: "call", id, path: "confirm", timeoutMs: 60_000 });
  server.send({ type: "cancel", id: "a" });
  await settle();
  for (const answer of answers) answer(true);
  expect(await server.frames()).toMatchObject([
    { type: "error", id: "a", error: { code: "CANCELLED" } },
    { type: "result", id: "b", data: true },
  ]);
  expect(network.leftovers.timers).toBe(timers);
});

test("an answerer that meets an error of the server's does not send it back", async () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => {});
  const { network, client } = setUp();
  client.answer(ask<void, number>("nested"), () => client.call(add, 1));
  const server = await network.accept();
  server.send({ type: "call", id: "a", path: "nested" });
  const { id } = await server.next();
  server.send({ type: "error", id, error: { code: "PERMISSION_DENIED", message: "a secret" } });
  expect(await server.next()).toMatchObject({ type: "error", id: "a", error: { code: "INTERNAL" } });
  logged.mockRestore();
});

test("64 calls of the server run at once", async () => {
  const { network, client } = setUp();
  client.answer(confirm, () => new Promise<boolean>(() => {}));
  const server = await network.accept();
  for (let n = 0; n < 65; n += 1) server.send({ type: "call", id: `${n}`, path: "confirm" });
  expect(await server.frames()).toMatchObject([
    { type: "error", id: "64", error: { code: "RESOURCE_EXHAUSTED", retryable: true } },
  ]);
});

test("the last answerer of a name counts, and its end is not that of another", async () => {
  const { network, client } = setUp();
  const stopFirst = client.answer(confirm, () => false);
  const stopLast = client.answer(confirm, () => true);
  stopFirst();
  const server = await network.accept();
  server.send({ type: "call", id: "a", path: "confirm" });
  expect(await server.frames()).toMatchObject([{ data: true }]);
  stopLast();
  server.send({ type: "call", id: "b", path: "confirm" });
  expect(await server.frames()).toMatchObject([{ error: { code: "NOT_FOUND" } }]);
});

test("code of the application that calls the client back does not change the order of frames", async () => {
  const { network, client } = setUp();
  client.subscribe(items, 1, { onData: () => {}, onGap: () => client.emit(typing, 1) });
  client.on(typing, () => client.emit(typing, 2));
  let server = await network.accept();
  await server.frames();
  server.lose();
  server = await network.accept();
  expect((await server.frames()).map(({ type }) => type)).toEqual(["subscribe", "event"]);
  server.send({ type: "event", name: "typing" });
  expect(await server.frames()).toEqual([{ type: "event", name: "typing", data: 2 }]);
});

test("a state is told at once, then each that follows; a listener may close", async () => {
  const { network, client } = setUp();
  const told: State["status"][] = [];
  client.state.subscribe(({ status }) => {
    told.push(status);
    if (status === "open") client.close();
  });
  client.open();
  const server = await network.accept();
  expect(told).toEqual(["idle", "connecting", "open", "closed"]);
  expect(server.closeCode).toBe(1000);
});

test("a page that was open over a deploy is told", async () => {
  const network = new TestNetwork();
  const endpoint = describe<void>("api", "old");
  const client = connect(endpoint, { url: "ws://server/x", environment: network.environment });
  client.open();
  await network.accept("c1", { schema: "old" });
  expect(client.outdated.get()).toBe(false);
  client.close();
  const later = connect(endpoint, { url: "ws://server/x", environment: network.environment });
  later.open();
  await network.accept("c2", { schema: "new" });
  expect(later.outdated.get()).toBe(true);
});

test("a listener that closes while the client closes does not hold up the close", async () => {
  const { client } = setUp();
  client.state.subscribe(({ status }) => {
    if (status === "closed") client.close();
  });
  await client.close();
});

test("leaving the scope of `await using` closes", async () => {
  const { network, client } = setUp();
  client.open();
  const server = await network.accept();
  await client[Symbol.asyncDispose]();
  expect(server.closeCode).toBe(1000);
});

function setUp(options: Partial<Options> & { input?: () => unknown } = {}) {
  const network = new TestNetwork();
  const client = connect(api, { url: "ws://server/__realtime/api", environment: network.environment, ...options });
  return { network, client };
}
