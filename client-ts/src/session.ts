import { Calls, type Request } from "./calls.js";
import { closed, full, invalid, lost, offline, type RealtimeError, timedOut } from "./error.js";
import { Heartbeat } from "./heartbeat.js";
import type { Inbox } from "./inbox.js";
import { type Frame, type OfflineQueue, Queue } from "./queue.js";
import type { Cause } from "./state.js";
import { Subscriptions } from "./subscriptions.js";
import { encode, encodeError, type Incoming, type Position } from "./wire.js";

/** What the server wants of the application. */
export type Input =
  | Extract<Incoming, { type: "message" | "event" | "call" }>
  | { type: "cancel"; id: string }
  /** Something about the connection, or a message to its handler, is wrong. */
  | { type: "complaint"; error: RealtimeError };

/** What the server said in its welcome that the session goes by. */
export interface Terms {
  /** After how much silence to ping. */
  readonly pingAfterMs: number;
  /** How long to wait for the answer. */
  readonly pingTimeoutMs: number;
  /** How large a message the server takes, where it says so. */
  readonly messageBytes: number | undefined;
}

/**
 * A client's state without its connection: frames in, frames out, and the time is told. It knows no socket, no timer and
 * no page.
 *
 * One count gives the ids of calls and subscriptions and the places in the queue. An id is therefore never used twice,
 * and what is sent again on a new connection is sent in its first order.
 */
export class Session {
  #phase: "offline" | "open" | Cause = "offline";
  #last = 0;
  readonly #queue: Queue;
  readonly #calls = new Calls();
  readonly #subscriptions = new Subscriptions();
  #heartbeat: Heartbeat | undefined;
  #messageBytes = Number.POSITIVE_INFINITY;

  constructor(policy?: OfflineQueue) {
    this.#queue = new Queue(policy);
  }

