import { exhausted, type RealtimeError } from "./error.js";
import { decodeError, encode, type Gap, gapOf, type Incoming, type Position, positionOf } from "./wire.js";

/** A call or a subscription that has not ended. */
export interface Operation {
  /** True if it was sent on the present connection. */
  isSent: boolean;
  /** True if it may be sent again on another connection. */
  readonly isRepeatable: boolean;
  /** The time at which it fails. */
  readonly deadline: number;
  /** The type of the frame that gives it up. */
  readonly giveUp: "cancel" | "unsubscribe";
  /** The frame that begins it, unless it is too late. */
  write(id: number, now: number): string | undefined;
  /** Takes a frame that came for it. Returns whether it goes on. */
  handle(frame: Incoming): boolean;
  /** Returns how many more items the server may send. */
  grant(): number;
  /** It has ended without the server. */
  fail(error: RealtimeError): void;
}

/** The reader of a subscription. */
export interface Reader {
  /** The number of items that it has not taken. */
  readonly held: number;
  push(update: Received): void;
  /** Nothing follows. */
  finish(error?: RealtimeError): void;
}

/** An item of a subscription, or a gap. */
export type Received =
  | { readonly type: "item"; readonly value: unknown; readonly position: Position | undefined }
  | ({ readonly type: "gap" } & Gap);

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

/** A call, which is written when it is sent: its time runs meanwhile. */
export class Call implements Operation {
  readonly giveUp = "cancel";
  isSent = false;
  readonly #request: Request;

  constructor(request: Request) {
    this.#request = request;
  }

  get isRepeatable(): boolean {
    return this.#request.key !== undefined;
  }

  get deadline(): number {
    return this.#request.deadline;
  }

  write(id: number, now: number): string | undefined {
    const { path, input, key: idempotencyKey, deadline } = this.#request;
    if (deadline <= now) return undefined;
    const timeoutMs = Math.max(1, Math.floor(deadline - now));
    return encode("call", { id: `${id}`, path, timeoutMs, idempotencyKey }, "input", input);
  }

  handle({ type, data = null, error }: Incoming): boolean {
    if (type === "progress") this.#request.onProgress(data);
    if (type === "error") this.#request.onEnd(decodeError(error));
    if (type === "result") this.#request.onEnd(undefined, data);
    return type !== "error" && type !== "result";
  }

  grant(): number {
    return 0;
  }

  fail(error: RealtimeError): void {
    this.#request.onEnd(error);
  }
}

/** A subscription, which is written when it is sent: its position changes meanwhile. */
export class Stream implements Operation {
  readonly giveUp = "unsubscribe";
  readonly isRepeatable = true;
  readonly deadline = Number.POSITIVE_INFINITY;
  isSent = false;
  readonly #path: string;
  readonly #input: string;
  readonly #reader: Reader;
  /** The last that was seen. */
  #position: Position | undefined;
  /** It was sent on some connection. */
  #hasBegun = false;
  /** The number of items that the server may still send. */
  #credit = 0;

  constructor(path: string, input: string, after: Position | undefined, reader: Reader) {
    this.#path = path;
    this.#input = input;
    this.#position = after;
    this.#reader = reader;
  }

  write(id: number): string {
    const after = this.#position;
    if (this.#hasBegun && !after) this.#reader.push({ type: "gap", count: 0, cause: "reconnect" });
    this.#hasBegun = true;
    this.#credit = 0;
    const credit = this.grant();
    return encode("subscribe", { id: `${id}`, path: this.#path, after, credit }, "input", this.#input);
  }

  handle(frame: Incoming): boolean {
    if (frame.type === "gap") this.#reader.push({ type: "gap", ...gapOf(frame) });
    if (frame.type === "data") return this.#take(frame);
    if (frame.type !== "error" && frame.type !== "complete") return true;
    this.#reader.finish(frame.type === "error" ? decodeError(frame.error) : undefined);
    return false;
  }

  fail(error: RealtimeError): void {
    this.#reader.finish(error);
  }

  grant(): number {
    const more = Math.max(0, WINDOW - this.#credit - this.#reader.held);
    this.#credit += more;
    return more;
  }

  /** Adds an item. One that was not granted ends the subscription. */
  #take(frame: Incoming): boolean {
    if (this.#credit === 0) {
      this.fail(exhausted("the server sent more items than it was granted"));
      return false;
    }
    this.#credit -= 1;
    const position = positionOf(frame);
    this.#position = position ?? this.#position;
    this.#reader.push({ type: "item", value: frame.data ?? null, position });
    return true;
  }
}

/** The number of items that may be on their way or wait for the reader. */
export const WINDOW = 64;
