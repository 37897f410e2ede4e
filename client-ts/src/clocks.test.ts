import { afterEach, expect, test, vi } from "vitest";
import { connect, describe, type Environment, mutation } from "./index.js";
import { page } from "./page.js";
import { TestNetwork } from "./testing/index.js";

const add = mutation<number, number>("add");

afterEach(() => vi.useRealTimers());

for (const [change, hours] of [
  ["set back", -24],
  ["put forward", 24],
] as const) {
  test(`where the clock of the wall is ${change}, nothing comes early and nothing late`, async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
    const network = new TestNetwork();
    const { now, after } = page();
    const client = connect(describe("api"), {
      url: "ws://server/x",
      environment: { ...network.environment, now, after },
      pingAfterMs: 20_000,
    });
    const call = client.call(add, 1, { timeoutMs: 2_000 });
    const ended = vi.fn();
    call.catch(ended);
    const server = await network.accept();
    expect((await server.frames()).map(({ type }) => type)).toEqual(["call"]);
    vi.setSystemTime(Date.now() + hours * 3_600_000);
    await vi.advanceTimersByTimeAsync(1_999);
    expect(ended).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(ended).toHaveBeenCalledWith(expect.objectContaining({ code: "DEADLINE_EXCEEDED" }));
    expect(await server.frames()).toEqual([{ type: "cancel", id: "1" }]);
    await vi.advanceTimersByTimeAsync(17_999);
    expect(await server.frames()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(await server.frames()).toEqual([{ type: "ping" }]);
    await client.close();
    expect(vi.getTimerCount()).toBe(0);
  });
}

test("a hidden page whose timers run once a minute keeps its connection, and no answer is late", async () => {
  const { network, client } = hidden();
  client.open();
  const server = await network.accept();
  for (let minute = 0; minute < 10; minute += 1) {
    const sum = client.call(add, minute, { timeoutMs: 5_000 });
    await network.advance(1_000);
    const frames = await server.frames();
    for (const { type, id } of frames)
      server.send(type === "ping" ? { type: "pong" } : { type: "result", id, data: 7 });
    expect(await sum).toBe(7);
    await network.advance(59_000);
    for (const { type } of await server.frames()) if (type === "ping") server.send({ type: "pong" });
  }
  expect(client.state.get()).toMatchObject({ status: "open", connection: "c" });
  expect(network.requests.length).toBe(1);
});

test("a hidden page finds a dead server with its slow timers, and is connected again at once when it is shown", async () => {
  const { network, client, show } = hidden();
  network.random = 1;
  client.open();
  await network.accept();
  // Each look is late and leaves the server its time, but not for ever.
  await network.advance(6 * 60_000);
  expect(client.state.get()).toMatchObject({ status: "reconnecting", cause: { type: "silent" } });
  show();
  await network.signal("wake");
  await network.accept("c2");
  expect(client.state.get()).toMatchObject({ status: "open", connection: "c2" });
});

/** A client of a page whose timers run at full minutes only, until it is shown. */
function hidden() {
  const network = new TestNetwork();
  let isHidden = true;
  const { now, after } = network.environment;
  const environment: Environment = {
    ...network.environment,
    after(ms, run) {
      const due = now() + ms;
      return after(isHidden ? Math.ceil(due / MINUTE) * MINUTE - now() : ms, run);
    },
  };
  const client = connect(describe("api"), { url: "ws://server/x", environment });
  const show = () => {
    isHidden = false;
  };
  return { network, client, show };
}

const MINUTE = 60_000;
