import type { Driver } from "./driver.js";
import { type Feed, openFeed, type SubscribeOptions } from "./feed.js";
import type { Delivery } from "./inbox.js";
import type { Gap, Position } from "./wire.js";

/** What a subscription brings. */
export type Update<T> =
  | { readonly type: "item"; readonly value: T; readonly position: Position | undefined }
  /** Items are missing here, or may be. */
  | ({ readonly type: "gap" } & Gap);

/**
 * The updates of a subscription in their order, over any number of connections. It begins when the first is asked for,
 * ends when the subscription is complete, and throws its error. Leaving a `for await` loop ends the subscription.
 *
 * The server waits with more than 64 items that were not taken.
 */
export class Updates<T> implements AsyncIterableIterator<Update<T>> {
  readonly #begin: () => Feed;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = () => this.#end(this.#signal?.reason);
  readonly #waiting: Waiting<T>[] = [];
  #feed: "new" | Feed | "over" = "new";
  /** Told to the first who asks after the end. */
  #failure: { readonly error: unknown } | undefined;
  #position: Position | undefined;
  /** Items that were handed out, and not followed by asking for more. */
  #inHand = 0;

  /** @internal */
  constructor(driver: Driver, name: string, input: unknown, options: SubscribeOptions = {}) {
    this.#position = options.after;
    this.#signal = options.signal;
    this.#begin = () => openFeed(driver, name, input, options.after, () => this.#read());
  }

  /** The position of the last item that was taken, or that after which the subscription began. */
  get position(): Position | undefined {
    return this.#position;
  }

  /** The next update. */
  next(): Promise<IteratorResult<Update<T>>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (this.#feed === "new") this.#start();
      this.#take();
      this.#read();
    });
  }

  /** Ends the subscription. */
  async return(): Promise<IteratorResult<Update<T>>> {
    this.#end();
    return DONE;
  }

  /** Ends the subscription. */
  async throw(error?: unknown): Promise<IteratorResult<Update<T>>> {
    this.#end();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #start(): void {
    if (this.#signal?.aborted) return this.#abort();
    this.#signal?.addEventListener("abort", this.#abort);
    try {
      this.#feed = this.#begin();
    } catch (error) {
      this.#end(error);
    }
  }

  /** Whoever asks for more is done with what was handed out. */
  #take(): void {
    if (typeof this.#feed !== "object") return;
    for (; this.#inHand > 0; this.#inHand -= 1) this.#feed.inbox.taken();
  }

  #read(): void {
    while (this.#waiting.length > 0 && this.#feed !== "new") {
      if (this.#feed === "over") this.#tellEnd();
      else {
        const delivery = this.#feed.inbox.next();
        if (!delivery) return;
        this.#handle(delivery);
      }
    }
  }

  #handle(delivery: Delivery): void {
    if (delivery.type === "end") this.#end(delivery.error);
    else this.#waiting.shift()?.resolve({ done: false, value: this.#hand(delivery) });
  }

  #hand(delivery: Exclude<Delivery, { type: "end" }>): Update<T> {
    if (delivery.type === "gap") return { type: "gap", ...delivery.gap };
    this.#inHand += 1;
    this.#position = delivery.position ?? this.#position;
    return { type: "item", value: delivery.value as T, position: delivery.position };
  }

  #end(error?: unknown): void {
    if (this.#feed === "over") return;
    const feed = this.#feed;
    this.#feed = "over";
    this.#signal?.removeEventListener("abort", this.#abort);
    if (typeof feed === "object") feed.drop();
    if (error !== undefined) this.#failure = { error };
    this.#read();
  }

  #tellEnd(): void {
    const waiting = this.#waiting.shift();
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure) waiting?.reject(failure.error);
    else waiting?.resolve(DONE);
  }
}

interface Waiting<T> {
  resolve(result: IteratorResult<Update<T>>): void;
  reject(error: unknown): void;
}

const DONE = { done: true, value: undefined } as const;
