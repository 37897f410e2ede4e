import {
  authorization,
  type DialRequest,
  type Environment,
  type Feature,
  httpUrl,
  type Socket,
  type SocketEvents,
  SUBPROTOCOL,
} from "../environment.js";
import { EventParser, type StreamEvent } from "./events.js";

/**
 * A socket made of requests by HTTP, each of which stands by itself: calls are `POST`s, subscriptions streams of
 * server-sent events. Where one is lost, all are, and the client connects again.
 */
export class HttpSocket implements Socket {
  readonly bufferedAmount = 0;
  readonly lacks: ReadonlySet<Feature> = new Set(["send", "emit", "answer"]);
  readonly #environment: Environment;
  readonly #request: DialRequest;
  readonly #events: SocketEvents;
  readonly #over = new AbortController();
  readonly #running = new Map<string, Running>();

  constructor(environment: Environment, request: DialRequest, events: SocketEvents) {
    this.#environment = environment;
    this.#request = request;
    this.#events = events;
    this.#open();
  }

  send(text: string): void {
    const frame = JSON.parse(text) as Frame;
    switch (frame.type) {
      case "call":
        this.#run(frame, (running) => this.#call(frame, running));
        break;
      case "subscribe":
        this.#run(frame, (running) => this.#subscribe(frame, running));
        break;
      case "cancel":
      case "unsubscribe":
        this.#running.get(frame.id)?.controller.abort();
        this.#running.delete(frame.id);
        break;
      case "credit":
        this.#running.get(frame.id)?.grant(frame.more);
        break;
      case "ping":
        this.#guard(this.#probe().then(() => this.#say({ type: "pong" })));
        break;
      case "event":
      case "message":
        queueMicrotask(() => this.#refuse(`a ${frame.type} needs a WebSocket`));
    }
  }

  close(code = 1000, reason = ""): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    queueMicrotask(() => this.#events.onClose(code, reason));
  }

  async #open(): Promise<void> {
    await this.#guard(
      this.#probe().then(() => {
        if (this.#over.signal.aborted) return;
        this.#events.onOpen(SUBPROTOCOL);
        this.#say({ type: "welcome", connection: "http" });
      }),
    );
  }

  /** Fails where the server does not answer, or would not let the client in. */
  async #probe(): Promise<void> {
    const { status } = await this.#environment.probe(this.#request, this.#over.signal);
    if (![204, 405, 426].includes(status)) throw new Error(`refused with ${status}`);
  }

  #run(frame: Frame, run: (running: Running) => Promise<void>): void {
    const running = new Running(frame.credit ?? 0);
    this.#over.signal.addEventListener("abort", () => running.controller.abort(), { signal: running.signal });
    this.#running.set(frame.id, running);
    const done = run(running).finally(() => {
      if (this.#running.get(frame.id) === running) this.#running.delete(frame.id);
      running.controller.abort();
    });
    this.#guard(done, running.signal);
  }

  async #call({ id, path, input, timeoutMs, idempotencyKey }: Frame, { signal }: Running): Promise<void> {
    const response = await fetch(httpUrl(this.#request), {
      method: "POST",
      headers: { ...authorization(this.#request), "content-type": "application/json" },
      body: JSON.stringify({ path, input, timeoutMs, idempotencyKey }),
      credentials: "include",
      signal,
    });
    const { ok, data, error } = (await response.json()) as { ok: boolean; data: unknown; error: unknown };
    if (!signal.aborted) this.#say(ok ? { type: "result", id, data } : { type: "error", id, error });
  }

  async #subscribe({ id, path, input, after }: Frame, running: Running): Promise<void> {
    const url = new URL(httpUrl(this.#request));
    url.searchParams.set("path", path);
    url.searchParams.set("input", JSON.stringify(input));
    const position = after && { "last-event-id": `${after.epoch}:${after.offset}` };
    const headers = { ...authorization(this.#request), ...position, accept: "text/event-stream" };
    const first = this.#silence(FIRST_BYTE, running);
    const response = await fetch(url, {
      headers,
      credentials: "include",
      cache: "no-store",
      signal: running.signal,
    });
    first();
    if (response.status !== 200 || !response.body) {
      const { error } = (await response.json()) as { error: unknown };
      return this.#say({ type: "error", id, error });
    }
    await this.#read(id, response.body, running);
  }

  async #read(id: string, body: ReadableStream<Uint8Array>, running: Running): Promise<void> {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    const parser = new EventParser();
    for (;;) {
      const heard = this.#silence(SILENCE, running);
      const { done, value } = await reader.read();
      heard();
      if (done) throw new Error("a stream has no end of its own");
      for (const event of parser.push(decoder.decode(value, { stream: true }))) {
        if (isItem(event)) await running.take();
        if (running.signal.aborted) return;
        this.#say(frameOf(id, event));
        if (event.name === "complete" || event.name === "error") return;
      }
    }
  }

  /** Takes a proxy that holds bytes back for a lost connection; returns what ends the wait. */
  #silence(ms: number, running: Running): () => void {
    const stop = this.#environment.after(ms, () => this.#lose());
    running.signal.addEventListener("abort", stop, { once: true });
    return () => {
      stop();
      running.signal.removeEventListener("abort", stop);
    };
  }

  /** Takes a failure for a lost connection, unless the work was given up. */
  async #guard(work: Promise<void>, signal = this.#over.signal): Promise<void> {
    try {
      await work;
    } catch (error) {
      const wasGivenUp = signal.aborted && error instanceof DOMException && error.name === "AbortError";
      if (!wasGivenUp) this.#lose();
    }
  }

  #refuse(message: string): void {
    this.#say({ type: "error", error: { code: "UNIMPLEMENTED", message } });
  }

  #lose(): void {
    this.close(1006);
  }

  #say(frame: object): void {
    if (!this.#over.signal.aborted) this.#events.onMessage(JSON.stringify(frame));
  }
}

