import { guard } from "./error.js";

/**
 * A value that changes. A listener is called at once with the present value, then with each that follows.
 *
 * Svelte takes it as a store, Solid by `from`, and React by `useSyncExternalStore`.
 */
export interface Readable<T> {
  get(): T;
  /** Returns what ends it. */
  subscribe(listener: (value: T) => void): () => void;
}

/** A list of listeners. A function that is added twice is called twice. */
export class Listeners<T> {
  readonly #entries = new Set<{ readonly listener: (value: T) => unknown }>();

  get size(): number {
    return this.#entries.size;
  }

  /** Adds a listener; returns what removes it. */
  add(listener: (value: T) => unknown): () => void {
    const entry = { listener };
    this.#entries.add(entry);
    return () => {
      this.#entries.delete(entry);
    };
  }

  /**
   * Tells all who listen now. One that is added meanwhile waits for the next value, one that is removed is not
   * told.
   */
  tell(value: T): void {
    for (const entry of [...this.#entries]) {
      if (this.#entries.has(entry)) guard("a listener", () => entry.listener(value));
    }
  }
}

/** A `Readable` that is set from inside. */
export class Cell<T> extends Listeners<T> implements Readable<T> {
  #value: T;

  constructor(value: T) {
    super();
    this.#value = value;
  }

  get(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    this.tell(value);
  }

  /** Called at once, then for each value that follows. */
  subscribe(listener: (value: T) => void): () => void {
    const stop = this.add(listener);
    guard("a listener", () => listener(this.#value));
    return stop;
  }

  /** True if nobody listens. */
  get isUnused(): boolean {
    return this.size === 0;
  }
}
