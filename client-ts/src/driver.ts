import { Alarm } from "./alarm.js";
import type { AnswerLink } from "./answers.js";
import { Backoff } from "./backoff.js";
import type { Dial, Environment, Feature, PageSignal } from "./environment.js";
import { guard, messageOf, type RealtimeError } from "./error.js";
import { type Failure, Link, type LinkEvents } from "./link.js";
import type { Fallback, Options } from "./options.js";
import { isTemporary, isTemporaryClose } from "./refusal.js";
import { Session } from "./session.js";
import { type Cause, lostBy, type State } from "./state.js";
import { Cell } from "./store.js";
import { Told } from "./told.js";
import { amount, decode, encode, type Incoming, text } from "./wire.js";

/** Makes connections for one client, and runs its session on them, until it is closed or gives up. */
export class Driver implements AnswerLink, LinkEvents {
  readonly state = new Cell<State>({ status: "idle" });
  readonly outdated = new Cell(false);
  readonly told = new Told(this);
  readonly environment: Environment;
  readonly session: Session;
  readonly fallback: Fallback | undefined;

  readonly #options: Options;
  readonly #url: () => string;
  readonly #schema: string | undefined;
  readonly #backoff: Backoff;
  #phase: Phase = { name: "idle" };
  /** When the attempt began, then when the connection was opened. */
  #since = 0;
  #wasConnected = false;
  #closed: Promise<void> | undefined;
  #unwatch = (): void => {};
  readonly #alarm: Alarm;

  constructor(environment: Environment, options: Options, url: () => string, schema: string | undefined) {
    this.environment = environment;
    this.#options = options;
    this.#url = url;
    this.#schema = schema;
    this.session = new Session(options.offlineQueue);
    this.#alarm = new Alarm(environment, () => this.#handleTime());
    this.#backoff = new Backoff(options.reconnect);
    this.fallback = options.fallback?.(this);
  }

  now(): number {
    return this.environment.now();
  }

  reply(text: string): RealtimeError | undefined {
    return this.change((session) => session.reply(text));
  }

