import type { Driver } from "./driver.js";
import { type RealtimeError, report } from "./error.js";
import { type Begun, type Reader, type Received, Stream, WINDOW } from "./operations.js";
import { stepsTo } from "./place.js";
import { type Appended, type Gap, type Position, toJson } from "./wire.js";

/** The result of a call, and what it has appended to feeds: the last entry in each. */
export interface Written<T> {
  readonly value: T;
  readonly at: readonly Appended[];
}

/** An item of a subscription, a gap, or the beginning of a feed, which comes again after a lost connection. */
export type Update<T> =
  | ({ readonly type: "begun" } & Begun)
  | { readonly type: "item"; readonly value: T; readonly position: Position | undefined }
  /** Items are missing here, or may be. */
  | ({ readonly type: "gap" } & Gap);

/**
 * The updates of a subscription in their order, over any number of connections. It begins when the first is asked for,
 * ends when the subscription is complete, and throws its error. Leaving a `for await` loop ends the subscription.
 *
 * An item is taken when the next is asked for; the server waits with more than 64 that are not.
 */
export interface Updates<T> extends AsyncIterableIterator<Update<T>> {
  /** The position of the last update that was handed out, or that after which the subscription began. */
  readonly position: Position | undefined;
  /**
   * Returns true if what was handed out includes what a call has written to this feed, or tells that it is missing. True for a
   * call that has written nothing to it; false before the feed has begun.
   */
  has(written: Written<unknown>): boolean;
}

/** Options of a subscription. */
export interface SubscribeOptions {
  /** Goes on behind this position. */
  after?: Position;
  /** Ends it. */
  signal?: AbortSignal;
}

/** Callbacks of a subscription. */
export interface SubscribeHandlers<T> extends SubscribeOptions {
  /**
   * Called for each item. While the promise that it returns is pending the next waits, and of more than 64 the
   * server.
   */
  onData(value: T, position: Position | undefined): unknown;
  /** Called where items are missing, or may be. */
  onGap?(gap: Gap, position: Position | undefined): void;
  /** Called when the subscription of a feed begins, and when it goes on after a lost connection. */
  onBegin?(begun: Begun, position: Position | undefined): void;
  /** Called when it has failed; nothing follows. Without it the error is logged. */
  onError?(error: unknown): void;
  /** Called when the server has ended it; nothing follows. */
  onComplete?(): void;
}

/** The queue between one subscription and its reader. */
export class Inbox<T> implements Updates<T>, Reader {
  position: Position | undefined;
  readonly #driver: Driver;
  readonly #name: string;
  readonly #input: unknown;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = () => this.end(this.#signal?.reason);
  readonly #waiting: { update: Update<T>; place: Position | undefined }[] = [];
  readonly #asked: { resolve(result: IteratorResult<Update<T>>): void; reject(error: unknown): void }[] = [];
  /** Of the session's subscription, once it has begun. */
  #id: number | undefined;
  #stream: Stream | undefined;
  /** The end, once it is known; what waits comes before it. */
  #end: { error?: unknown } | undefined;
  /** The end was told to one who asked: its error is not told again. */
  #isOver = false;
  /** The name of the feed, once it has begun. */
  #topic: string | undefined;
  /** The logs of the feed that came before the present one, the last few. */
  #left: string[] = [];
  #held = 0;
  /** Of those that are held, the items that were handed out, and not followed by asking for more. */
  #inHand = 0;
  /** Items that were taken since the server was granted more. */
  #taken = 0;

  constructor(driver: Driver, name: string, input: unknown, { after, signal }: SubscribeOptions = {}) {
    this.#driver = driver;
    this.#name = name;
    this.#input = input ?? null;
    this.position = after;
    this.#signal = signal;
  }

