import type { RealtimeError } from "./error.js";
import type { Gap, Position } from "./wire.js";

/** What a subscription brings, in its order. The end comes last, with an error or because it is complete. */
export type Delivery =
  | { readonly type: "item"; readonly value: unknown; readonly position: Position | undefined }
  | { readonly type: "gap"; readonly gap: Gap }
  | { readonly type: "end"; readonly error: RealtimeError | undefined };

/** What waits for the reader of one subscription. */
export class Inbox {
  /** Called when something has come. */
  onNews = (): void => {};
  /** Called after each half of the window that was taken: the server may send more. */
  readonly #onTaken: () => void;
  readonly #waiting: Delivery[] = [];
  #held = 0;
  #taken = 0;

  constructor(onTaken: () => void) {
    this.#onTaken = onTaken;
  }

  /** How many items the reader holds, the one that it is busy with included. */
  get held(): number {
    return this.#held;
  }

  push(delivery: Delivery): void {
    if (delivery.type === "item") this.#held += 1;
    this.#waiting.push(delivery);
    this.onNews();
  }

  /** Adds a gap to the one at the end, if there is one: gaps cost no credit, and any number may come. */
  pushGap(gap: Gap): void {
    const last = this.#waiting.at(-1);
    if (last?.type === "gap") {
      this.#waiting[this.#waiting.length - 1] = { type: "gap", gap: merge(last.gap, gap) };
    } else {
      this.push({ type: "gap", gap });
    }
  }

  /** The next delivery. An item is `taken` when the reader is done with it. */
  next(): Delivery | undefined {
    return this.#waiting.shift();
  }

  taken(): void {
    this.#held -= 1;
    this.#taken += 1;
    if (this.#taken < WINDOW / 2) return;
    this.#taken = 0;
    this.#onTaken();
  }
}

/** How many items the server may send that were not taken. */
export const WINDOW = 64;

function merge(first: Gap, last: Gap): Gap {
  const from = first.from ?? last.from;
  const to = last.to ?? first.to;
  return {
    // Where one of the counts is not known, neither is the sum.
    count: first.count === 0 || last.count === 0 ? 0 : first.count + last.count,
    cause: last.cause,
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
  };
}
