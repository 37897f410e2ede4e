import type { Operation } from "./operations.js";

/** Limits of the calls, events and messages that wait for a connection. Subscriptions do not count. */
export interface OfflineQueue {
  /** The number of frames, 256 by default. */
  frames?: number;
  /** Their bytes, 1 MiB by default. */
  bytes?: number;
  /**
   * The policy when more comes: by default the newest is refused with `RESOURCE_EXHAUSTED`. `drop-oldest` makes room,
   * and a call that is dropped fails with that code. `off`: nothing waits, and all fails at once with `UNAVAILABLE`.
   */
  whenFull?: "reject-newest" | "drop-oldest" | "off";
}

/** One frame that is to be sent: of a call or a subscription, or a text. */
export interface Frame {
  readonly operation?: Operation;
  readonly text?: string;
  /** True if it is of use on the present connection only. */
  readonly isControl?: boolean;
  /** In bytes; 0 does not count. */
  readonly cost: number;
}

/** The frames that are to be sent, in the order of their keys. */
export class Queue {
  readonly #limit: Required<OfflineQueue>;
  #frames = new Map<number, Frame>();
  #lastKey = 0;
  /** Something was put back before others: the map is not in order. */
  #isMixed = false;
  #count = 0;
  #bytes = 0;

  constructor({ frames = 256, bytes = 1 << 20, whenFull = "reject-newest" }: OfflineQueue = {}) {
    this.#limit = { frames, bytes, whenFull };
  }

  /** Makes room for a frame of `cost` bytes. Returns the keys that were dropped for it, or why it may not wait. */
  admit(cost: number, isOnline: boolean): number[] | "full" | "off" {
    if (isOnline) return cost <= ONLINE_BYTES - this.#bytes ? [] : "full";
    const { frames, bytes, whenFull } = this.#limit;
    if (whenFull === "off") return "off";
    if (frames === 0 || cost > bytes) return "full";
    if (this.#count < frames && cost <= bytes - this.#bytes) return [];
    return whenFull === "drop-oldest" ? this.#trim(frames - 1, bytes - cost) : "full";
  }

  /** Puts a frame in its place. */
  insert(key: number, frame: Frame): void {
    this.#isMixed ||= key < this.#lastKey;
    this.#lastKey = Math.max(this.#lastKey, key);
    this.#frames.set(key, frame);
    this.#count += +(frame.cost > 0);
    this.#bytes += frame.cost;
  }

  remove(key: number): void {
    const { cost = 0 } = this.#frames.get(key) ?? {};
    this.#frames.delete(key);
    this.#count -= +(cost > 0);
    this.#bytes -= cost;
  }

  /** Takes the first. */
  pop(): [key: number, frame: Frame] | undefined {
    this.#sort();
    for (const entry of this.#frames) {
      this.remove(entry[0]);
      return entry;
    }
    return undefined;
  }

  /**
   * The connection is lost: forgets what was of use on it only, and what may not wait. Returns the keys of the
   * latter.
   */
  goOffline(): number[] {
    this.keep(({ isControl }) => !isControl);
    const { frames, bytes, whenFull } = this.#limit;
    return whenFull === "off" ? this.#trim(0, 0) : this.#trim(frames, bytes);
  }

  /** Forgets all others. */
  keep(isKept: (frame: Frame) => unknown): void {
    for (const [key, frame] of [...this.#frames]) {
      if (!isKept(frame)) this.remove(key);
    }
  }

  /** More waits than a peer that reads at all lets wait. */
  get isOverfull(): boolean {
    return this.#bytes > 2 * ONLINE_BYTES;
  }

  /** Drops frames that count until no more than these are left. */
  #trim(frames: number, bytes: number): number[] {
    this.#sort();
    const dropped: number[] = [];
    const counted = [...this.#frames].filter(([, { cost }]) => cost > 0);
    if (this.#limit.whenFull !== "drop-oldest") counted.reverse();
    for (const [key, { operation }] of counted) {
      if (this.#count <= frames && this.#bytes <= bytes) break;
      this.remove(key);
      dropped.push(key);
      if (!operation) console.warn("an event or message was dropped: too much waits for a connection");
    }
    return dropped;
  }

  #sort(): void {
    if (this.#isMixed) this.#frames = new Map([...this.#frames].sort(([a], [b]) => a - b));
    this.#isMixed = false;
  }
}

/** While there is a connection a queue is short, except behind a burst or a peer that does not read. */
const ONLINE_BYTES = 16 << 20;
