import { closed, full, invalid, lost, offline, type RealtimeError, timedOut } from "./error.js";
import { Heartbeat, NEVER } from "./heartbeat.js";
import { Call, type Operation, type Outbox, type Request } from "./operations.js";
import { type Frame, type OfflineQueue, Queue } from "./queue.js";
import type { Cause } from "./state.js";
import { byteLength, encode, type Incoming } from "./wire.js";

/** The terms of one connection. */
export interface Terms {
  /** The silence after which to ping. */
  readonly pingAfterMs: number;
  /** The time for the answer. */
  readonly pingTimeoutMs: number;
  /** The largest message that the server takes, where it says so. */
  readonly messageBytes: number | undefined;
}

/**
 * A client's state without its connection: frames in, frames out, and the time is told. It knows no socket, no timer and
 * no page.
 *
 * One count gives the ids of calls and subscriptions and the places in the queue. An id is therefore never used twice,
 * and what is sent again on a new connection is sent in its first order.
 */
export class Session implements Outbox {
  #phase: "offline" | "open" | Cause = "offline";
  #last = 0;
  readonly queue: Queue;
  readonly #operations = new Map<number, Operation>();
  /** No deadline of them is earlier. */
  #earliest = NEVER;
  #heartbeat: Heartbeat | undefined;
  #messageBytes = NEVER;

  constructor(policy?: OfflineQueue) {
    this.queue = new Queue(policy);
  }

