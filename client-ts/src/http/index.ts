import type { Dial, Environment } from "../environment.js";
import type { Fallback } from "../options.js";
import { HttpSocket } from "./socket.js";

/**
 * Calls, events and subscriptions by plain HTTP, where no WebSocket can be opened: `connect(endpoint, { fallback: http })`.
 * Each request stands by itself: the nodes of a server need no sticky sessions.
 *
 * A WebSocket counts as blocked when two attempts in a row fail while the server answers by HTTP; a restart fails both, and
 * is none. It is tried again every five minutes, and when the page is shown. Messages to a handler and
 * answers to the server's calls need a WebSocket: `client.can("send")` tells.
 */
export function http(environment: Environment): Fallback {
  return new HttpFallback(environment);
}

class HttpFallback implements Fallback {
  readonly #environment: Environment;
  /** Attempts in a row that failed though the server answers. */
  #blocked = 0;
  #isActive = false;
  #socket: HttpSocket | undefined;
  /** Set while the fallback is in use, however often its connection is made again. */
  #cancelTimer: (() => void) | undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  get dial(): Dial | undefined {
    if (!this.#isActive) return undefined;
    return (request, events) => {
      this.#socket = new HttpSocket(this.#environment, request, events);
      return this.#socket;
    };
  }

  onOpen(): void {
    if (!this.#isActive) {
      this.#blocked = 0;
      return;
    }
    this.#cancelTimer ??= this.#environment.after(TRY_AGAIN, () => this.#tryAgain());
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

  /** Makes way for a WebSocket. One failure is enough to come back. */
  #tryAgain(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#isActive = false;
    this.#blocked = 1;
    this.#socket?.close(1012, "trying a WebSocket again");
  }
}

const TRY_AGAIN = 5 * 60_000;
