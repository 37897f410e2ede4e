import type { Driver } from "../driver.js";
import type { Dial } from "../environment.js";
import { RealtimeError } from "../error.js";
import type { Failure, Link } from "../link.js";
import { Call } from "../operations.js";
import type { Fallback } from "../options.js";
import type { Session } from "../session.js";
import { type Cause, lostBy } from "../state.js";
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
export function http(driver: Driver): Fallback {
  return new HttpFallback(driver);
}

class HttpFallback implements Fallback {
  readonly #driver: Driver;
  /** A WebSocket that is tried while the fallback is in use. */
  #beside: Link | undefined;
  /** Connections that others have replaced, and that carry calls to their end. */
  readonly #retired = new Set<Link>();
  /** When the last was replaced. */
  #replacedAt = 0;
  /** Attempts in a row that failed though the server answers. */
  #blocked = 0;
  #isActive = false;
  #socket: HttpSocket | undefined;
  /** Set while the fallback is in use, however often its connection is made again. */
  #cancelTimer: (() => void) | undefined;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  get dial(): Dial | undefined {
    if (!this.#isActive) return undefined;
    return (request, events) => {
      this.#socket = new HttpSocket(this.#driver.environment, request, events);
      return this.#socket;
    };
  }

  get isSending(): boolean {
    const isRecent = this.#driver.now() < this.#replacedAt + OVERTAKING;
    return isRecent && [...this.#retired].some(({ isSending }) => isSending);
  }

  onOpen(): void {
    if (this.#isActive) this.#cancelTimer ??= this.#driver.environment.after(TRY_AGAIN, () => this.#tryAgain());
    else this.#blocked = 0;
  }

  replace(link: Link): boolean {
    const driver = this.#driver;
    const old = driver.open;
    this.#beside = undefined;
    if (!old) {
      link.leave();
      return false;
    }
    driver.adopt(link);
    if (old.retire()) {
      this.#retired.add(old);
      this.#replacedAt = driver.now();
      move(driver.session, old);
    } else {
      old.leave();
      driver.session.lose();
    }
    driver.tellLost(0, lostBy("a WebSocket takes the place of the fallback"));
    // A listener may have closed the client.
    if (!driver.isCurrent(link)) return false;
    this.#leave();
    this.#blocked = 0;
    return true;
  }

  carries(link: Link): boolean {
    return this.#retired.has(link);
  }

  onEnd(link: Link, failure: Failure): boolean {
    const driver = this.#driver;
    if (this.#retired.delete(link)) {
      driver.change((session) => session.loseEach(({ carrier }) => carrier === link));
      return true;
    }
    if (link !== this.#beside) return false;
    this.#beside = undefined;
    // The fallback goes on, unless the server says that the client is not wanted.
    if (!driver.mayRetry(failure)) driver.finish(failure.cause);
    return true;
  }

  onLose(wasOpen: boolean, isReachable: boolean | undefined): void {
    this.#leaveBeside();
    if (this.#isActive || wasOpen) return;
    this.#blocked = isReachable ? this.#blocked + 1 : 0;
    this.#isActive = this.#blocked >= 2;
  }

  send(text: string): void {
    for (const link of this.#retired) link.send(text);
  }

  fail(cause: Cause): void {
    for (const link of [...this.#retired]) link.fail(cause);
  }

  expectProgress(path: string): void {
    const driver = this.#driver;
    if (driver.can("progress")) return;
    const error = new RealtimeError("UNIMPLEMENTED", `the progress of ${path} needs a WebSocket`);
    queueMicrotask(() => driver.told.complain(error));
  }

  onWake(): void {
    if (this.#isActive) this.#tryAgain();
  }

  onClose(): void {
    this.#cancelTimer?.();
    this.#leaveBeside();
    for (const link of this.#retired) link.leave();
    this.#retired.clear();
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
    this.#cancelTimer = this.#driver.environment.after(TRY_AGAIN, () => this.#tryAgain());
    if (this.#beside || !this.#driver.open) return;
    this.#beside = this.#driver.link(this.#driver.environment.dial);
    this.#beside.start();
  }

  #leaveBeside(): void {
    this.#beside?.leave();
    this.#beside = undefined;
  }

  #leave(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#isActive = false;
  }
}

/** What an earlier connection was sent: it carries the calls to their end, and all else is sent again. */
function move(session: Session, carrier: Link): void {
  session.queue.keep(({ isControl }) => !isControl);
  session.loseEach((operation) => {
    if (!operation.isSent || operation.carrier) return false;
    if (operation instanceof Call) operation.carrier = carrier;
    return !operation.carrier;
  });
}

const TRY_AGAIN = 5 * 60_000;

/** The longest that a new connection waits for the events of the one that it replaces. */
const OVERTAKING = 3_000;