  /** Begins to connect, unless it has. */
  start(): void {
    if (this.#phase.name !== "idle") return;
    this.#unwatch = this.environment.watch((signal) => this.#onSignal(signal));
    this.#dial();
  }

  /** Begins to connect, or makes the next attempt now, if it waits for one. */
  hurry(): void {
    if (this.#phase.name === "idle") return this.start();
    if (this.#phase.name !== "waiting") return;
    this.#phase.cancel();
    this.#dial();
  }

  /** Changes the session for the application's sake, and sends what comes of it. */
  change<T>(change: (session: Session) => T): T {
    this.start();
    try {
      return change(this.session);
    } finally {
      this.#flush();
    }
  }

  can(feature: Feature): boolean {
    return this.#phase.name !== "linked" || this.#phase.link.can(feature);
  }

  /** Closes for good. Resolves when the server has answered, or after a while. */
  close(code = 1000, reason = ""): Promise<void> {
    if (this.#closed) return this.#closed;
    let resolve = () => {};
    // Known before anybody is told: a listener may close, too.
    this.#closed = new Promise((done) => {
      resolve = done;
    });
    this.#beginClose(code, reason, resolve);
    return this.#closed;
  }

  #dial(): void {
    const link = this.link(this.fallback?.dial ?? this.environment.dial);
    this.#phase = { name: "linked", link };
    this.#since = this.now();
    this.state.set({ status: "connecting", attempt: this.#backoff.attempt });
    // A listener may have closed it meanwhile.
    if (this.#phase.name === "linked" && this.#phase.link === link) link.start();
  }

  /** A connection of this client, which is not begun. */
  link(dial: Dial): Link {
    return new Link({ ...this.#options, environment: this.environment, dial, url: this.#url }, this);
  }

  onOpen(link: Link, welcome: Incoming): void {
    // Another is one that a fallback has tried beside the present one.
    if (this.isCurrent(link)) this.fallback?.onOpen();
    else if (!this.fallback?.replace(link)) return;
    this.#since = this.now();
    this.#wasConnected = true;
    const { pingAfterMs = withinReason(amount(welcome.heartbeatMs) ?? PING_AFTER), pingTimeoutMs = 10_000 } =
      this.#options;
    const messageBytes = amount(welcome.messageBytes);
    this.session.open(this.now(), { pingAfterMs, pingTimeoutMs, messageBytes });
    this.outdated.set(!!welcome.schema && !!this.#schema && welcome.schema !== this.#schema);
    this.state.set({ status: "open", connection: text(welcome.connection) ?? "" });
    this.#flush();
  }

  /** Another connection becomes the present one. */
  adopt(link: Link): void {
    this.#phase = { name: "linked", link };
    this.told.lose();
  }

  /** Tells those who ask again, or begin anew, after each lost connection. */
  tellLost(afterMs: number, cause: Cause): void {
    this.state.set({ status: "reconnecting", attempt: this.#backoff.attempt, afterMs, cause });
  }

  onMessage(link: Link, data: unknown): void {
    if (this.isCurrent(link)) this.session.hear(this.now());
    else if (!this.fallback?.carries(link)) return;
    let frame: Incoming;
    try {
      frame = decode(data);
    } catch (error) {
      return link.fail(lostBy(messageOf(error)));
    }
    this.#handleFrame(frame);
    this.#flush();
  }

  #handleFrame(frame: Incoming): void {
    const state = this.state.get();
    if (this.told.take(frame, state.status === "open" ? state.connection : "")) return;
    if (frame.type === "reauthenticate") this.#reauthenticate();
    else this.session.handleFrame(frame);
  }

  /** Sends a fresh token. Without one the server closes, and the next attempt asks for one again. */
  async #reauthenticate(): Promise<void> {
    const link = this.open;
    try {
      const token = await this.#options.token?.();
      if (token !== undefined && link === this.open)
        this.change((session) => session.control(encode("authenticate", { token })));
    } catch (error) {
      console.warn(`no fresh token: ${messageOf(error)}`);
    }
  }

  onEnd(link: Link, failure: Failure): void {
    if (this.fallback?.onEnd(link, failure)) return;
    if (this.#phase.name === "closing") return this.#phase.resolve();
    if (this.isCurrent(link)) this.#endCurrent(link, failure);
  }

  #endCurrent({ isOpen }: Link, failure: Failure): void {
    const { cause, retryAfterMs = 0 } = failure;
    if (isOpen && this.now() - this.#since >= STAYED_OPEN) this.#backoff.reset();
    this.fallback?.onLose(isOpen, failure.isReachable);
    const between: Phase = { name: "waiting", cancel: () => {} };
    this.#phase = between;
    this.told.lose();
    this.session.lose();
    const mayRetry = this.mayRetry(failure);
    // Code of the application may have closed it meanwhile.
    if (this.#phase !== between) return;
    const delay = mayRetry ? this.#backoff.fail(this.environment.random()) : undefined;
    if (delay === undefined) return this.finish(cause);
    // On top of what the server says: those whom it turned away do not come back all at once.
    const afterMs = delay + retryAfterMs;
    this.#phase = { name: "waiting", cancel: this.environment.after(afterMs, () => this.#dial()) };
    this.tellLost(afterMs, cause);
    this.#schedule();
  }

  /** The rules of the application: where they fail, another attempt is made. */
  mayRetry(failure: Failure): boolean {
    return guard("a rule when to connect again", () => this.#judge(failure)) ?? true;
  }

  #judge({ cause, retryAfterMs, isFinal }: Failure): boolean {
    if (isFinal) return false;
    const { token, reconnectOn = isTemporaryClose, reconnectOnRefusal = isTemporary } = this.#options;
    switch (cause.type) {
      case "closed":
        return reconnectOn(cause.code);
      case "refused":
        return reconnectOnRefusal({
          status: cause.status,
          ...(retryAfterMs !== undefined && { retryAfterMs }),
          wasConnected: this.#wasConnected,
          fetchesToken: token !== undefined,
        });
      case "invalid":
        // What worked was right: another server may have taken the place of that one for a while.
        return this.#wasConnected;
      default:
        return true;
    }
  }

  #beginClose(code: number, reason: string, resolve: () => void): void {
    const link = this.open;
    const cause = { type: "local" } as const;
    if (!link) {
      this.finish(cause);
      return resolve();
    }
    this.#phase = { name: "closing", resolve };
    this.session.close(cause);
    for (let frame = this.session.takeFrame(this.now()); frame; frame = this.session.takeFrame(this.now())) {
      link.send(frame);
    }
    link.close(code, reason, this.#options.closeTimeoutMs ?? 3_000);
    this.#settle(cause);
  }

  /** Nothing will succeed any more. */
  finish(cause: Cause): void {
    const phase = this.#phase;
    this.#closed ??= Promise.resolve();
    this.#phase = { name: "closed" };
    if (phase.name === "waiting") phase.cancel();
    if (phase.name === "linked") phase.link.leave();
    this.session.close(cause);
    this.#settle(cause);
  }

  #settle(cause: Cause): void {
    this.told.lose();
    this.#alarm.cancel();
    this.#unwatch();
    this.fallback?.onClose();
    this.state.set({ status: "closed", cause });
  }

  #onSignal(signal: PageSignal): void {
    const phase = this.#phase;
    if (signal === "wake") this.fallback?.onWake();
    if (signal === "wake") this.hurry();
    if (phase.name !== "linked") return;
    if (signal === "freeze") {
      const cause = lostBy("the page was put away");
      this.fallback?.fail(cause);
      return phase.link.fail(cause);
    }
    if (this.open) return this.change((session) => session.ping(this.now(), WAKE_PATIENCE));
    if (signal === "wake" && this.now() - this.#since >= HANGING) {
      phase.link.leave();
      this.#dial();
    }
  }

  /** Sends what may be sent. */
  #flush(): void {
    for (let link = this.open; link && !this.#mustWait(link); link = this.open) {
      const frame = this.session.takeFrame(this.now());
      if (frame === undefined) break;
      link.send(frame);
      // It may give up a call that one of these carries.
      this.fallback?.send(frame);
    }
    if (this.session.queue.isOverfull) this.open?.fail(lostBy("the server does not read what it is sent"));
    this.#schedule();
  }

  /** The connection, if it was welcomed and is not being closed. */
  get open(): Link | undefined {
    return this.#phase.name === "linked" && this.#phase.link.isOpen ? this.#phase.link : undefined;
  }

  isCurrent(link: Link): boolean {
    return this.#phase.name === "linked" && this.#phase.link === link;
  }

  /** True if the socket is full, or if what is sent now would overtake events that a fallback is still sending. */
  #mustWait(link: Link): boolean {
    return link.isCongested || !!this.fallback?.isSending;
  }

  #schedule(): void {
    if (this.#phase.name === "closed" || this.#phase.name === "closing") return;
    const due = this.open && this.#mustWait(this.open) ? this.now() + DRAIN : this.session.nextDeadline;
    this.#alarm.set(due);
  }

  #handleTime(): void {
    if (!this.session.handleTime(this.now())) this.open?.fail({ type: "silent" });
    this.#flush();
  }
}

type Phase =
  | { readonly name: "idle" }
  | { readonly name: "waiting"; readonly cancel: () => void }
  | { readonly name: "linked"; readonly link: Link }
  | { readonly name: "closing"; readonly resolve: () => void }
  | { readonly name: "closed" };

/** The server says after how much silence it pings: an interval that a client can use too, if it is one. */
function withinReason(heartbeatMs: number): number {
  return Math.min(Math.max(heartbeatMs, 1_000), 300_000);
}

/** The default: below the minute after which many proxies drop a quiet connection. */
const PING_AFTER = 25_000;

/** A connection that ends sooner does not show that the trouble is over. */
const STAYED_OPEN = 5_000;

/** The time for an answer when the network or the page is back. */
const WAKE_PATIENCE = 3_000;

/** An attempt that is older when the network is back was made without it. */
const HANGING = 1_000;

/** The interval at which a full socket is looked at. */
const DRAIN = 20;
