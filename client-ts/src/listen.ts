import type { Driver } from "./driver.js";
import { guard, report } from "./error.js";
import { type Feed, openFeed, type SubscribeHandlers } from "./feed.js";
import type { Delivery, Inbox } from "./inbox.js";
import type { Position } from "./wire.js";

/** Begins a subscription, and tells its handlers what it brings. Returns what ends it. */
export function listen<T>(
  driver: Driver,
  name: string,
  input: unknown,
  handlers: SubscribeHandlers<T>,
): () => void {
  const listening = new Listening(name, handlers);
  listening.start(driver, input);
  return () => listening.stop();
}

class Listening<T> {
  readonly #name: string;
  readonly #handlers: SubscribeHandlers<T>;
  readonly #abort = () => this.stop();
  #phase: "idle" | "busy" | "over" = "idle";
  #feed: Feed | undefined;

  constructor(name: string, handlers: SubscribeHandlers<T>) {
    this.#name = name;
    this.#handlers = handlers;
  }

  start(driver: Driver, input: unknown): void {
    const { signal, after } = this.#handlers;
    if (signal?.aborted) return;
    signal?.addEventListener("abort", this.#abort);
    try {
      this.#feed = openFeed(driver, this.#name, input, after, (inbox) => this.#read(inbox));
    } catch (error) {
      // As any error: when the caller has got what ends it.
      queueMicrotask(() => this.#fail(error));
    }
  }

  stop(): void {
    if (this.#isOver) return;
    this.#finish();
    this.#feed?.drop();
  }

  #read(inbox: Inbox): void {
    while (this.#phase === "idle") {
      const delivery = inbox.next();
      if (!delivery) return;
      this.#handle(inbox, delivery);
    }
  }

  #handle(inbox: Inbox, delivery: Delivery): void {
    if (delivery.type === "item") return this.#take(inbox, delivery.value as T, delivery.position);
    if (delivery.type === "gap") return guard("onGap", () => this.#handlers.onGap?.(delivery.gap));
    if (delivery.error) return this.#fail(delivery.error);
    this.#finish();
    guard("onComplete", () => this.#handlers.onComplete?.());
  }

  #take(inbox: Inbox, value: T, position: Position | undefined): void {
    const handled = guard("onData", () => this.#handlers.onData(value, position));
    if (!isPromise(handled)) return inbox.taken();
    this.#phase = "busy";
    const done = () => {
      if (this.#phase === "busy") this.#phase = "idle";
      inbox.taken();
      this.#read(inbox);
    };
    handled.then(done, (error) => {
      report("onData", error);
      done();
    });
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#finish();
    const { onError = (unhandled) => report(this.#name, unhandled) } = this.#handlers;
    guard("onError", () => onError(error));
  }

  #finish(): void {
    this.#phase = "over";
    this.#handlers.signal?.removeEventListener("abort", this.#abort);
  }

  get #isOver(): boolean {
    return this.#phase === "over";
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === "function";
}
