import {
  type DialRequest,
  type Environment,
  type Feature,
  type Socket,
  type SocketEvents,
  SUBPROTOCOL,
} from "../environment.js";
import { frames, post } from "./requests.js";
import { type Owner, type Subscribe, Subscriptions } from "./subscriptions.js";

/**
 * A socket made of requests by HTTP, each of which stands by itself, so that any node of the server may take it: calls
 * and events are `POST`s; what the server sends by itself comes by one stream, and all subscriptions by another. Where
 * one is lost, all are, and the client connects again.
 */
export class HttpSocket implements Socket, Owner {
  readonly environment: Environment;
  readonly request: DialRequest;
  readonly bufferedAmount = 0;
  readonly lacks: ReadonlySet<Feature> = new Set(["send", "answer"]);
  readonly #events: SocketEvents;
  readonly #over = new AbortController();
  readonly #calls = new Map<string, AbortController>();
  readonly #subscriptions = new Subscriptions(this);

  constructor(environment: Environment, request: DialRequest, events: SocketEvents) {
    this.environment = environment;
    this.request = request;
    this.#events = events;
    this.#guard(this.#listen());
  }

  send(text: string): void {
    const frame: Frame = JSON.parse(text);
    switch (frame.type) {
      case "call":
        this.#guard(this.#call(frame));
        break;
      case "cancel":
        this.#calls.get(frame.id)?.abort();
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
        this.#guard(this.#emit(frame));
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

  close(code = 1000, reason = ""): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#subscriptions.end();
    for (const call of this.#calls.values()) call.abort();
    queueMicrotask(() => this.#events.onClose(code, reason));
  }

  say(frame: object): void {
    if (!this.#over.signal.aborted) this.#events.onMessage(JSON.stringify(frame));
  }

  lose(): void {
    this.close(1006);
  }

  /** Reads what the server sends by itself. Its welcome is that of the connection. */
  async #listen(): Promise<void> {
    const { environment, request } = this;
    for await (const frame of frames({ environment, request, signal: this.#over.signal })) {
      if (frame.type === "welcome") this.#events.onOpen(SUBPROTOCOL);
      this.say(frame);
    }
    this.lose();
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
      if (!running.signal.aborted) throw error;
    } finally {
      this.#calls.delete(id);
    }
  }

  async #emit(event: object): Promise<void> {
    // Not aborted by a close, before which it was emitted.
    const response = await post(this.request, event);
    if (response.status === 204) return;
    const { error }: Answer = await response.json();
    this.say({ type: "error", error });
  }

  async #ping(): Promise<void> {
    const { status } = await this.environment.probe(this.request, this.#over.signal);
    if (status !== 204) throw new Error(`refused with ${status}`);
    this.say({ type: "pong" });
  }

  /** Takes a failure for a lost connection. */
  async #guard(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch {
      this.lose();
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
