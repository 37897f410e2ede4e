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
  /** Takes a frame that came for it. Returns true if it is over. */
  handle(frame: Incoming, outbox: Outbox): boolean;
  /** It has ended without the server. */
  fail(error: RealtimeError): void;
}

/** The part of a session with which an operation sends. */
export interface Outbox {
  /** Sends a frame that is of use on the present connection only. */
  control(text: string): void;
  /** Sends the operation again, at its place in the order. */
  again(id: number, operation: Operation): void;
}

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

  handle({ type, data = null, error, wrote }: Incoming): boolean {
    if (type === "progress") this.#request.onProgress(data);
    if (type === "error") this.#request.onEnd(decodeError(error));
    if (type === "result") this.#request.onEnd(undefined, data, wroteOf(wrote));
    return type === "error" || type === "result";
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
  #id = 0;
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
    this.#id = id;
    this.giveUp = "unsubscribe";
    this.share = undefined;
    this.#credit = 0;
    const credit = this.#allow();
    const frame = { id: `${id}`, path: this.#path, after, credit, shared: true };
    return encode("subscribe", frame, "input", this.#input);
  }

  handle(frame: Incoming, outbox: Outbox): boolean {
    const { type } = frame;
    if (type === "error") return this.#end(decodeError(frame.error));
    if (!this.giveUp) {
      // It was left: of what was on its way only the end matters.
      if (type === "complete") outbox.again(this.#id, this);
      return false;
    }
    if (type === "complete") return this.#end();
    if (type === "subscribed") this.#begin(frame);
    if (type === "gap") return this.#skip(gapOf(frame), outbox);
    return type === "data" && this.#take(frame, outbox);
  }

  fail(error?: RealtimeError): void {
    this.#reader.finish(error);
  }

  /** The reader has taken items: lets the server send more. */
  grant(outbox: Outbox): void {
    const more = this.isSent ? this.#allow() : 0;
    if (more > 0) outbox.control(encode("credit", { id: `${this.#id}`, more }));
  }

  /** Returns how many more items the server may send. */
  #allow(): number {
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
  #take(frame: Incoming, outbox: Outbox): boolean {
    if (this.#credit === 0)
      return this.#refuse(exhausted("the server sent more items than it was granted"), outbox);
    this.#credit -= 1;
    const position = positionOf(frame);
    const steps = this.#place.take(position);
    if (steps > 1) return this.#leave(outbox);
    if (steps === 1) this.#tell({ type: "item", value: frame.data ?? null, position });
    // Nobody takes one that has come before, and the server would run out of credit.
    if (steps < 1 && this.#credit + this.#reader.held < WINDOW / 2) this.grant(outbox);
    return false;
  }

  #skip(gap: Gap, outbox: Outbox): boolean {
    const steps = this.#place.skip(gap);
    if (steps > 1) return this.#leave(outbox);
    if (steps === 1) this.#tell({ type: "gap", ...gap });
    return false;
  }

  /** Has it begin again behind its place. A server that leaves out the same again would do so for ever. */
  #leave(outbox: Outbox): boolean {
    if (this.#wasLeft) {
      return this.#refuse(new RealtimeError("INTERNAL", "the server left out entries of the feed"), outbox);
    }
    this.#wasLeft = true;
    this.giveUp = undefined;
    this.share = undefined;
    this.#unsubscribe(outbox);
    return false;
  }

  /** Ends it for what the server sent: the server does not know. */
  #refuse(error: RealtimeError, outbox: Outbox): boolean {
    this.#unsubscribe(outbox);
    return this.#end(error);
  }

  #unsubscribe(outbox: Outbox): void {
    outbox.control(encode("unsubscribe", { id: `${this.#id}` }));
  }

  #end(error?: RealtimeError): boolean {
    this.fail(error);
    return true;
  }

  #tell(update: Received): void {
    if (update.type !== "begun") this.#wasLeft = false;
    this.#reader.push(update, this.#place.position);
  }
}

/** The number of items that may be on their way or wait for the reader. */
export const WINDOW = 64;
