// However often a client goes between a WebSocket and its fallback: each call is answered once and with its own answer, fails
// only where what carries it does, and is sent twice only with a key; events come in the order in which they were emitted; and
// nothing is left in the end.

import { afterEach, expect, test, vi } from "vitest";
import type { State } from "../src/index.js";
import { settle, type TestServer } from "../src/testing/index.js";
import { add, block, type Stream, setUp, typing } from "./streams.js";

afterEach(() => vi.restoreAllMocks());

test("calls and events survive any number of switches", async () => {
  vi.spyOn(console, "warn").mockImplementation(() => {});
  const totals = { switches: 0, carried: 0, answered: 0 };
  for (let seed = 1; seed <= 40; seed += 1) {
    const lab = new Lab(seed);
    await lab.begin();
    for (let step = 0; step < 250; step += 1) await lab.step();
    await lab.finish();
    for (const name of ["switches", "carried", "answered"] as const) totals[name] += lab[name];
  }
  // Otherwise it has shown nothing.
  expect(totals.switches).toBeGreaterThan(100);
  expect(totals.carried).toBeGreaterThan(50);
  expect(totals.answered).toBeGreaterThan(500);
}, 60_000);

class Lab {
  switches = 0;
  /** Calls of a fallback that were answered after a WebSocket had taken its place. */
  carried = 0;
  answered = 0;
  readonly #random: () => number;
  readonly #seed: number;
  readonly #all: ReturnType<typeof setUp>;
  /** Calls by HTTP that wait for their answer. */
  readonly #posts: (() => void)[] = [];
  /** The same, by the numbers of the calls. */
  readonly #running = new Set<number>();
  /** Events by HTTP that wait for their answer. */
  readonly #events: (() => void)[] = [];
  readonly #sent = new Map<number, number>();
  readonly #calls: { hasKey: boolean; isDone: boolean }[] = [];
  readonly #problems: string[] = [];
  #emitted = 0;
  #received = 0;
  #dialed = 0;
  #server: TestServer | undefined;
  #ended: Stream | undefined;
  #via: "websocket" | "http" = "http";

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = mulberry(seed);
    this.#all = setUp({}, (body, init) => this.#respond(body, init));
    this.#all.client.state.subscribe((state) => this.#onState(state));
  }

  async begin(): Promise<void> {
    this.#all.client.open();
    await block(this.#all.network);
    this.#dialed = this.#all.network.requests.length;
  }

  async step(): Promise<void> {
    const { network, client } = this.#all;
    switch (this.#below(12)) {
      case 0:
      case 1:
        this.#call();
        break;
      case 2:
        for (let n = this.#below(4); n > 0; n -= 1) {
          client.emit(typing, this.#emitted);
          this.#emitted += 1;
        }
        break;
      case 3:
        await network.signal("wake");
        break;
      case 4:
        this.#server?.lose();
        break;
      case 5:
        if (this.#below(8) === 0) await this.#endStream();
        break;
      case 6:
      case 7:
        this.#events.shift()?.();
        this.#posts.splice(this.#below(this.#posts.length), 1)[0]?.();
        break;
      default:
        // Before they have waited so long that others may overtake them.
        for (const answer of this.#events.splice(0)) answer();
        await settle();
        await network.advance(this.#below(2_500));
    }
    await settle();
    await this.#letIn();
    await this.#serve();
    expect(this.#problems).toEqual([]);
  }

  async finish(): Promise<void> {
    const { network, client } = this.#all;
    for (let n = 0; n < 100; n += 1) {
      for (const answer of [...this.#events.splice(0), ...this.#posts.splice(0)]) answer();
      await settle();
      await this.#letIn();
      await this.#serve();
    }
    await network.advance(31_000);
    await client.close();
    for (const answer of [...this.#events.splice(0), ...this.#posts.splice(0)]) answer();
    await settle();
    expect(this.#problems).toEqual([]);
    expect(this.#calls.filter(({ isDone }) => !isDone)).toEqual([]);
    expect(network.leftovers).toEqual({ timers: 0, watchers: 0 });
  }

  #onState(state: State): void {
    if (state.status !== "open") return;
    const via = state.connection.startsWith("ws") ? "websocket" : "http";
    if (via !== this.#via && via === "websocket") this.switches += 1;
    this.#via = via;
  }

  #call(): void {
    const number = this.#calls.length;
    const call = { hasKey: this.#below(3) === 0, isDone: false };
    this.#calls.push(call);
    const end = () => {
      this.#check(!call.isDone, "a call is answered twice");
      call.isDone = true;
    };
    const options = call.hasKey ? { idempotencyKey: `${number}` } : {};
    this.#all.client.call(add, number, options).then(
      (value) => {
        end();
        this.answered += 1;
        this.#check(value === number * 2, `call ${number} has the answer ${value}`);
      },
      ({ code }) => {
        end();
        this.#check(code !== "UNAVAILABLE" || !this.#running.has(number), `call ${number} failed while it ran`);
      },
    );
  }

  #respond(body: { type?: string; input: number; data: number }, init?: RequestInit): Promise<Response> {
    if (body.type === "event") {
      this.#receive(body.data);
      return new Promise((resolve) => {
        this.#events.push(() => resolve(new Response(null, { status: 204 })));
      });
    }
    this.#count(body.input);
    this.#running.add(body.input);
    return new Promise((resolve, reject) => {
      init?.signal?.addEventListener("abort", () => {
        this.#running.delete(body.input);
        reject(init.signal?.reason);
      });
      this.#posts.push(() => {
        if (!this.#running.delete(body.input)) return;
        if (this.#below(6) === 0) return reject(new TypeError("the request is lost"));
        if (this.#via === "websocket") this.carried += 1;
        resolve(Response.json({ ok: true, data: body.input * 2 }));
      });
    });
  }

  /** Lets in a WebSocket, or refuses it as a proxy would. */
  async #letIn(): Promise<void> {
    const { network } = this.#all;
    if (network.requests.length === this.#dialed) return;
    this.#dialed += 1;
    if (this.#below(3) > 0) return (await network.dialed()).refuse(204);
    this.#server = await network.accept(`ws${this.#dialed}`);
  }

  /** Answers what has come by WebSocket. */
  async #serve(): Promise<void> {
    for (const { type, id, input, data } of (await this.#server?.frames()) ?? []) {
      if (type === "ping") this.#server?.send({ type: "pong" });
      if (type === "event") this.#receive(data as number);
      if (type !== "call") continue;
      this.#count(input as number);
      this.#server?.send({ type: "result", id, data: (input as number) * 2 });
    }
    await settle();
  }

  /** The session's stream breaks. */
  async #endStream(): Promise<void> {
    const stream = this.#all.streams.at(-1);
    if (stream && !stream.isCancelled && stream !== this.#ended) await stream.end();
    this.#ended = stream;
  }

  #receive(number: number): void {
    this.#check(number >= this.#received, `event ${number} came after ${this.#received - 1}`);
    this.#received = number + 1;
  }

  #count(number: number): void {
    const times = (this.#sent.get(number) ?? 0) + 1;
    this.#sent.set(number, times);
    this.#check(times === 1 || !!this.#calls[number]?.hasKey, `call ${number} was sent twice`);
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #check(holds: boolean, what: string): void {
    if (!holds) this.#problems.push(`seed ${this.#seed}: ${what}`);
  }
}

/** Random numbers that are the same for the same seed. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
