import { exhausted, type RealtimeError } from "./error.js";
import { type Inbox, WINDOW } from "./inbox.js";
import { encode, type Gap, type Position } from "./wire.js";

interface Running {
  readonly path: string;
  readonly input: string;
  readonly inbox: Inbox;
  /** The last that was seen. */
  position: Position | undefined;
  /** On the present connection, how many items the server may still send. */
  credit: number | undefined;
  /** It was sent on some connection. */
  begun: boolean;
}

/** The subscriptions that have not ended. */
export class Subscriptions {
  readonly #running = new Map<number, Running>();

  add(id: number, path: string, input: string, position: Position | undefined, inbox: Inbox): void {
    this.#running.set(id, { path, input, inbox, position, credit: undefined, begun: false });
  }

  /** The frame that begins it, if there still is one. */
  send(id: number): string | undefined {
    const running = this.#running.get(id);
    if (!running) return undefined;
    const { path, input, position: after, begun, inbox } = running;
    if (begun && !after) inbox.pushGap({ count: 0, cause: "reconnect" });
    // The application may have ended it when it was told of the gap.
    if (!this.#running.has(id)) return undefined;
    const credit = Math.max(0, WINDOW - inbox.held);
    running.begun = true;
    running.credit = credit;
    return encode("subscribe", { id: `${id}`, path, after, credit }, "input", input);
  }

  /** Adds an item. One that was not granted ends the subscription: returns `false`. */
  item(id: number, value: unknown, position: Position | undefined): boolean {
    const running = this.#running.get(id);
    if (running?.credit === undefined) return true;
    if (running.credit === 0) {
      this.end(id, exhausted("the server sent more items than it was granted"));
      return false;
    }
    running.credit -= 1;
    running.position = position ?? running.position;
    running.inbox.push({ type: "item", value, position });
    return true;
  }

  gap(id: number, gap: Gap): void {
    const running = this.#running.get(id);
    if (running?.credit !== undefined) running.inbox.pushGap(gap);
  }

  /** Ends it: with an error, or because it is complete. */
  end(id: number, error: RealtimeError | undefined): void {
    const running = this.#running.get(id);
    this.#running.delete(id);
    running?.inbox.push({ type: "end", error });
  }

  /** Its reader is gone. Returns whether the server knows of it. */
  drop(id: number): boolean | undefined {
    const running = this.#running.get(id);
    this.#running.delete(id);
    return running && running.credit !== undefined;
  }

  /** How many items more the server may send. */
  grant(id: number): number {
    const running = this.#running.get(id);
    if (running?.credit === undefined) return 0;
    const more = Math.max(0, WINDOW - running.credit - running.inbox.held);
    running.credit += more;
    return more;
  }

  /** The connection is lost. Returns those that are to be sent on the next. */
  unsend(): number[] {
    const sent = [...this.#running].filter(([, running]) => running.credit !== undefined);
    for (const [, running] of sent) running.credit = undefined;
    return sent.map(([id]) => id);
  }

  has(id: number): boolean {
    return this.#running.has(id);
  }

  get ids(): number[] {
    return [...this.#running.keys()];
  }
}
