import { exhausted, RealtimeError } from "./error.js";
import { Place } from "./place.js";
import {
  type Appended,
  decodeError,
  encode,
  type Gap,
  gapOf,
  type Incoming,
  type Position,
  positionOf,
  text,
  wroteOf,
} from "./wire.js";

/** A call or a subscription that has not ended. */
export interface Operation {
  /** True if it was sent on the present connection. */
  isSent: boolean;
  /** The earlier connection that carries it to its end. */
  carrier?: object | undefined;
  /** True if it may be sent again on another connection. */
  readonly isRepeatable: boolean;
  /** The time at which it fails. */
  readonly deadline: number;
  /** The feed under whose name its items come. */
  readonly share?: unknown;
  /** The type of the frame that gives it up, unless the server was sent it. */
  readonly giveUp: "cancel" | "unsubscribe" | undefined;
  /** The frame that begins it, unless it is too late. */
  write(id: number, now: number): string | undefined;
  /** Takes a frame that came for it. */
  handle(frame: Incoming): Outcome;
  /** Returns how many more items the server may send. */
  grant(): number;
  /** It has ended without the server. */
  fail(error: RealtimeError): void;
}

/**
 * The meaning of a frame for its operation: it goes on, or is over. A subscription may be `refused` what the server sent, and is
 * over; it is to `leave` where something is missing, and to be sent `again` when the server has ended it; and it may want
 * the server to be granted `credit`.
 */
export type Outcome = "on" | "over" | "refused" | "leave" | "again" | "credit";

/** The reader of a subscription. */
export interface Reader {
  /** The number of items that it has not taken. */
  readonly held: number;
  /** Takes an update, and the position behind which the subscription goes on then. */
  push(update: Received, place: Position | undefined): void;
  /** Nothing follows. */
  finish(error?: RealtimeError): void;
}

/** The beginning of a feed. */
export interface Begun {
  /** The name of the feed. */
  readonly topic: string;
  /** The position behind which the entries follow. */
  readonly position: Position;
  /**
   * True if nothing is missing behind the last position. False if something is: a gap follows, or a state. Undefined if there
   * was no position before.
   */
  readonly resumed: boolean | undefined;
}

/** An item of a subscription, a gap, or a beginning. */
export type Received =
  | ({ readonly type: "begun" } & Begun)
  | { readonly type: "item"; readonly value: unknown; readonly position: Position | undefined }
  | ({ readonly type: "gap" } & Gap);

/** One call, as it was asked for. */
export interface Request {
  readonly path: string;
  /** In JSON. */
  readonly input: string;
  readonly key: string | undefined;
  readonly deadline: number;
  /** Called when it is written for a connection. */
  onWrite?: (() => void) | undefined;
  /** Told how the call gets on; never after its end. */
  onProgress(data: unknown): void;
  /** Told once how it ended: with an error, or with the data. */
  onEnd(error: RealtimeError | undefined, data?: unknown, wrote?: readonly Appended[]): void;
}

/** A call, which is written when it is sent: its time runs meanwhile. */
export class Call implements Operation {
  readonly giveUp = "cancel";
  isSent = false;
  carrier: object | undefined;
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
    const { path, input, key: idempotencyKey, deadline, onWrite } = this.#request;
    if (deadline <= now) return undefined;
    onWrite?.();
    const timeoutMs = Math.max(1, Math.floor(deadline - now));
    return encode("call", { id: `${id}`, path, timeoutMs, idempotencyKey }, "input", input);
  }

  handle({ type, data = null, error, wrote }: Incoming): Outcome {
    if (type === "progress") this.#request.onProgress(data);
    if (type === "error") this.#request.onEnd(decodeError(error));
    if (type === "result") this.#request.onEnd(undefined, data, wroteOf(wrote));
    return type !== "error" && type !== "result" ? "on" : "over";
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
  readonly isRepeatable = true;
  readonly deadline = Number.POSITIVE_INFINITY;
  giveUp: "unsubscribe" | undefined = "unsubscribe";
  share: unknown;
  isSent = false;
  readonly #path: string;
  readonly #input: string;
  readonly #reader: Reader;
  readonly #place: Place;
  /** It was sent on some connection. */
  #hasBegun = false;
  /** It was left since something new has come. */
  #wasLeft = false;
  /** The number of items that the server may still send. */
  #credit = 0;

  constructor(path: string, input: string, after: Position | undefined, reader: Reader) {
    this.#path = path;
    this.#input = input;
    this.#place = new Place(after);
    this.#reader = reader;
  }

  write(id: number): string {
    const after = this.#place.position;
    if (this.#hasBegun && this.#place.isUnknown) this.#tell({ type: "gap", count: 0, cause: "reconnect" });
    this.#hasBegun = true;
    this.giveUp = "unsubscribe";
    this.share = undefined;
    this.#credit = 0;
    const credit = this.grant();
    const frame = { id: `${id}`, path: this.#path, after, credit, shared: true };
    return encode("subscribe", frame, "input", this.#input);
  }

  handle(frame: Incoming): Outcome {
    const { type } = frame;
    if (type === "error") {
      this.fail(decodeError(frame.error));
      return "over";
    }
    // It was left: of what was on its way only the end matters.
    if (!this.giveUp) return type === "complete" ? "again" : "on";
    if (type === "complete") {
      this.fail();
      return "over";
    }
    if (type === "subscribed") this.#begin(frame);
    if (type === "gap") return this.#skip(gapOf(frame));
    return type === "data" ? this.#take(frame) : "on";
  }

  fail(error?: RealtimeError): void {
    this.#reader.finish(error);
  }

  grant(): number {
    const more = Math.max(0, WINDOW - this.#credit - this.#reader.held);
    this.#credit += more;
    return more;
  }

  #begin(frame: Incoming): void {
    const [topic, position] = [text(frame.topic), positionOf(frame)];
    if (topic === undefined || !position) return;
    const resumed = typeof frame.resumed === "boolean" ? frame.resumed : undefined;
    this.share = frame.shared === true ? topic : undefined;
    this.#place.begin(position, resumed, frame.state === true);
    this.#tell({ type: "begun", topic, position, resumed });
  }

  /** Adds an item. One that was not granted ends the subscription. */
  #take(frame: Incoming): Outcome {
    if (this.#credit === 0) {
      this.fail(exhausted("the server sent more items than it was granted"));
      return "refused";
    }
    this.#credit -= 1;
    const position = positionOf(frame);
    const steps = this.#place.take(position);
    if (steps > 1) return this.#leave();
    if (steps === 1) this.#tell({ type: "item", value: frame.data ?? null, position });
    // Nobody takes one that has come before, and the server would run out of credit.
    return steps < 1 && this.#credit + this.#reader.held < WINDOW / 2 ? "credit" : "on";
  }

  #skip(gap: Gap): Outcome {
    const steps = this.#place.skip(gap);
    if (steps > 1) return this.#leave();
    if (steps === 1) this.#tell({ type: "gap", ...gap });
    return "on";
  }

  /** Has it begin again behind its place. A server that leaves out the same again would do so for ever. */
  #leave(): Outcome {
    if (this.#wasLeft) {
      this.fail(new RealtimeError("INTERNAL", "the server left out entries of the feed"));
      return "refused";
    }
    this.#wasLeft = true;
    this.giveUp = undefined;
    this.share = undefined;
    return "leave";
  }

  #tell(update: Received): void {
    if (update.type !== "begun") this.#wasLeft = false;
    this.#reader.push(update, this.#place.position);
  }
}

/** The number of items that may be on their way or wait for the reader. */
export const WINDOW = 64;