interface Frame {
  readonly type: string;
  readonly id: string;
  readonly path: string;
  readonly input: unknown;
  readonly timeoutMs?: number;
  readonly idempotencyKey?: string;
  readonly after?: { readonly epoch: string; readonly offset: number | string };
  readonly credit?: number;
  readonly more: number;
}

/** One request that runs, and how many items its stream may still give. */
class Running {
  readonly controller = new AbortController();
  #credit: number;
  #wake = (): void => {};

  constructor(credit: number) {
    this.#credit = credit;
    this.signal.addEventListener("abort", () => this.#wake());
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  grant(more: number): void {
    this.#credit += more;
    this.#wake();
  }

  /** Waits until one more item may be given. */
  async take(): Promise<void> {
    while (this.#credit === 0 && !this.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#credit -= 1;
  }
}

function isItem({ name }: StreamEvent): boolean {
  return name !== "gap" && name !== "complete" && name !== "error";
}

function frameOf(id: string, { name, data, id: place = "", hasRetry }: StreamEvent): object {
  // It says when to come back: it is a refusal that may pass.
  if (name === "error" && hasRetry) throw new Error("refused for now");
  const value: unknown = JSON.parse(data);
  if (name === "error") return { type: "error", id, error: value };
  if (name === "complete") return { type: "complete", id };
  if (name === "gap") return { ...(value as object), type: "gap", id };
  const colon = place.lastIndexOf(":");
  if (colon < 0) return { type: "data", id, data: value };
  const digits = place.slice(colon + 1);
  const offset = Number.isSafeInteger(Number(digits)) ? Number(digits) : digits;
  return { type: "data", id, data: value, epoch: place.slice(0, colon), offset };
}

/** Even a slow server begins a stream with a comment. */
const FIRST_BYTE = 5_000;

/** Twice the interval of the server's comments. */
const SILENCE = 30_000;
