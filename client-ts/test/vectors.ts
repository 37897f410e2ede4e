import { expect } from "vitest";
import {
  ask,
  type Cause,
  type Client,
  connect,
  describe,
  event,
  mutation,
  type Options,
  RealtimeError,
  type State,
  subscription,
  type Updates,
  type Written,
} from "../src/index.js";
import { type Frame, settle, TestNetwork, type TestServer } from "../src/testing/index.js";

export interface Script {
  readonly name: string;
  readonly options?: Fields;
  readonly steps: readonly Fields[];
}

// biome-ignore lint/suspicious/noExplicitAny: the scripts are JSON.
type Fields = Record<string, any>;

/** The client's options of a script. */
export function readOptions({ options = {} }: Script): Partial<Options> {
  const { tokens, reconnectOn, answers: _, events: __, messages: ___, ...others } = options;
  const left = [...(tokens ?? [])];
  const token = () => {
    const next = left.length > 1 ? left.shift() : left[0];
    if (next === null) throw new Error("there is no token");
    return next;
  };
  return {
    ...others,
    ...(tokens && { token }),
    ...(reconnectOn && { reconnectOn: (code: number) => reconnectOn.includes(code) }),
  };
}

/** Runs a script with waits of this part of the longest, and throws where the client does something else. */
export async function run(script: Script, options: Partial<Options>, random: number): Promise<void> {
  const play = new Play(script, options, random);
  for (const [number, step] of script.steps.entries()) {
    try {
      await play.step(step);
    } catch (error) {
      (error as Error).message = `step ${number + 1}, ${JSON.stringify(step)}: ${(error as Error).message}`;
      throw error;
    }
  }
}

class Play {
  readonly #network = new TestNetwork();
  readonly #client: Client<void, unknown, unknown>;
  readonly #states: State[] = [];
  /** News for each name that the script has not seen, and a function that takes it. */
  readonly #told = new Map<string, { what: Fields; take: () => void }[]>();
  readonly #ends = new Map<string, () => void>();
  readonly #updates = new Map<string, Updates<unknown>>();
  readonly #written = new Map<string, Written<unknown>>();
  readonly #options: Fields;
  #server: TestServer | undefined;
  #hasBegun = false;

