import type { Dial, Environment } from "../environment.js";
import type { Fallback } from "../options.js";
import { HttpSocket } from "./socket.js";

/**
 * Calls, events and subscriptions by plain HTTP, where no WebSocket can be opened: `connect(endpoint, { fallback: http })`.
 * Each request stands by itself: the nodes of a server need no sticky sessions.
 *
 * A WebSocket counts as blocked when two attempts in a row fail while the server answers by HTTP; a restart fails both, and
 * is none. It is tried again every five minutes, and when the page is shown, beside the fallback, which goes on until the
 * WebSocket is there, and carries the calls that run to their end. Messages to a handler, answers to the server's calls and
 * the progress of calls need a WebSocket: `client.can("send")` tells.
 */
export function http(environment: Environment, tryWebSocket: () => void): Fallback {
  return new HttpFallback(environment, tryWebSocket);
}

class HttpFallback implements Fallback {
  readonly #environment: Environment;
  readonly #tryWebSocket: () => void;
  /** Attempts in a row that failed though the server answers. */
  #blocked = 0;
  #isActive = false;
  #socket: HttpSocket | undefined;
  /** Set while the fallback is in use, however often its connection is made again. */
  #cancelTimer: (() => void) | undefined;

  constructor(environment: Environment, tryWebSocket: () => void) {
    this.#environment = environment;
    this.#tryWebSocket = tryWebSocket;
  }

  get dial(): Dial | undefined {
    if (!this.#isActive) return undefined;
    return (request, events) => {
      this.#socket = new HttpSocket(this.#environment, request, events);
      return this.#socket;
    };
  }

  onOpen(isBeside: boolean): void {
    if (isBeside) this.#leave();
    if (this.#isActive) this.#cancelTimer ??= this.#environment.after(TRY_AGAIN, () => this.#tryAgain());
    else this.#blocked = 0;
  }

  onFailure(isReachable: boolean): void {
    if (this.#isActive) return;
    this.#blocked = isReachable ? this.#blocked + 1 : 0;
    this.#isActive = this.#blocked >= 2;
  }

  onWake(): void {
    if (this.#isActive) this.#tryAgain();
  }

  onClose(): void {
    this.#cancelTimer?.();
  }

  /** Tries a WebSocket: beside the fallback, or in its place while that has no connection. */
  #tryAgain(): void {
    if (!this.#socket || this.#socket.isOver) {
      this.#leave();
      // One failure is enough to come back.
      this.#blocked = 1;
      return;
    }
    this.#cancelTimer?.();
    this.#cancelTimer = this.#environment.after(TRY_AGAIN, () => this.#tryAgain());
    this.#tryWebSocket();
  }

  #leave(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#isActive = false;
  }
}

const TRY_AGAIN = 5 * 60_000;