  /** There is a connection. */
  open(now: number, terms: Terms): void {
    if (this.#phase !== "offline") return;
    this.#phase = "open";
    this.#heartbeat = new Heartbeat(now, terms.pingAfterMs, terms.pingTimeoutMs);
    this.#messageBytes = terms.messageBytes ?? this.#messageBytes;
  }

  /** There is none any more. */
  lose(): void {
    if (this.#phase !== "open") return;
    this.#phase = "offline";
    this.#heartbeat = undefined;
    for (const id of this.#queue.goOffline()) this.#calls.settle(id, offline());
    const { again, lost: ended } = this.#calls.unsend();
    for (const id of ended) this.#calls.settle(id, lost());
    // They were let in before: they do not count again.
    for (const id of again) this.#queue.insert(id, { kind: "call" }, 0);
    for (const id of this.#subscriptions.unsend()) this.#queue.insert(id, { kind: "subscribe" }, 0);
  }

  /** Ends everything that runs. While a connection is open, events and messages that wait can still be taken. */
  close(cause: Cause): void {
    if (typeof this.#phase === "object") return;
    if (this.#phase === "open") this.#queue.keepWritten();
    else this.#queue.clear();
    this.#phase = cause;
    this.#heartbeat = undefined;
    for (const id of this.#calls.ids) this.#calls.settle(id, closed(cause));
    for (const id of this.#subscriptions.ids) this.#subscriptions.end(id, closed(cause));
  }

  /** Takes a sign of life. */
  hear(now: number): void {
    this.#heartbeat?.hear(now);
  }

  /** Asks for a sign of life now. */
  ping(now: number, patience: number): void {
    this.#heartbeat?.ask(now, patience);
    this.#control(encode("ping", {}));
  }

  /** Takes a frame of the server's; returns what is for the application. */
  handleFrame(frame: Incoming): Input | undefined {
    switch (frame.type) {
      case "message":
      case "event":
      case "call":
        return frame;
      case "cancel":
        return { type: "cancel", id: frame.id };
      case "result":
        this.#calls.settle(own(frame.id), undefined, frame.data);
        return undefined;
      case "progress":
        this.#calls.progress(own(frame.id), frame.data);
        return undefined;
      case "data":
        this.#deliver(own(frame.id), frame.data, frame.position);
        return undefined;
      case "gap":
        this.#subscriptions.gap(own(frame.id), frame.gap);
        return undefined;
      case "complete":
        this.#subscriptions.end(own(frame.id), undefined);
        return undefined;
      case "error":
        if (frame.id === undefined) return { type: "complaint", error: frame.error };
        this.#fail(own(frame.id), frame.error);
        return undefined;
      default:
        return undefined;
    }
  }

  /** Does what is due. What the server has sent until now was handled before. Returns whether the connection lives. */
  handleTime(now: number): boolean {
    for (const [id, sent] of this.#calls.expired(now)) {
      this.#calls.settle(id, timedOut());
      this.#forget(id, sent, "cancel");
    }
    const silence = this.#heartbeat?.check(now);
    if (silence === "long") this.#control(encode("ping", {}));
    return silence !== "dead";
  }

  /** Whether the server takes what it is sent. */
  get isStuck(): boolean {
    return this.#queue.isOverfull;
  }

  /** When something is due, if nothing happens before. */
  get nextDeadline(): number {
    return Math.min(this.#calls.nextDeadline, this.#heartbeat?.nextDeadline ?? Number.POSITIVE_INFINITY);
  }

  /** The next frame that is to be sent. */
  takeFrame(now: number): string | undefined {
    for (;;) {
      const next = this.#queue.pop();
      if (!next) return undefined;
      const [id, frame] = next;
      const text = this.#write(id, frame, now);
      if (text === undefined) continue;
      const wrong = this.#checkSize(text);
      if (!wrong) return text;
      if (frame.kind === "call") this.#calls.settle(id, wrong);
      else if (frame.kind === "subscribe") this.#subscriptions.end(id, wrong);
      else console.warn(wrong.message);
    }
  }

  /** Makes a call, now or when there is a connection. Returns its id; throws where nothing more may wait. */
  call(request: Request): number {
    const cost = byteLength(request.path) + byteLength(request.input) + OVERHEAD;
    this.#admit(cost);
    const id = this.#next();
    this.#calls.add(id, request);
    this.#queue.insert(id, { kind: "call" }, cost);
    return id;
  }

  /** Nobody waits for the answer any more. */
  dropCall(id: number): void {
    this.#forget(id, this.#calls.drop(id), "cancel");
  }

  /** Begins a subscription, now or when there is a connection. Returns its id; throws if the client is closed. */
  subscribe(path: string, input: string, after: Position | undefined, inbox: Inbox): number {
    this.#checkOpen();
    const id = this.#next();
    this.#subscriptions.add(id, path, input, after, inbox);
    this.#queue.insert(id, { kind: "subscribe" }, 0);
    return id;
  }

  /** Nobody reads it any more. */
  dropSubscription(id: number): void {
    this.#forget(id, this.#subscriptions.drop(id), "unsubscribe");
  }

  /** Its reader has taken items: lets the server send more. */
  grant(id: number): void {
    const more = this.#subscriptions.grant(id);
    if (more > 0) this.#control(encode("credit", { id: `${id}`, more }));
  }

  /** Sends an event or a message, now or when there is a connection. Throws where nothing more may wait. */
  send(text: string): void {
    const wrong = this.#checkSize(text);
    if (wrong) throw wrong;
    const cost = byteLength(text) + OVERHEAD;
    this.#admit(cost);
    this.#queue.insert(this.#next(), { kind: "data", text }, cost);
  }

  /** Answers a call of the server's, which came on the present connection. `output` is in JSON. */
  answer(id: string, error: RealtimeError | undefined, output?: string): void {
    if (this.#phase !== "open") return;
    let text = error
      ? encode("error", { id, error: encodeError(error) })
      : encode("result", { id }, "data", output);
    const wrong = this.#checkSize(text);
    if (wrong) text = encode("error", { id, error: encodeError(wrong) });
    this.#queue.insert(this.#next(), { kind: "control", text }, byteLength(text) + OVERHEAD);
  }

  #write(id: number, frame: Frame, now: number): string | undefined {
    if (frame.kind === "call") return this.#calls.send(id, now);
    if (frame.kind === "subscribe") return this.#subscriptions.send(id);
    return frame.text;
  }

  #fail(id: number, error: RealtimeError): void {
    if (this.#subscriptions.has(id)) this.#subscriptions.end(id, error);
    else this.#calls.settle(id, error);
  }

  #deliver(id: number, value: unknown, position: Position | undefined): void {
    if (!this.#subscriptions.item(id, value, position)) this.#control(encode("unsubscribe", { id: `${id}` }));
  }

  #forget(id: number, sent: boolean | undefined, frame: string): void {
    if (sent) this.#control(encode(frame, { id: `${id}` }));
    else if (sent === false) this.#queue.remove(id);
  }

  #control(text: string): void {
    if (this.#phase === "open") this.#queue.insert(this.#next(), { kind: "control", text }, 0);
  }

  #admit(cost: number): void {
    this.#checkOpen();
    const dropped = this.#queue.admit(cost, this.#phase === "open");
    if (dropped === "off") throw offline();
    if (dropped === "full") throw full();
    for (const id of dropped) this.#calls.settle(id, full());
  }

  #checkOpen(): void {
    if (typeof this.#phase === "object") throw closed(this.#phase);
  }

  #checkSize(text: string): RealtimeError | undefined {
    // Up to a third of it has no more bytes than it may have, whatever its characters are.
    if (text.length <= this.#messageBytes / 3) return undefined;
    const bytes = byteLength(text);
    if (bytes <= this.#messageBytes) return undefined;
    return invalid(`a message of ${bytes} bytes is more than the server takes, ${this.#messageBytes}`);
  }

  #next(): number {
    this.#last += 1;
    return this.#last;
  }
}

/** The number in an id, if it is one of ours: "+1" and "01" are numbers too, and not what was sent. */
function own(id: string): number {
  const number = Number(id);
  return `${number}` === id ? number : 0;
}

function byteLength(text: string): number {
  return UTF_8.encode(text).length;
}

const UTF_8 = new TextEncoder();

/** What a frame costs beside its values. */
const OVERHEAD = 64;
