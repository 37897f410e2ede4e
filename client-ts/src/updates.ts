import type { Driver } from "./driver.js";
import { type RealtimeError, report } from "./error.js";
import { type Reader, type Received, Stream, WINDOW } from "./operations.js";
import { type Gap, type Position, toJson } from "./wire.js";

/** An item of a subscription, or a gap. */
export type Update<T> =
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
  /** The position of the last item that was handed out, or that after which the subscription began. */
  readonly position: Position | undefined;
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
  onGap?(gap: Gap): void;
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
  readonly #waiting: Update<T>[] = [];
  readonly #asked: { resolve(result: IteratorResult<Update<T>>): void; reject(error: unknown): void }[] = [];
  /** Of the session's subscription, once it has begun. */
  #id: number | undefined;
  /** The end, once it is known; what waits comes before it. */
  #end: { error?: unknown } | undefined;
  /** The end was told to one who asked: its error is not told again. */
  #isOver = false;
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
  listen({ onData, onGap, onError, onComplete }: SubscribeHandlers<T>): () => void {
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
        if (update.type === "item") await tell("onData", () => onData(update.value, update.position));
        else await tell("onGap", () => onGap?.(withoutType(update)));
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

  push(update: Received): void {
    const last = this.#waiting.at(-1);
    if (update.type === "item") this.#held += 1;
    else if (last?.type === "gap") {
      // Gaps cost no credit, and any number may come.
      this.#waiting[this.#waiting.length - 1] = merge(last, update);
      return;
    }
    this.#waiting.push(update as Update<T>);
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
    } catch (error) {
      this.end(error);
    }
  }

  /** Has the server send more after each half of the window. */
  #take(): void {
    this.#held -= 1;
    this.#taken += 1;
    const id = this.#id;
    if (this.#taken < WINDOW / 2 || id === undefined) return;
    this.#taken = 0;
    this.#driver.change((session) => session.grant(id));
  }

  /** Gives those who ask what waits. */
  #hand(): void {
    for (;;) {
      const update = this.#waiting[0];
      const asked = (update ?? this.#end) && this.#asked.shift();
      if (!asked) return;
      this.#waiting.shift();
      const error = this.#isOver ? undefined : this.#end?.error;
      this.#isOver ||= !update;
      if (update) asked.resolve({ done: false, value: this.#note(update) });
      else if (error === undefined) asked.resolve(DONE);
      else asked.reject(error);
    }
  }

  #note(update: Update<T>): Update<T> {
    if (update.type === "gap") return update;
    this.#inHand += 1;
    this.position = update.position ?? this.position;
    return update;
  }
}

function withoutType({ type: _, ...gap }: { type: "gap" } & Gap): Gap {
  return gap;
}

function merge(first: Gap, last: Gap): { type: "gap" } & Gap {
  const from = first.from ?? last.from;
  const to = last.to ?? first.to;
  // Where one of the counts is not known, neither is the sum.
  const count = first.count && last.count && first.count + last.count;
  return { type: "gap", count, cause: last.cause, ...(from !== undefined && { from, to }) };
}

const DONE = { done: true, value: undefined } as const;
