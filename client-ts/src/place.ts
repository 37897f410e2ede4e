import type { Gap, Position } from "./wire.js";

/**
 * The place of a subscription in its source. The offsets of a feed follow each other, so that what comes twice and what is
 * missing is seen here.
 */
export class Place {
  /**
   * The position behind which the subscription goes on. It stays where it was until a state that replaces it has come: the
   * connection may be lost before.
   */
  position: Position | undefined;
  /** The position behind which the next entry of a feed comes. */
  #seen: Position | undefined;
  /** The position of a state that may come. */
  #state: Position | undefined;

  constructor(position: Position | undefined) {
    this.position = position;
  }

  /** True if nobody knows what comes next: there is no position, and no feed that has begun. */
  get isUnknown(): boolean {
    return !this.position && !this.#seen;
  }

  /** The subscription of a feed begins, and a state may follow. */
  begin(position: Position, resumed: boolean | undefined, state: boolean): void {
    if (resumed || !(this.position || state)) return this.#goTo(position);
    this.#seen = position;
    this.#state = state ? position : undefined;
  }

  /** Goes to an item, if it is the next. Returns 1 if it is, less if it has come before, and more if something is missing. */
  take(next: Position | undefined): number {
    const seen = this.#seen;
    const steps = next && seen?.epoch === next.epoch && !isAt(next, this.#state) ? stepsTo(next, seen) : 1;
    if (next && steps === 1) {
      if (seen) this.#goTo(next);
      else this.position = next;
    }
    return steps;
  }

  /** Goes behind a gap, if it is the next. Returns the same. */
  skip({ from, to }: Gap): number {
    const seen = this.#seen;
    if (!seen) return 1;
    let next = seen;
    if (from !== undefined && to !== undefined) {
      next = { epoch: seen.epoch, offset: to };
      if (stepsTo(next, seen) < 1) return 0;
      if (stepsTo({ ...seen, offset: from }, seen) > 1) return 2;
    }
    this.#goTo(next);
    return 1;
  }

  #goTo(position: Position): void {
    this.position = position;
    this.#seen = position;
    this.#state = undefined;
  }
}

/** Returns the number of steps from one position to another of the same epoch. */
export function stepsTo(next: Position, last: Position): number {
  return Number(BigInt(next.offset) - BigInt(last.offset));
}

function isAt(position: Position, other: Position | undefined): boolean {
  return position.epoch === other?.epoch && stepsTo(position, other) === 0;
}