  /** Reads it, and tells the handlers what it brings. Returns what ends it. */
  listen({ onData, onGap, onBegin, onError, onComplete }: SubscribeHandlers<T>): () => void {
    let isStopped = false;
    const tell = async (what: string, run: () => unknown) => {
      if (isStopped || this.#signal?.aborted) return;
      try {
        await run();
      } catch (error) {
        report(what, error);
      }
    };
    const read = async () => {
      for await (const update of this) {
        const { type, ...news } = update;
        if (update.type === "item") await tell("onData", () => onData(update.value, update.position));
        else if (type === "gap") await tell("onGap", () => onGap?.(news as Gap, this.position));
        else await tell("onBegin", () => onBegin?.(news as Begun, this.position));
      }
      tell("onComplete", () => onComplete?.());
    };
    read().catch((error) => tell("onError", () => (onError ? onError(error) : report(this.#name, error))));
    return () => {
      isStopped = true;
      this.end();
    };
  }

  /** The number of items that the reader has not taken. */
  get held(): number {
    return this.#held;
  }

  push(update: Received, place: Position | undefined): void {
    if (update.type === "item") this.#held += 1;
    else if (this.#merge(update, place)) return;
    this.#waiting.push({ update: update as Update<T>, place });
    this.#hand();
  }

  /** The server has ended it, or the client. What waits is not lost. */
  finish(error?: RealtimeError): void {
    this.#end ??= { error };
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#hand();
  }

  /** Nobody reads it any more. */
  end(error?: unknown): void {
    this.#waiting.length = 0;
    this.#end = { error };
    this.#isOver ||= error === undefined;
    this.#signal?.removeEventListener("abort", this.#abort);
    const id = this.#id;
    if (id !== undefined) this.#driver.change((session) => session.drop(id));
    this.#hand();
  }

  has({ at }: Written<unknown>): boolean {
    if (this.#topic === undefined) return at.length === 0;
    const last = at.find(({ topic }) => topic === this.#topic);
    return !last || isBehind(this.position, last) || this.#left.includes(last.epoch);
  }

  next(): Promise<IteratorResult<Update<T>>> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ resolve, reject });
      if (this.#signal?.aborted && !this.#isOver) this.#abort();
      else if (this.#id === undefined && !this.#end) this.#start();
      for (; this.#inHand > 0; this.#inHand -= 1) this.#take();
      this.#hand();
    });
  }

  async return(): Promise<IteratorResult<Update<T>>> {
    this.end();
    return DONE;
  }

  async throw(error?: unknown): Promise<IteratorResult<Update<T>>> {
    this.end();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #start(): void {
    this.#signal?.addEventListener("abort", this.#abort);
    try {
      const stream = new Stream(this.#name, toJson(this.#name, this.#input), this.position, this);
      this.#id = this.#driver.change((session) => session.subscribe(stream));
      this.#stream = stream;
    } catch (error) {
      this.end(error);
    }
  }

  /** Has the server send more after each half of the window. */
  #take(): void {
    this.#held -= 1;
    this.#taken += 1;
    const stream = this.#stream;
    if (this.#taken < WINDOW / 2 || this.#end || !stream) return;
    this.#taken = 0;
    this.#driver.change((session) => stream.grant(session));
  }

  /** Gives those who ask what waits. */
  #hand(): void {
    for (;;) {
      const next = this.#waiting[0];
      const asked = (next ?? this.#end) && this.#asked.shift();
      if (!asked) return;
      this.#waiting.shift();
      const error = this.#isOver ? undefined : this.#end?.error;
      this.#isOver ||= !next;
      if (next) asked.resolve({ done: false, value: this.#note(next) });
      else if (error === undefined) asked.resolve(DONE);
      else asked.reject(error);
    }
  }

  #note({ update, place }: { update: Update<T>; place: Position | undefined }): Update<T> {
    if (update.type === "item") this.#inHand += 1;
    if (update.type === "begun") this.#topic = update.topic;
    const { position } = this;
    if (position && place && position.epoch !== place.epoch)
      this.#left = [...this.#left, position.epoch].slice(-LOGS);
    this.position = place ?? position;
    return update;
  }

  /** Beginnings and gaps cost no credit, and any number may come: of each, one waits behind the last item. */
  #merge(update: Exclude<Received, { type: "item" }>, place: Position | undefined): boolean {
    for (const waiting of this.#waiting.slice(-2).reverse()) {
      const last = waiting.update;
      if (last.type === "item") return false;
      if (last.type !== update.type) continue;
      // One that goes on does so from where the one that waits has begun.
      if (update.type === "begun" && update.resumed) return true;
      waiting.update = update.type === "gap" && last.type === "gap" ? merge(last, update) : update;
      waiting.place = place;
      return true;
    }
    return false;
  }
}

/** Returns true if a place is at or behind a position of the same log. */
export function isBehind(place: Position | undefined, position: Position): boolean {
  return place?.epoch === position.epoch && stepsTo(place, position) >= 0;
}

function merge(first: Gap, last: Gap): { type: "gap" } & Gap {
  const from = first.from ?? last.from;
  const to = last.to ?? first.to;
  // Where one of the counts is not known, neither is the sum.
  const count = first.count && last.count && first.count + last.count;
  return { type: "gap", count, cause: last.cause, ...(from !== undefined && { from, to }) };
}

/** The number of logs of a feed that are remembered after they were left. */
const LOGS = 8;

const DONE = { done: true, value: undefined } as const;
