/// <reference lib="esnext.disposable" preserve="true" />

import { Driver } from "./driver.js";
import type { Feature } from "./environment.js";
import { closed, guard, invalid, type RealtimeError } from "./error.js";
import type { Arguments, Ask, Endpoint, Event, Procedure, Subscription } from "./names.js";
import type { Options } from "./options.js";
import { page } from "./page.js";
import type { State } from "./state.js";
import { Listeners, type Readable } from "./store.js";
import type { SubscribeHandlers, SubscribeOptions, Updates, Written } from "./updates.js";
import { type Appended, byteLength, encode, type Position, type TopicGap, toJson } from "./wire.js";

/** Options of a call. */
export interface CallOptions<P = unknown> {
  /** Gives the call up. The promise is rejected with the signal's reason. */
  signal?: AbortSignal;
  /** Allows less time than the procedure does. */
  timeoutMs?: number;
  /**
   * Names the call, in 1 to 128 bytes. The call is sent again when its connection is lost, instead of failing. A UUID is
   * a good one. The server carries out calls of one principal with one key once, within 60 s by default: where its
   * middleware sets no principal, a key is known on one connection only, and a call that is sent again runs again.
   */
  idempotencyKey?: string;
  /** Called for each progress report. Where the connection carries none, `onError` of the client is told. */
  onProgress?: (progress: P) => void;
}

/**
 * A typed client of one endpoint or handler. It connects when it is first used, and makes its connection again whenever
 * that is lost.
 */
export class Client<I = void, C = never, S = never> implements AsyncDisposable {
  /** Carries the types; never there. */
  declare readonly "~types"?: (input: I, message: C) => S;
  readonly #driver: Driver;

  /** @internal */
  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** @internal */
  get "~driver"(): Driver {
    return this.#driver;
  }

  /** The state of the client. */
  get state(): Readable<State> {
    return this.#driver.state;
  }

  /**
   * True if the server's schema is not the one that the page's types were generated from: the page should be
   * reloaded.
   */
  get outdated(): Readable<boolean> {
    return this.#driver.outdated;
  }

  /** Connects, if that has not begun, and at once, if the next attempt is waited for. Resolves when there is a connection; rejects if the client is closed. */
  open(): Promise<void> {
    this.#driver.hurry();
    const opened = new Promise<void>((resolve, reject) => {
      const stop = this.state.subscribe((state) => {
        if (state.status !== "open" && state.status !== "closed") return;
        // It may be told before there is something to stop.
        queueMicrotask(() => stop());
        if (state.status === "open") resolve();
        else reject(closed(state.cause));
      });
    });
    // Whoever does not wait for it need not handle it.
    opened.catch(() => {});
    return opened;
  }

  /**
   * Calls a procedure: at once, or when there is a connection. Rejects with a `RealtimeError`, or with the reason of the
   * signal. The time without a connection counts.
   */
  async call<Input, O, P>(
    procedure: Procedure<Input, O, P>,
    ...args: Arguments<Input, CallOptions<P>>
  ): Promise<O> {
    return (await this.callWritten(procedure, ...args)).value;
  }

  /** Like `call`, and says what the call has appended to feeds. */
  callWritten<Input, O, P>(
    procedure: Procedure<Input, O, P>,
    ...[input, options]: Arguments<Input, CallOptions<P>>
  ): Promise<Written<O>> {
    return new Promise((resolve, reject) => {
      const { signal, timeoutMs = procedure.timeoutMs, idempotencyKey: key, onProgress } = options ?? {};
      if (signal?.aborted) return reject(signal.reason);
      if (!(timeoutMs >= 0)) throw invalid(`${timeoutMs} is no time`);
      if (key !== undefined && !isKey(key)) throw invalid(`an idempotency key has 1 to ${KEY_BYTES} bytes`);
      const driver = this.#driver;
      const abort = () => {
        driver.change((session) => session.drop(id));
        reject(signal?.reason);
      };
      const request = {
        path: procedure.name,
        input: toJson(procedure.name, input ?? null),
        key,
        deadline: driver.now() + Math.min(timeoutMs, procedure.timeoutMs, LONGEST),
        onWrite: onProgress && (() => driver.fallback?.expectProgress(procedure.name)),
        onProgress: (data: unknown) => guard("onProgress", () => onProgress?.(data as P)),
        onEnd(error: RealtimeError | undefined, value?: unknown, at: readonly Appended[] = []) {
          signal?.removeEventListener("abort", abort);
          if (error) reject(error);
          else resolve({ value: value as O, at });
        },
      };
      signal?.addEventListener("abort", abort);
      let id = 0;
      try {
        id = driver.change((session) => session.call(request));
      } catch (error) {
        request.onEnd(error as RealtimeError);
      }
    });
  }

