/** What may wait while there is no connection: calls, events and messages. Subscriptions do not count. */
export interface OfflineQueue {
  /** How many frames may wait, 256 by default. */
  frames?: number;
  /** How many bytes they may have, 1 MiB by default. */
  bytes?: number;
  /**
   * What is done when more comes: by default the newest is refused with `RESOURCE_EXHAUSTED`. `drop-oldest` makes room,
   * and a call that is dropped fails with that code. `off`: nothing waits, and all fails at once with `UNAVAILABLE`.
   */
  whenFull?: "reject-newest" | "drop-oldest" | "off";
}

/** One frame that is to be sent. */
export type Frame =
  /** A call, which is written when it is sent: its time runs meanwhile. */
  | { readonly kind: "call" }
  /** A subscription: its position changes meanwhile. */
  | { readonly kind: "subscribe" }
  /** An event or a message. */
  | { readonly kind: "data"; readonly text: string }
  /** Of use on the present connection only. */
  | { readonly kind: "control"; readonly text: string };

/** The frames that are to be sent, in the order of their keys. */
export class Queue {
  readonly #limit: Required<OfflineQueue>;
  #frames = new Map<number, { readonly frame: Frame; readonly cost: number }>();
  #lastKey = 0;
  /** Something was put back before others: the map is not in order. */
  #isMixed = false;
  #count = 0;
  #bytes = 0;

  constructor(policy: OfflineQueue = {}) {
    this.#limit = { frames: 256, bytes: 1 << 20, whenFull: "reject-newest", ...policy };
  }

  /** Makes room for a frame of `cost` bytes. Returns the calls that were dropped for it, or why it may not wait. */
  admit(cost: number, isOnline: boolean): number[] | "full" | "off" {
    if (isOnline) return cost <= ONLINE_BYTES - this.#bytes ? [] : "full";
    const { frames, bytes, whenFull } = this.#limit;
    if (whenFull === "off") return "off";
    if (frames === 0 || cost > bytes) return "full";
    if (this.#count < frames && cost <= bytes - this.#bytes) return [];
    return whenFull === "drop-oldest" ? this.#trim(frames - 1, bytes - cost) : "full";
  }

  /** Puts a frame in its place. A cost of 0 does not count. */
  insert(key: number, frame: Frame, cost: number): void {
    this.#isMixed ||= key < this.#lastKey;
    this.#lastKey = Math.max(this.#lastKey, key);
    this.#frames.set(key, { frame, cost });
    this.#add(cost, 1);
  }

  remove(key: number): void {
    const waiting = this.#frames.get(key);
    if (!waiting) return;
    this.#frames.delete(key);
    this.#add(waiting.cost, -1);
  }

  pop(): [key: number, frame: Frame] | undefined {
    this.#sort();
    for (const [key, { frame }] of this.#frames) {
      this.remove(key);
      return [key, frame];
    }
    return undefined;
  }

  /** The connection is lost: forgets what was of use on it only, and what may not wait. Returns the calls among that. */
  goOffline(): number[] {
    this.#keep((frame) => frame.kind !== "control");
    const { frames, bytes, whenFull } = this.#limit;
    return whenFull === "off" ? this.#trim(0, 0) : this.#trim(frames, bytes);
  }

  /** Only what can still be sent before a close stays. */
  keepWritten(): void {
    this.#keep((frame) => frame.kind === "data" || frame.kind === "control");
  }

  clear(): void {
    this.#keep(() => false);
  }

  /** More waits than a peer that reads at all lets wait. */
  get isOverfull(): boolean {
    return this.#bytes > 2 * ONLINE_BYTES;
  }

  get size(): number {
    return this.#frames.size;
  }

  #keep(isKept: (frame: Frame) => boolean): void {
    for (const [key, { frame }] of [...this.#frames]) {
      if (!isKept(frame)) this.remove(key);
    }
  }

  /** Drops frames that count until no more than these are left. */
  #trim(frames: number, bytes: number): number[] {
    this.#sort();
    const dropped: number[] = [];
    const counted = [...this.#frames].filter(([, waiting]) => waiting.cost > 0);
    if (this.#limit.whenFull !== "drop-oldest") counted.reverse();
    for (const [key, { frame }] of counted) {
      if (this.#count <= frames && this.#bytes <= bytes) break;
      this.remove(key);
      if (frame.kind === "call") dropped.push(key);
      else console.warn("an event or message was dropped: too much waits for a connection");
    }
    return dropped;
  }

  #sort(): void {
    if (this.#isMixed) this.#frames = new Map([...this.#frames].sort(([a], [b]) => a - b));
    this.#isMixed = false;
  }

  #add(cost: number, sign: 1 | -1): void {
    if (cost > 0) this.#count += sign;
    this.#bytes += sign * cost;
  }
}

/** While there is a connection a queue is short, except behind a burst or a peer that does not read. */
const ONLINE_BYTES = 16 << 20;
