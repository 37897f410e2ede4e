/** The pace of reconnecting. */
export interface Reconnect {
  /** The limit before the first attempt, 300 ms by default. It doubles with each that fails. */
  baseMs?: number;
  /** The highest limit, 10 s by default. */
  maxMs?: number;
  /** The number of failed attempts in a row after which the client gives up; never by default. */
  attempts?: number;
}

/** Counts the attempts, and says how long to wait before the next. */
export class Backoff {
  readonly #base: number;
  readonly #max: number;
  readonly #attempts: number;
  #attempt = 1;
  #failures = 0;

  constructor({ baseMs = 300, maxMs = 10_000, attempts = Number.POSITIVE_INFINITY }: Reconnect = {}) {
    this.#base = baseMs;
    this.#max = maxMs;
    this.#attempts = Math.max(1, attempts);
  }

  /** The number of the attempt that is made now or next, from 1. */
  get attempt(): number {
    return this.#attempt;
  }

  /** A connection stayed open: what failed before it does not count. */
  reset(): void {
    this.#attempt = 0;
    this.#failures = 0;
  }

  /**
   * The attempt failed, or its connection was lost. Returns how long to wait, for a `random` of 0 to 1: the whole time is
   * random, so that those who were turned away together do not come back together. Undefined if there were enough.
   */
  fail(random: number): number | undefined {
    if (this.#attempt >= this.#attempts) return undefined;
    const limit = Math.min(this.#base * 2 ** this.#failures, this.#max);
    this.#attempt += 1;
    this.#failures += 1;
    return limit * random;
  }
}
