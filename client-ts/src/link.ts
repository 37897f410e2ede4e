import type { Dial, DialRequest, Environment, Feature, Probe, Socket, SocketEvents } from "./environment.js";
import { SUBPROTOCOL } from "./environment.js";
import { messageOf, Unauthorized } from "./error.js";
import { PAUSE } from "./heartbeat.js";
import type { Options } from "./options.js";
import { type Cause, lostBy } from "./state.js";
import { decode, decodeError, type Incoming } from "./wire.js";

/** The parts and limits of one connection. */
export interface LinkOptions extends Pick<Options, "token" | "connectTimeoutMs"> {
  readonly environment: Environment;
  readonly dial: Dial;
  /** Throws where there is none. */
  url(): string;
}

/** The events of connections. `onEnd` comes once for each, and nothing after it. */
export interface LinkEvents {
  onOpen(link: Link, welcome: Incoming): void;
  onMessage(link: Link, data: unknown): void;
  onEnd(link: Link, failure: Failure): void;
}

/** The end of a connection, or of an attempt to make one. */
export interface Failure {
  readonly cause: Cause;
  /** The wait that the server asks for. */
  readonly retryAfterMs?: number;
  /** True if the server answers by HTTP where the WebSocket could not be opened. */
  readonly isReachable?: boolean;
  /** True if the application rules out another attempt. */
  readonly isFinal?: boolean;
}

/**
 * One connection: the token, the socket, the welcome, and the messages until it ends. What comes late, from a socket, a
 * token or a timer of a connection that is over, touches nothing.
 */
export class Link implements SocketEvents {
  readonly #options: LinkOptions;
  readonly #events: LinkEvents;
  readonly #over = new AbortController();
  #phase: "dialing" | "welcome" | "open" | "probing" = "dialing";
  #request: DialRequest | undefined;
  #socket: Socket | undefined;
  #cancelTimer = (): void => {};

  constructor(options: LinkOptions, events: LinkEvents) {
    this.#options = options;
    this.#events = events;
  }

  start(): void {
    const { connectTimeoutMs = 10_000, token } = this.#options;
    this.#within(connectTimeoutMs, { type: "timeout" });
    if (token) this.#fetchToken(token);
    else this.#dial(undefined);
  }

  send(text: string): void {
    this.#socket?.send(text);
  }

  /** True if the socket holds so much that more should wait in the queue, where it can be taken back. */
  get isCongested(): boolean {
    return (this.#socket?.bufferedAmount ?? 0) >= SOCKET_BYTES;
  }

  /** True if the socket holds anything. */
  get isSending(): boolean {
    return (this.#socket?.bufferedAmount ?? 0) > 0;
  }

  get isOpen(): boolean {
    return this.#phase === "open";
  }

  can(feature: Feature): boolean {
    return !this.#socket?.lacks?.has(feature);
  }

  /** Has it carry its calls to their end, after which `onEnd` comes. Returns false if it cannot. */
  retire(): boolean {
    this.#socket?.retire?.();
    return !!this.#socket?.retire;
  }

  /** Says goodbye; `onEnd` comes when the server has answered, or after `timeoutMs`. */
  close(code: number, reason: string, timeoutMs: number): void {
    this.#within(timeoutMs, { type: "local" });
    this.#closeSocket(code, reason);
  }

  /** Leaves it as it is. Nothing more is told. */
  leave(): void {
    if (this.#isOver) return;
    this.#over.abort();
    this.#cancelTimer();
    this.#closeSocket();
  }

  /** It cannot be used any more. */
  fail(cause: Cause, more?: Omit<Failure, "cause">): void {
    if (this.#isOver) return;
    this.leave();
    this.#events.onEnd(this, { cause, ...more });
  }

  async #fetchToken(token: () => string | Promise<string>): Promise<void> {
    try {
      const fetched = await token();
      if (!this.#isOver) this.#dial(fetched);
    } catch (error) {
      this.fail({ type: "token", message: messageOf(error) }, { isFinal: error instanceof Unauthorized });
    }
  }

  #dial(token: string | undefined): void {
    try {
      this.#request = { url: this.#options.url(), token };
      this.#socket = this.#options.dial(this.#request, this);
    } catch (error) {
      this.fail({ type: "invalid", message: messageOf(error) });
    }
  }

  onOpen(protocol: string): void {
    if (this.#isOver) return;
    this.#phase = "welcome";
    if (protocol === SUBPROTOCOL) return;
    this.fail({
      type: "invalid",
      message: `the server does not speak ${SUBPROTOCOL}: it chose ${protocol || "none"}`,
    });
  }

  onMessage(data: unknown): void {
    if (this.#isOver) return;
    if (this.#phase === "open") this.#events.onMessage(this, data);
    else this.#readWelcome(data);
  }

  #readWelcome(data: unknown): void {
    let wrong = "the first frame is no welcome";
    try {
      const frame = decode(data);
      if (!KNOWN.includes(`${frame.type}`)) return;
      if (frame.type === "welcome") {
        this.#phase = "open";
        this.#cancelTimer();
        this.#events.onOpen(this, frame);
        return;
      }
      if (frame.type === "error") wrong = messageOf(decodeError(frame.error));
    } catch (error) {
      wrong = messageOf(error);
    }
    this.fail(lostBy(wrong));
  }

  onClose(code: number, reason: string): void {
    if (this.#isOver) return;
    if (this.#phase === "dialing") {
      this.#phase = "probing";
      this.#probe();
      return;
    }
    if (code !== ABNORMAL) return this.fail({ type: "closed", code, reason });
    this.fail(lostBy(`it ended ${this.#phase === "open" ? "without a close frame" : "before the welcome"}`));
  }

  onRefuse({ status, retryAfterMs }: Probe): void {
    this.fail({ type: "refused", status }, { retryAfterMs });
  }

  /** A page is not told why a WebSocket was refused: the same request by HTTP is. */
  async #probe(): Promise<void> {
    const failed = "it could not be opened";
    if (!this.#request) return;
    try {
      const { status, retryAfterMs } = await this.#options.environment.probe(this.#request, this.#over.signal);
      // An older server does not know the question, and says so, or that it speaks of a WebSocket.
      if (status < 300 || status === 405 || status === 426)
        this.fail(lostBy(failed), { isReachable: status === 204 });
      else this.onRefuse({ status, retryAfterMs });
    } catch (error) {
      this.fail(lostBy(`${failed}: ${messageOf(error)}`));
    }
  }

  get #isOver(): boolean {
    return this.#over.signal.aborted;
  }

  #closeSocket(code?: number, reason?: string): void {
    try {
      this.#socket?.close(code, reason);
    } catch {
      // A code or reason that no page may send.
      this.#socket?.close();
    }
  }

  /** Ends it after this time. Who looks much too late did not run, and leaves it its time from now on. */
  #within(ms: number, cause: Cause): void {
    const { environment } = this.#options;
    this.#cancelTimer();
    const due = environment.now() + ms;
    this.#cancelTimer = environment.after(ms, () => {
      if (environment.now() > due + PAUSE) this.#within(ms, cause);
      else this.fail(cause);
    });
  }
}

/** The frames of a server that could come first. */
const KNOWN = ["welcome", "message", "event", "error", "call"];

/** The code of a connection that ended without a close frame. */
const ABNORMAL = 1006;

/** Enough for a fast line. */
const SOCKET_BYTES = 1 << 20;