  /** Begins a subscription: at once, or when there is a connection. Returns what ends it. */
  subscribe<Input, T>(
    subscription: Subscription<Input, T>,
    input: Input,
    handlers: SubscribeHandlers<T>,
  ): () => void {
    return new subscription["~inbox"]<T>(this.#driver, subscription.name, input, handlers).listen(handlers);
  }

  /** The updates of a subscription, to be read in a `for await` loop. */
  updates<Input, T>(
    subscription: Subscription<Input, T>,
    ...[input, options]: Arguments<Input, SubscribeOptions>
  ): Updates<T> {
    return new subscription["~inbox"]<T>(this.#driver, subscription.name, input, options);
  }

  /** Sends an event: at once, or when there is a connection. Throws if the client is closed or too much waits. */
  emit<T>(event: Event<T>, ...[data]: Arguments<T, never>): void {
    this.#send(encode("event", { name: event.name }, "data", toJson(event.name, data ?? null)));
  }

  /** Calls `listener` for each event of this name. Returns what ends it. */
  on<T>(event: Event<T>, listener: (data: T) => void): () => void {
    this.#driver.start();
    const { events } = this.#driver.told;
    const listeners = events.get(event.name) ?? new Listeners<unknown>();
    events.set(event.name, listeners);
    const stop = listeners.add(listener as (data: unknown) => void);
    return () => {
      stop();
      if (listeners.size === 0 && events.get(event.name) === listeners) events.delete(event.name);
    };
  }

  /**
   * Answers the server's calls to this procedure; the last handler for a name counts. Its signal ends when the server
   * gives the call up, the time is over, or the connection ends. A thrown `RealtimeError` is told to the server, anything
   * else is logged and told as `INTERNAL`. Returns what ends it.
   */
  answer<Input, O>(
    ask: Ask<Input, O>,
    handler: (input: Input, context: { readonly signal: AbortSignal }) => O | Promise<O>,
  ): () => void {
    const driver = this.#driver;
    driver.start();
    const { told } = driver;
    told.answers ??= new ask["~answers"](driver);
    return told.answers.add(ask.name, (input, context) => handler(input as Input, context));
  }

  /**
   * Sends a message to the handler: at once, or when there is a connection. Throws if the client is closed or too
   * much waits.
   */
  send(message: C): void {
    this.#send(encode("message", {}, "value", toJson("a message", message)));
  }

  /**
   * Calls `listener` for each message of the handler, with its position if it is an entry of a feed that the handler follows.
   * Returns what ends it.
   */
  onMessage(listener: (message: S, position: Position | undefined) => void): () => void {
    this.#driver.start();
    return this.#driver.told.messages.add(({ value, position }) => listener(value as S, position));
  }

  /** Calls `listener` where messages of a topic, or of a feed that the handler follows, are missing. Returns what ends it. */
  onGap(listener: (gap: TopicGap) => void): () => void {
    return this.#driver.told.gaps.add(listener);
  }

  /**
   * Calls `listener` for what the server says is wrong with a message or an event, or with the connection. Without a listener
   * it is logged. Returns what ends it.
   */
  onError(listener: (error: RealtimeError) => void): () => void {
    return this.#driver.told.complaints.add(listener);
  }

  /** Returns true if the present connection has this feature. A WebSocket has all, a fallback does not. */
  can(feature: Feature): boolean {
    return this.#driver.can(feature);
  }

  /**
   * Closes for good: what runs fails at once, events and messages that wait are sent, and the server is told. Resolves
   * when it has answered, or after 3 s, however dead the network is.
   */
  close(code?: number, reason?: string): Promise<void> {
    return this.#driver.close(code, reason);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #send(text: string): void {
    this.#driver.change((session) => session.send(text));
  }
}

/** A client of any endpoint, without the messages of a handler. */
export type AnyClient = Omit<Client, "send" | "onMessage" | "~types">;

/** The options of a client; `input` is needed where the endpoint has one. A function is called before each attempt. */
export type ConnectOptions<I> = Options &
  (undefined extends I ? { input?: I | (() => I) } : { input: I | (() => I) });

/** Makes a client. Nothing happens until it is used. */
export function connect<I, C, S>(
  endpoint: Endpoint<I, C, S>,
  ...[options]: undefined extends I ? [options?: ConnectOptions<I>] : [options: ConnectOptions<I>]
): Client<I, C, S> {
  const all: ConnectOptions<I> = options ?? ({} as ConnectOptions<I>);
  return new Client(
    new Driver(all.environment ?? page(all.WebSocket), all, () => urlOf(endpoint.id, all), endpoint.schema),
  );
}

function urlOf(id: string, { url = `/__realtime/${id}`, input }: Options & { input?: unknown }): string {
  const full = parse(url);
  full.protocol = full.protocol.replace("http", "ws");
  full.hash = "";
  const value = typeof input === "function" ? input() : input;
  if (value !== undefined) full.searchParams.set("input", toJson("the input", value));
  return full.href;
}

function parse(url: string | URL): URL {
  const base = globalThis.location?.href;
  try {
    return new URL(url, base);
  } catch {
    throw new Error(`no URL: ${url}${base ? "" : ", and there is no page that it could belong to"}`);
  }
}

function isKey(key: string): boolean {
  const bytes = byteLength(key);
  return bytes >= 1 && bytes <= KEY_BYTES;
}

/** The protocol's limit of a key. */
const KEY_BYTES = 128;

/** A time that can be added to any other. */
const LONGEST = 365 * 24 * 60 * 60 * 1_000;