  /** There is a connection. */
  open(now: number, { pingAfterMs, pingTimeoutMs, messageBytes = this.#messageBytes }: Terms): void {
    this.#phase = "open";
    this.#heartbeat = new Heartbeat(now, pingAfterMs, pingTimeoutMs);
    this.#messageBytes = messageBytes;
  }

  /** There is none any more. */
  lose(): void {
    if (this.#phase !== "open") return;
    this.#phase = "offline";
    this.#heartbeat = undefined;
    for (const id of this.queue.goOffline()) this.#fail(id, offline());
    this.loseEach(({ isSent, carrier }) => isSent && !carrier);
  }

  /** The connection that carries these is gone. */
  loseEach(isLost: (operation: Operation) => boolean): void {
    for (const [id, operation] of [...this.#operations]) {
      if (isLost(operation)) this.#lose(id, operation);
    }
  }

  /** Ends everything that runs. While a connection is open, events and messages that wait can still be taken. */
  close(cause: Cause): void {
    if (typeof this.#phase === "object") return;
    const wasOpen = this.#phase === "open";
    this.#phase = cause;
    this.#heartbeat = undefined;
    this.queue.keep(({ operation }) => wasOpen && !operation);
    for (const id of [...this.#operations.keys()]) this.#fail(id, closed(cause));
  }

  /** Takes a sign of life. */
  hear(now: number): void {
    this.#heartbeat?.hear(now);
  }

  /** Asks for a sign of life now. */
  ping(now: number, patience?: number): void {
    this.#heartbeat?.ask(now, patience);
    this.control(encode("ping", {}));
  }

  /** Takes a frame of the server's that is about a call or a subscription. */
  handleFrame(frame: Incoming): void {
    const id = this.#find(frame);
    const operation = this.#operations.get(id);
    if (!operation?.isSent) return;
    // Said by a fallback of a call that it carried to no end.
    if (frame.type === "lost" && operation.carrier) return this.#lose(id, operation);
    if (operation.handle(frame, this)) this.#operations.delete(id);
  }

  /** Does what is due. What the server has sent until now was handled before. Returns whether the connection lives. */
  handleTime(now: number): boolean {
    this.#expire(now);
    const silence = this.#heartbeat?.check(now);
    if (silence === "long") this.ping(now);
    return silence !== "dead";
  }

  /** The next time at which something is due: never too late, and too early where a call has ended meanwhile. */
  get nextDeadline(): number {
    return Math.min(this.#operations.size ? this.#earliest : NEVER, this.#heartbeat?.nextDeadline ?? NEVER);
  }

  /** The next frame that is to be sent. */
  takeFrame(now: number): string | undefined {
    for (;;) {
      const next = this.queue.pop();
      if (!next) return undefined;
      const text = this.#write(...next, now);
      if (text !== undefined) return text;
    }
  }

  /** Makes a call, now or when there is a connection. Returns its id; throws where nothing more may wait. */
  call(request: Request): number {
    const cost = costOf(request.path + request.input);
    this.#admit(cost);
    this.#earliest = Math.min(this.#earliest, request.deadline);
    return this.#add(new Call(request), cost);
  }

  /** Begins a subscription, now or when there is a connection. Returns its id; throws if the client is closed. */
  subscribe(stream: Operation): number {
    this.#checkOpen();
    return this.#add(stream, 0);
  }

  /** Nobody waits for the answer, or reads the items, any more. */
  drop(id: number): void {
    const operation = this.#operations.get(id);
    this.#operations.delete(id);
    if (operation?.isSent) operation.giveUp && this.control(encode(operation.giveUp, { id: `${id}` }));
    else this.queue.remove(id);
  }

  /** Sends an event or a message, now or when there is a connection. Throws where nothing more may wait. */
  send(text: string): void {
    const wrong = this.#checkSize(text);
    if (wrong) throw wrong;
    const cost = costOf(text);
    this.#admit(cost);
    this.queue.insert(this.#next(), { text, cost });
  }

  /** Answers a call of the server's, which came on the present connection. Returns what is wrong with the answer. */
  reply(text: string): RealtimeError | undefined {
    const wrong = this.#checkSize(text);
    if (!wrong) this.control(text, costOf(text));
    return wrong;
  }

  control(text: string, cost = 0): void {
    if (this.#phase === "open") this.queue.insert(this.#next(), { text, cost, isControl: true });
  }

  again(id: number, operation: Operation): void {
    operation.isSent = false;
    // It was let in before: it does not count again.
    this.queue.insert(id, { operation, cost: 0 });
  }

  /** The operation that a frame is about; an item may come under the name of its feed. */
  #find({ id, type, topic }: Incoming): number {
    if (typeof id === "string" || type !== "data") return own(id);
    for (const [id, { share }] of this.#operations) if (share !== undefined && share === topic) return id;
    return 0;
  }

  #add(operation: Operation, cost: number): number {
    const id = this.#next();
    this.#operations.set(id, operation);
    this.queue.insert(id, { operation, cost });
    return id;
  }

  #write(id: number, { operation, text }: Frame, now: number): string | undefined {
    const written = operation ? operation.write(id, now) : text;
    if (written === undefined) return undefined;
    const wrong = this.#checkSize(written);
    if (!wrong) {
      if (operation) operation.isSent = true;
      return written;
    }
    if (operation) this.#fail(id, wrong);
    else console.warn(wrong.message);
    return undefined;
  }

  #expire(now: number): void {
    if (now < this.#earliest) return;
    this.#earliest = NEVER;
    for (const [id, operation] of [...this.#operations]) {
      if (operation.deadline > now) {
        this.#earliest = Math.min(this.#earliest, operation.deadline);
      } else {
        this.drop(id);
        operation.fail(timedOut());
      }
    }
  }

  #lose(id: number, operation: Operation): void {
    operation.carrier = undefined;
    if (operation.isRepeatable) this.again(id, operation);
    else this.#fail(id, lost());
  }

  #fail(id: number, error: RealtimeError): void {
    const operation = this.#operations.get(id);
    this.#operations.delete(id);
    operation?.fail(error);
  }

  #admit(cost: number): void {
    this.#checkOpen();
    const dropped = this.queue.admit(cost, this.#phase === "open");
    if (dropped === "off") throw offline();
    if (dropped === "full") throw full();
    for (const id of dropped) this.#fail(id, full());
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
function own(id: unknown): number {
  const number = Number(id);
  return `${number}` === id ? number : 0;
}

function costOf(text: string): number {
  return byteLength(text) + OVERHEAD;
}

/** The cost of a frame beside its values. */
const OVERHEAD = 64;
