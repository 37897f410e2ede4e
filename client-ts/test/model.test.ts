// Whatever the application, the server and the network do: each call is answered once, none is sent after its answer, no
// call without a key is sent twice, and no more items are held or on their way than the window allows.

import { expect, test, vi } from "vitest";
import { type Client, connect, describe, mutation, type OfflineQueue, subscription } from "../src/index.js";
import { settle, TestNetwork, type TestServer } from "../src/testing/index.js";

const WINDOW = 64;
const work = mutation<number, number>("work");
const items = subscription<void, number>("items");
const policies: OfflineQueue[] = [
  { frames: 5, bytes: 1_000 },
  { frames: 5, bytes: 1_000, whenFull: "drop-oldest" },
  { whenFull: "off" },
];

test("every call is answered once, whatever happens", async () => {
  vi.spyOn(console, "warn").mockImplementation(() => {});
  for (let seed = 1; seed <= 60; seed += 1) {
    const lab = new Lab(seed);
    for (let step = 0; step < 200; step += 1) await lab.step();
    await lab.finish();
  }
});

interface Asked {
  readonly hasKey: boolean;
  readonly controller: AbortController;
  sent: number;
  isDone: boolean;
}

class Lab {
  readonly #random: () => number;
  readonly #seed: number;
  readonly #network = new TestNetwork();
  readonly #client: Client;
  /** By their input. */
  readonly #calls = new Map<number, Asked>();
  /** The calls that the server has on the present connection, by id. */
  readonly #running = new Map<string, number>();
  readonly #takes: (() => void)[] = [];
  #server: TestServer | undefined;
  #credit = 0;
  /** Items that were sent and not taken. */
  #held = 0;
  #settled = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = mulberry(seed);
    this.#network.random = this.#random();
    this.#client = connect(describe("api"), {
      url: "ws://server/x",
      environment: this.#network.environment,
      offlineQueue: policies[seed % 3],
    });
    this.#client.subscribe(items, undefined, {
      onData: () => new Promise<void>((take) => this.#takes.push(take)),
      onGap: ({ cause }) => this.#check(cause === "reconnect", "another gap"),
      onError: (error) => this.#check((error as { from?: string }).from === "closed", "the subscription failed"),
    });
  }

  async step(): Promise<void> {
    switch (this.#below(11)) {
      case 0:
      case 1:
      case 2:
        this.#ask();
        break;
      case 3:
        await this.#toggle();
        break;
      case 4:
        this.#giveUp();
        break;
      case 5:
      case 6:
        this.#answer();
        break;
      case 7:
        this.#sendItems();
        break;
      case 8:
        await this.#takeItems();
        break;
      default:
        await this.#network.advance(this.#below(500));
    }
    await this.#read();
    this.#check(this.#held + this.#credit <= WINDOW, `${this.#held} held and ${this.#credit} granted`);
  }

  async finish(): Promise<void> {
    await this.#network.advance(10_000);
    await this.#client.close();
    await settle();
    this.#check(
      [...this.#calls.values()].every(({ isDone }) => isDone),
      "a call has no answer",
    );
    this.#check(this.#settled > 5, `only ${this.#settled} calls were answered`);
    expect(this.#network.leftovers).toEqual({ timers: 0, watchers: 0 });
  }

  #ask(): void {
    const number = this.#calls.size;
    const controller = new AbortController();
    const call: Asked = { hasKey: this.#below(2) === 0, controller, sent: 0, isDone: false };
    this.#calls.set(number, call);
    const key = call.hasKey ? { idempotencyKey: "k" } : {};
    const options = { signal: controller.signal, timeoutMs: this.#below(3_000), ...key };
    const end = () => {
      this.#check(!call.isDone, "a call is answered twice");
      call.isDone = true;
      this.#settled += 1;
    };
    this.#client.call(work, number, options).then(end, end);
  }

  async #toggle(): Promise<void> {
    if (this.#server) {
      this.#server.lose();
      this.#server = undefined;
      this.#credit = 0;
      this.#running.clear();
      await settle();
    } else if (this.#network.requests.length > 0) {
      this.#server = await this.#network.accept();
    }
  }

  #giveUp(): void {
    const waiting = [...this.#calls.values()].filter(({ isDone }) => !isDone);
    waiting[this.#below(waiting.length)]?.controller.abort();
  }

  #answer(): void {
    const ids = [...this.#running.keys()];
    const id = ids[this.#below(ids.length)];
    if (id === undefined) return;
    this.#running.delete(id);
    this.#server?.send({ type: "progress", id });
    for (let n = this.#below(2); n >= 0; n -= 1) this.#server?.send({ type: "result", id });
  }

  #sendItems(): void {
    for (let n = this.#below(this.#credit + 1); n > 0; n -= 1) {
      this.#credit -= 1;
      this.#held += 1;
      this.#server?.send({ type: "data", id: "1" });
    }
  }

  async #takeItems(): Promise<void> {
    for (let n = this.#below(50); n > 0; n -= 1) {
      await settle();
      const take = this.#takes.shift();
      if (!take) return;
      this.#held -= 1;
      take();
    }
  }

  async #read(): Promise<void> {
    for (const frame of (await this.#server?.frames()) ?? []) {
      if (frame.type === "call") this.#readCall(`${frame.id}`, frame.input as number);
      else if (frame.type === "subscribe") this.#credit = frame.credit as number;
      else if (frame.type === "credit") this.#credit += frame.more as number;
      else if (frame.type === "ping") this.#server?.send({ type: "pong" });
      else this.#check(frame.type === "cancel", frame.type);
    }
  }

  #readCall(id: string, number: number): void {
    const call = this.#calls.get(number);
    if (!call) throw new Error("a call that nobody asked for");
    call.sent += 1;
    this.#check(call.sent === 1 || call.hasKey, "a call without a key is sent twice");
    if (!call.isDone) this.#running.set(id, number);
  }

  #check(holds: boolean, what: string): void {
    if (!holds) throw new Error(`${what}, with the seed ${this.#seed}`);
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}

/** Numbers of no pattern, the same for a seed each time. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
