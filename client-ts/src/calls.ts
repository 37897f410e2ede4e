import type { RealtimeError } from "./error.js";
import { encode } from "./wire.js";

/** One call, as it was asked for. */
export interface Request {
  readonly path: string;
  /** In JSON. */
  readonly input: string;
  readonly key: string | undefined;
  readonly deadline: number;
  /** Told how the call gets on; never after its end. */
  onProgress(data: unknown): void;
  /** Told once how it ended: with an error, or with the data. */
  onEnd(error: RealtimeError | undefined, data?: unknown): void;
}

/** The calls that have no answer yet. Whichever answer removes one is its only answer. */
export class Calls {
  readonly #running = new Map<number, { readonly request: Request; sent: boolean }>();
  /** No deadline is earlier. */
  #earliest = Number.POSITIVE_INFINITY;

  add(id: number, request: Request): void {
    this.#running.set(id, { request, sent: false });
    this.#earliest = Math.min(this.#earliest, request.deadline);
  }

  /** The frame that makes the call, if there still is one and it is not too late. */
  send(id: number, now: number): string | undefined {
    const call = this.#running.get(id);
    if (!call) return undefined;
    const { path, input, key, deadline } = call.request;
    if (deadline <= now) return undefined;
    call.sent = true;
    const timeoutMs = Math.max(1, Math.floor(deadline - now));
    return encode("call", { id: `${id}`, path, timeoutMs, idempotencyKey: key }, "input", input);
  }

  progress(id: number, data: unknown): void {
    this.#running.get(id)?.request.onProgress(data);
  }

  settle(id: number, error: RealtimeError | undefined, data?: unknown): void {
    this.#take(id)?.request.onEnd(error, data);
  }

  /** Its caller is gone. Returns whether the server knows of it. */
  drop(id: number): boolean | undefined {
    return this.#take(id)?.sent;
  }

  /** The calls whose time is over, and whether each was sent. */
  expired(now: number): [id: number, sent: boolean][] {
    if (now < this.#earliest) return [];
    const expired: [number, boolean][] = [];
    this.#earliest = Number.POSITIVE_INFINITY;
    for (const [id, { request, sent }] of this.#running) {
      if (request.deadline <= now) expired.push([id, sent]);
      else this.#earliest = Math.min(this.#earliest, request.deadline);
    }
    return expired;
  }

  /** When to look for expired calls: never too late, and too early where a call has ended meanwhile. */
  get nextDeadline(): number {
    return this.#running.size > 0 ? this.#earliest : Number.POSITIVE_INFINITY;
  }

  /** The connection is lost: returns the calls that were sent on it, those that may be sent again and those that may not. */
  unsend(): { again: number[]; lost: number[] } {
    const again: number[] = [];
    const lost: number[] = [];
    for (const [id, call] of this.#running) {
      if (!call.sent) continue;
      call.sent = false;
      (call.request.key === undefined ? lost : again).push(id);
    }
    return { again, lost };
  }

  get ids(): number[] {
    return [...this.#running.keys()];
  }

  #take(id: number) {
    const call = this.#running.get(id);
    this.#running.delete(id);
    if (this.#running.size === 0) this.#earliest = Number.POSITIVE_INFINITY;
    return call;
  }
}
