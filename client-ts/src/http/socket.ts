import {
  type DialRequest,
  type Environment,
  type Feature,
  type Socket,
  type SocketEvents,
  SUBPROTOCOL,
} from "../environment.js";
import { closeOf, frames, post, Refused } from "./requests.js";
import { type Owner, type Subscribe, Subscriptions } from "./subscriptions.js";

/**
 * A socket made of requests by HTTP, each of which stands by itself, so that any node of the server may take it: calls
 * and events are `POST`s; what the server sends by itself comes by one stream, and all subscriptions by another. Where
 * one is lost, all are, and the client connects again.
 */
export class HttpSocket implements Socket, Owner {
  readonly environment: Environment;
  readonly request: DialRequest;
  /** Of events that wait for those before them. */
  bufferedAmount = 0;
  readonly lacks: ReadonlySet<Feature> = new Set(["send", "answer", "progress"]);
  readonly #events: SocketEvents;
  readonly #over = new AbortController();
  readonly #listening = new AbortController();
  readonly #calls = new Map<string, AbortController>();
  readonly #subscriptions = new Subscriptions(this);
  /** The events that were emitted so far: the server would handle two at once in any order. */
  #emitted: Promise<void> = Promise.resolve();
  #phase: "open" | "retired" | "closed" | "lost" = "open";

  constructor(environment: Environment, request: DialRequest, events: SocketEvents) {
    this.environment = environment;
    this.request = request;
    this.#events = events;
    this.#guard(this.#listen());
  }

  send(text: string): void {
    const frame: Frame = JSON.parse(text);
    if (frame.type === "cancel") return this.#calls.get(frame.id)?.abort();
    if (this.#phase !== "open") return;
    switch (frame.type) {
      case "call":
        this.#guard(this.#call(frame));
        break;
      case "subscribe":
        this.#subscriptions.add(frame);
        break;
      case "unsubscribe":
        this.#subscriptions.remove(frame.id);
        queueMicrotask(() => this.say({ type: "complete", id: frame.id }));
        break;
      case "credit":
        this.#subscriptions.grant(frame.id, frame.more);
        break;
      case "event":
        this.bufferedAmount += text.length;
        this.#emitted = this.#emitted.then(() => this.#emit(frame, text.length));
        break;
      case "ping":
        this.#guard(this.#ping());
        break;
      case "message": {
        const error = { code: "UNIMPLEMENTED", message: "a message needs a WebSocket" };
        queueMicrotask(() => this.say({ type: "error", error }));
      }
    }
  }

  retire(): void {
    if (this.#phase !== "open") return;
    this.#phase = "retired";
    this.#listening.abort();
    this.#subscriptions.end();
    this.#rest();
  }

  /** Events that were emitted before are still sent. */
  close(code = 1000, reason = ""): void {
    this.#end("closed", () => this.#events.onClose(code, reason));
  }

  say(frame: object): void {
    if (!this.isOver) this.#events.onMessage(JSON.stringify(frame));
  }

  lose(error?: unknown): void {
    this.#end("lost", () => {
      if (error instanceof Refused) this.#events.onRefuse(error.refusal);
      else this.#events.onClose(1006, "");
    });
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  #end(phase: "closed" | "lost", tell: () => void): void {
    if (this.isOver) return;
    this.#phase = phase;
    this.#over.abort();
    this.#listening.abort();
    this.#subscriptions.end();
    for (const call of this.#calls.values()) call.abort();
    queueMicrotask(tell);
  }

  /** Reads what the server sends by itself. Its welcome is that of the connection. */
  async #listen(): Promise<void> {
    const { environment, request } = this;
    const { signal } = this.#listening;
    try {
      for await (const frame of frames({ environment, request, signal })) {
        const close = closeOf(frame);
        if (close) return this.close(...close);
        if (frame.type === "welcome") this.#events.onOpen(SUBPROTOCOL);
        this.say(frame);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (!signal.aborted) this.lose();
  }

  async #call({ id, type: _, ...call }: CallFrame): Promise<void> {
    const running = new AbortController();
    this.#calls.set(id, running);
    try {
      const response = await post(this.request, call, running.signal);
      const { ok, data, wrote, error }: Answer = await response.json();
      if (!running.signal.aborted)
        this.say(ok ? { type: "result", id, data, wrote } : { type: "error", id, error });
    } catch (error) {
      if (running.signal.aborted) return;
      if (this.#phase !== "retired") throw error;
      this.say({ type: "lost", id });
    } finally {
      this.#calls.delete(id);
      this.#rest();
    }
  }

  /** Sends an event, when those before it are handled. What a lost connection held is lost with it. */
  async #emit(event: object, size: number): Promise<void> {
    if (this.#phase !== "lost") await this.#guard(this.#postEvent(event));
    this.bufferedAmount -= size;
    this.#rest();
  }

  async #postEvent(event: object): Promise<void> {
    const response = await post(this.request, event);
    if (response.status === 204) return;
    const { error }: Answer = await response.json();
    this.say({ type: "error", error });
  }

  async #ping(): Promise<void> {
    const refusal = await this.environment.probe(this.request, this.#over.signal);
    if (refusal.status !== 204) throw new Refused(refusal);
    this.say({ type: "pong" });
  }

  /** Closes where nothing is left to be carried to its end. */
  #rest(): void {
    if (this.#phase === "retired" && this.#calls.size === 0 && this.bufferedAmount === 0) this.close();
  }

  /** Takes a failure for a lost connection; of one that is retired each request is on its own. */
  async #guard(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (this.#phase !== "retired") this.lose(error);
    }
  }
}

type Frame =
  | CallFrame
  | Subscribe
  | { readonly type: "cancel" | "unsubscribe"; readonly id: string }
  | { readonly type: "credit"; readonly id: string; readonly more: number }
  | { readonly type: "event" | "message" | "ping" };

interface CallFrame {
  readonly type: "call";
  readonly id: string;
}

/** The body of an answer by HTTP. */
interface Answer {
  readonly ok: boolean;
  readonly data: unknown;
  readonly wrote?: unknown;
  readonly error: unknown;
}