  constructor({ options = {} }: Script, clientOptions: Partial<Options>, random: number) {
    this.#network.random = random;
    this.#options = options;
    this.#client = connect(describe<void, unknown, unknown>("api"), {
      url: "ws://server/__realtime/api",
      environment: this.#network.environment,
      ...clientOptions,
    });
  }

  async step(step: Fields): Promise<void> {
    if (!("port" in step)) this.#begin();
    const [verb] = Object.keys(step);
    switch (verb) {
      case "call":
        return this.#call(step);
      case "cancel":
        return this.#ends.get(step.cancel)?.();
      case "subscribe":
        return this.#subscribe(step);
      case "unsubscribe":
        this.#ends.get(step.unsubscribe)?.();
        this.#ends.delete(step.unsubscribe);
        return;
      case "emit":
        return this.#send(step, () => this.#client.emit(event<unknown>(step.emit), step.data));
      case "send":
        return this.#send(step, () => this.#client.send(step.send));
      case "close":
        this.#client.close();
        return;
      case "accept":
        this.#server = await this.#network.accept(step.accept, { heartbeatMs: step.heartbeatMs ?? 25_000 });
        return;
      case "upgrade":
        this.#server = await this.#network.dialed();
        return this.#server.open();
      case "token":
        return expect(this.#network.requests.at(-1)?.token).toBe(step.token);
      case "respond":
        (await this.#network.dialed()).refuse(step.respond, step.retryAfter && step.retryAfter * 1_000);
        return settle();
      case "port":
        this.#network.isDown = step.port === "closed";
        return;
      case "say":
        for (let n = 0; n < (step.times ?? 1); n += 1) this.#peer.send(step.say);
        return settle();
      case "text":
        this.#peer.sendRaw(step.text);
        return settle();
      case "closes":
        this.#peer.close(step.closes, step.reason);
        return settle();
      case "breaks":
        this.#peer.lose();
        return settle();
      case "sent":
        return expectFields(await this.#peer.next(), step.sent);
      case "pinged":
        return expect(await this.#peer.frames()).toEqual([{ type: "ping" }]);
      case "quiet":
        return this.#quiet(step.quiet);
      case "goodbye":
        await settle();
        return expect(this.#peer.closeCode).toBe(step.goodbye);
      case "attempts":
        return expectValue(this.#network.requests.length, step.attempts);
      case "told":
        for (let n = 0; n < (step.times ?? 1); n += 1) await this.#expectTold(step);
        return;
      case "untold":
        await settle();
        return expect(this.#told.get(step.untold) ?? []).toEqual([]);
      case "state":
        await settle();
        return expectState(this.#states.shift(), step.state, step);
      case "lastState":
        await settle();
        expectState(this.#states.at(-1), step.lastState, step);
        this.#states.length = 0;
        this.#states.push(this.#client.state.get());
        return;
      case "has": {
        const written = this.#written.get(step.written) as Written<unknown>;
        return expect(this.#updates.get(step.has)?.has(written)).toBe(step.is);
      }
      case "wait":
        return this.#network.advance(step.wait);
      default:
        throw new Error("no such step");
    }
  }

  /** The client connects, once it is settled whether it can. */
  #begin(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    for (const [name, answer] of Object.entries(this.#options.answers ?? {}))
      this.#answer(name, answer as Fields | "never");
    for (const name of this.#options.events ?? []) {
      this.#client.on(event<unknown>(name), (data) => this.#tell(name, { data }));
    }
    if (this.#options.messages) {
      this.#client.onMessage((data) => this.#tell("messages", { data }));
      this.#client.onError((error) => this.#tell("messages", { error }));
    }
    this.#client.state.subscribe((state) => {
      if (state.status !== "idle") this.#states.push(state);
    });
    this.#client.open().catch(() => {});
  }

  get #peer(): TestServer {
    if (!this.#server) throw new Error("there is no connection");
    return this.#server;
  }

  #call({ call: name, path, input, limitMs, timeoutMs, key }: Fields): void {
    const controller = new AbortController();
    this.#ends.set(name, () => controller.abort());
    this.#client
      .callWritten(mutation<unknown, unknown>(path, { timeoutMs: limitMs ?? 30_000 }), input, {
        signal: controller.signal,
        onProgress: (progress) => this.#tell(name, { progress }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        ...(key !== undefined && { idempotencyKey: key }),
      })
      .then(
        (written) => {
          this.#written.set(name, written);
          this.#tell(name, { result: written.value, wrote: written.at });
        },
        (error) => controller.signal.aborted || this.#tell(name, { error }),
      );
  }

  #subscribe({ subscribe: name, path, input, after }: Fields): void {
    const updates = this.#client.updates(subscription<unknown, unknown>(path), input, { after });
    this.#updates.set(name, updates);
    this.#ends.set(name, () => updates.return?.());
    this.#read(name, updates);
  }

  async #read(name: string, updates: Updates<unknown>): Promise<void> {
    try {
      for await (const { type, ...update } of updates) {
        const { value: item, topic: _, ...news } = update as Fields;
        const what =
          type === "item" ? { item, position: news.position } : { [type === "gap" ? "gap" : "begun"]: news };
        // It is taken when the script has seen it.
        await new Promise<void>((take) => this.#tell(name, what, take));
      }
      if (this.#ends.has(name)) this.#tell(name, { complete: true });
    } catch (error) {
      this.#tell(name, { error });
    }
  }

  #send({ fails }: Fields, send: () => void): void {
    if (!fails) return send();
    let error: unknown;
    try {
      send();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(RealtimeError);
    expectFields(error as Fields, fails);
  }

  #answer(name: string, answer: Fields | "never"): void {
    this.#client.answer(ask<unknown, unknown>(name), () => {
      if (answer === "never") return new Promise(() => {});
      if (answer.error) throw new RealtimeError(answer.error.code, answer.error.message);
      return answer.result;
    });
  }

  #tell(name: string, what: Fields, take = () => {}): void {
    this.#told.set(name, [...(this.#told.get(name) ?? []), { what, take }]);
  }

  async #expectTold({ told: name, times: _, ...expected }: Fields): Promise<void> {
    await settle();
    const next = this.#told.get(name)?.shift();
    if (!next) throw new Error("nothing is told");
    next.take();
    const { what } = next;
    if (expected.error) expectFields(what.error, expected.error);
    else expectFields(what, expected);
    await settle();
  }

  async #quiet(ms: number): Promise<void> {
    const others: Frame[] = [];
    for (let left = ms; ; left -= 1_000) {
      for (const frame of await this.#peer.frames()) {
        if (frame.type === "ping") this.#peer.send({ type: "pong" });
        else others.push(frame);
      }
      if (left <= 0) break;
      await this.#network.advance(Math.min(left, 1_000));
    }
    expect(others).toEqual([]);
  }
}

function expectFields(actual: Fields | undefined, expected: Fields): void {
  if (!actual) throw new Error("there is nothing");
  for (const [name, value] of Object.entries(expected)) expectValue(actual[name], value);
}

function expectValue(actual: unknown, expected: unknown): void {
  const { atMost } = Object(expected) as { atMost?: number };
  if (atMost === undefined) expect(actual).toEqual(expected);
  else expect(actual).toBeLessThanOrEqual(atMost);
}

function expectState(state: State | undefined, expected: string, { withinMs, fromMs }: Fields): void {
  if (!state) throw new Error("there is no other state");
  expect(tell(state)).toBe(expected);
  if (state.status !== "reconnecting") return;
  expect(state.afterMs).toBeLessThanOrEqual(withinMs ?? Number.POSITIVE_INFINITY);
  expect(state.afterMs).toBeGreaterThanOrEqual(fromMs ?? 0);
}

function tell(state: State): string {
  switch (state.status) {
    case "idle":
      return "idle";
    case "connecting":
      return `connecting ${state.attempt}`;
    case "open":
      return `open ${state.connection}`;
    case "reconnecting":
      return `reconnecting ${state.attempt}: ${tellCause(state.cause)}`;
    case "closed":
      return `closed: ${tellCause(state.cause)}`;
  }
}

function tellCause(cause: Cause): string {
  if (cause.type === "closed") return `${cause.code}`;
  return cause.type === "refused" ? `${cause.status}` : cause.type;
}
