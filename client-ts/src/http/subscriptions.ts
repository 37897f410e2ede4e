import type { DialRequest, Environment } from "../environment.js";
import { Place } from "../place.js";
import { gapOf, type Incoming, type Position, positionOf } from "../wire.js";
import { closeOf, frames } from "./requests.js";

/** A `subscribe` frame of the session's. */
export interface Subscribe {
  readonly type: "subscribe";
  readonly id: string;
  readonly path: unknown;
  readonly input: unknown;
  readonly after?: Position;
  readonly credit: number;
  readonly shared?: boolean;
}

/** The socket to which subscriptions belong. */
export interface Owner {
  readonly environment: Environment;
  readonly request: DialRequest;
  /** Tells the session a frame. */
  say(frame: object): void;
  /** The server closes the connection. */
  close(code: number, reason: string): void;
  /** The connection is lost. */
  lose(error?: unknown): void;
}

/**
 * All subscriptions of a connection, by one stream of frames. A stream cannot be told anything: when the set has
 * changed, another takes its place, in which each goes on behind its last position.
 */
export class Subscriptions {
  readonly #owner: Owner;
  readonly #all = new Map<string, Entry>();
  #stream = new AbortController();
  #cancelTimer = (): void => {};

  constructor(owner: Owner) {
    this.#owner = owner;
  }

  /** Frames that are shared would not say whom they are for. */
  add({ credit, after, shared: _, ...frame }: Subscribe): void {
    this.#all.set(frame.id, { frame, place: new Place(after), credit, phase: "new" });
    this.#restart();
  }

  remove(id: string): void {
    if (this.#all.delete(id)) this.#restart();
  }

  grant(id: string, more: number): void {
    const entry = this.#all.get(id);
    if (!entry) return;
    entry.credit += more;
    if (entry.phase !== "paused") return;
    entry.phase = "begun";
    this.#restart();
  }

  end(): void {
    this.#cancelTimer();
    this.#stream.abort();
    this.#all.clear();
  }

  /** Takes what comes at once into one stream. */
  #restart(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#owner.environment.after(SETTLED, () => this.#read());
  }

  async #read(): Promise<void> {
    this.#stream.abort();
    const stream = new AbortController();
    this.#stream = stream;
    const taken = [...this.#all.values()].filter(({ phase }) => phase !== "paused");
    if (taken.length === 0) return;
    for (const entry of taken) {
      if (entry.phase === "begun" && entry.place.isUnknown) this.#owner.say(missed(entry));
      entry.phase = "begun";
    }
    const { environment, request } = this.#owner;
    const body = { subscribe: taken.map(({ frame, place }) => ({ ...frame, after: place.position })) };
    try {
      for await (const frame of frames({ environment, request, body, signal: stream.signal })) {
        const close = closeOf(frame);
        if (close && this.#hasAny(taken)) return this.#owner.close(...close);
        await this.#take(frame);
        if (stream.signal.aborted) return;
      }
      // The server ends it behind the last of its subscriptions, or because it goes.
      if (!stream.signal.aborted && this.#hasAny(taken)) this.#owner.lose();
    } catch (error) {
      if (!stream.signal.aborted) this.#owner.lose(error);
    }
  }

  #hasAny(entries: Entry[]): boolean {
    return entries.some((entry) => this.#all.get(entry.frame.id) === entry);
  }

  async #take(frame: Incoming): Promise<void> {
    const id = `${frame.id}`;
    const entry = this.#all.get(id);
    if (!entry || entry.phase === "paused") return;
    if (frame.type === "complete" || frame.type === "error") this.#all.delete(id);
    if (frame.type === "data") entry.credit -= 1;
    follow(entry, frame);
    this.#owner.say(frame);
    if (entry.credit > 0) return;
    // The reader has its turn. One that does not read does not hold up the others: it leaves the stream.
    await new Promise<void>((resolve) => this.#owner.environment.after(0, resolve));
    if (entry.credit > 0 || this.#all.get(id) !== entry) return;
    entry.phase = "paused";
    this.#restart();
  }
}

/** Goes where the frame leads. */
function follow({ place }: Entry, frame: Incoming): void {
  const position = positionOf(frame);
  if (frame.type === "data") place.take(position);
  if (frame.type === "gap") place.skip(gapOf(frame));
  if (frame.type === "subscribed" && position) place.begin(position, frame.resumed === true, frame.state === true);
}

interface Entry {
  readonly frame: Omit<Subscribe, "credit" | "after" | "shared">;
  readonly place: Place;
  credit: number;
  /** `begun`: it was in a stream. `paused`: it is in none until its reader takes items. */
  phase: "new" | "begun" | "paused";
}

function missed({ frame: { id } }: Entry): object {
  return { type: "gap", id, count: 0, cause: "reconnect" };
}

/** The time within which all subscribing and unsubscribing is one change, in milliseconds. */
const SETTLED = 50;
