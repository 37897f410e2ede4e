import { SUBPROTOCOL } from "../environment.js";
import type { DialRequest, Environment, PageSignal, Probe, Socket, SocketEvents } from "../index.js";

/** A frame of the protocol. */
export type Frame = { readonly type: string; readonly [field: string]: unknown };

/**
 * A network between clients and the server that a test plays, with a clock that stands still until the test moves it.
 *
 * ```ts
 * const network = new TestNetwork();
 * const client = connect(endpoint, { environment: network.environment });
 * const sum = client.call(api.add, 5);
 * const server = await network.accept();
 * const { id } = await server.next();
 * server.send({ type: "result", id, data: 5 });
 * await sum;
 * ```
 */
export class TestNetwork {
  /** To be passed to `connect`. */
  readonly environment: Environment;
  /** All requests for a connection so far. */
  readonly requests: DialRequest[] = [];
  /** The part of the longest delay that a client waits before it connects again, from 0 to 1. */
  random = 1;
  /** True while nobody answers requests for a connection. */
  isDown = false;
  #now = 1_000;
  #timers = new Set<Timer>();
  readonly #dialed: TestServer[] = [];
  readonly #servers = new WeakMap<DialRequest, TestServer>();
  readonly #watchers = new Set<(signal: PageSignal) => void>();

  constructor() {
    this.environment = {
      now: () => this.#now,
      after: (ms, run) => this.#after(ms, run),
      random: () => this.random,
      dial: (request, events) => this.#dial(request, events),
      probe: async (request) => {
        const answer = this.#servers.get(request)?.refusal;
        if (answer) return answer;
        throw new Error("nobody answers");
      },
      watch: (listener) => this.#watch(listener),
    };
  }

  /** The time on the clock, in milliseconds. */
  get now(): number {
    return this.#now;
  }

  /** The number of timers that are set, and of clients that watch the page. */
  get leftovers(): { timers: number; watchers: number } {
    return { timers: this.#timers.size, watchers: this.#watchers.size };
  }

  /** Lets the time pass. Timers run when they are due, and all that follows from one before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (let timer = this.#next(end); timer; timer = this.#next(end)) {
      this.#now = Math.max(this.#now, timer.due);
      this.#timers.delete(timer);
      timer.run();
      await settle();
    }
    this.#now = end;
  }

  /** Lets the time pass without anything running, as when a laptop sleeps. */
  sleep(ms: number): void {
    this.#now += ms;
  }

  /** The next connection, before anything was said on it. Waits for it, up to an hour. */
  async dialed(): Promise<TestServer> {
    const end = this.#now + HOUR;
    await settle();
    for (;;) {
      const server = this.#dialed.shift();
      if (server) return server;
      const timer = this.#next(end);
      if (!timer) throw new Error("no client connects");
      await this.advance(timer.due - this.#now);
    }
  }

  /** The next connection, welcomed as `connection`. */
  async accept(connection = "c", more: object = {}): Promise<TestServer> {
    const server = await this.dialed();
    server.open();
    server.send({ type: "welcome", connection, heartbeatMs: 25_000, ...more });
    await settle();
    return server;
  }

  /** Tells all clients what happens to the page. */
  async signal(signal: PageSignal): Promise<void> {
    for (const watcher of [...this.#watchers]) watcher(signal);
    await settle();
  }

  #after(ms: number, run: () => void): () => void {
    const timer = { due: this.#now + ms, run };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  #next(end: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.due <= end && (!next || timer.due < next.due)) next = timer;
    }
    return next;
  }

  #dial(request: DialRequest, events: SocketEvents): Socket {
    this.requests.push(request);
    const server = new TestServer(request, events);
    this.#servers.set(request, server);
    if (this.isDown) server.lose();
    else this.#dialed.push(server);
    return server.socket;
  }

  #watch(listener: (signal: PageSignal) => void): () => void {
    this.#watchers.add(listener);
    return () => {
      this.#watchers.delete(listener);
    };
  }
}

/** The server's side of one connection. */
export class TestServer {
  /** The client's request. */
  readonly request: DialRequest;
  /** The client's side. */
  readonly socket: Socket & { bufferedAmount: number };
  /** The code of the client's close frame, once it came. */
  closeCode: number | undefined;
  /** The refusal of the request, if it was refused. */
  refusal: Probe | undefined;
  /** True if the client's close frame is answered. */
  answersClose = true;
  readonly #events: SocketEvents;
  readonly #received: Frame[] = [];
  #isOver = false;

  constructor(request: DialRequest, events: SocketEvents) {
    this.request = request;
    this.#events = events;
    this.socket = {
      bufferedAmount: 0,
      send: (text) => {
        if (!this.#isOver) this.#received.push(JSON.parse(text));
      },
      close: (code, reason) => this.#onClose(code, reason),
    };
  }

  /** Answers the request. */
  open(protocol: string = SUBPROTOCOL): void {
    this.#tell(() => this.#events.onOpen(protocol));
  }

  /** Refuses the request. */
  refuse(status: number, retryAfterMs?: number): void {
    this.refusal = { status, ...(retryAfterMs !== undefined && { retryAfterMs }) };
    this.lose();
  }

  /** Sends a frame. */
  send(frame: Frame): void {
    this.sendRaw(JSON.stringify(frame));
  }

  /** Sends a message as it is. */
  sendRaw(data: unknown): void {
    this.#tell(() => this.#events.onMessage(data));
  }

  /** Closes. */
  close(code: number, reason = ""): void {
    this.#tell(() => {
      this.#isOver = true;
      this.#events.onClose(code, reason);
    });
  }

  /** The connection breaks without a close frame. */
  lose(): void {
    this.close(1006);
  }

  /** The client's next frame. Pings are answered, and passed over. */
  async next(): Promise<Frame> {
    await settle();
    for (let frame = this.#received.shift(); frame; frame = this.#received.shift()) {
      if (frame.type !== "ping") return frame;
      this.send({ type: "pong" });
    }
    throw new Error("the client sends nothing");
  }

  /** The frames that the client has sent and nobody has taken, pings included. */
  async frames(): Promise<Frame[]> {
    await settle();
    return this.#received.splice(0);
  }

  #onClose(code = 1005, reason = ""): void {
    this.closeCode ??= code;
    if (this.answersClose) this.close(code, reason);
  }

  #tell(tell: () => void): void {
    queueMicrotask(() => {
      if (!this.#isOver) tell();
    });
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 32; turn += 1) await undefined;
}

interface Timer {
  readonly due: number;
  run(): void;
}

const HOUR = 3_600_000;
