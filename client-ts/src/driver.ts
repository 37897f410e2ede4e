import { Alarm } from "./alarm.js";
import type { AnswerLink } from "./answers.js";
import { Backoff } from "./backoff.js";
import type { Dial, Environment, Feature, PageSignal } from "./environment.js";
import { guard, messageOf, RealtimeError } from "./error.js";
import { type Failure, Link, type LinkEvents } from "./link.js";
import type { Fallback, Options } from "./options.js";
import { isTemporary, isTemporaryClose } from "./refusal.js";
import { Session } from "./session.js";
import { type Cause, lostBy, type State } from "./state.js";
import { Cell } from "./store.js";
import { Told } from "./told.js";
import { amount, decode, type Incoming, text } from "./wire.js";

/** Makes connections for one client, and runs its session on them, until it is closed or gives up. */
export class Driver implements AnswerLink, LinkEvents {
  readonly state = new Cell<State>({ status: "idle" });
  readonly outdated = new Cell(false);
  readonly told = new Told(this);

  readonly #environment: Environment;
  readonly #options: Options;
  readonly #url: () => string;
  readonly #schema: string | undefined;
  readonly #session: Session;
  readonly #backoff: Backoff;
  readonly #fallback: Fallback | undefined;
  #phase: Phase = { name: "idle" };
  /** A WebSocket that is tried while a fallback is in use. */
  #beside: Link | undefined;
  /** Connections that others have replaced, and that carry calls to their end. */
  readonly #retired = new Set<Link>();
  /** When the attempt began, then when the connection was opened. */
  #since = 0;
  #wasConnected = false;
  #closed: Promise<void> | undefined;
  #unwatch = (): void => {};
  readonly #alarm: Alarm;

  constructor(environment: Environment, options: Options, url: () => string, schema: string | undefined) {
    this.#environment = environment;
    this.#options = options;
    this.#url = url;
    this.#schema = schema;
    this.#session = new Session(options.offlineQueue);
    this.#alarm = new Alarm(environment, () => this.#handleTime());
    this.#backoff = new Backoff(options.reconnect);
    this.#fallback = options.fallback?.(environment, () => this.#dialBeside());
  }

  now(): number {
    return this.#environment.now();
  }

  after(ms: number, run: () => void): () => void {
    return this.#environment.after(ms, run);
  }

  /** Answers a call of the server's. */
  answer(id: unknown, error: RealtimeError | undefined, output?: string): void {
    this.change((session) => session.answer(id, error, output));
  }

  /** Begins to connect, unless it has. */
  start(): void {
    if (this.#phase.name !== "idle") return;
    this.#unwatch = this.#environment.watch((signal) => this.#onSignal(signal));
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
      return change(this.#session);
    } finally {
      this.#flush();
    }
  }

  can(feature: Feature): boolean {
    return this.#phase.name !== "linked" || this.#phase.link.can(feature);
  }

  /** A call wants its progress told. Says so if the connection carries none. */
  expectProgress(name: string): void {
    if (this.can("progress")) return;
    const error = new RealtimeError("UNIMPLEMENTED", `the progress of ${name} needs a WebSocket`);
    queueMicrotask(() => this.told.complain(error));
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
    const link = this.#linkBy(this.#fallback?.dial ?? this.#environment.dial);
    this.#phase = { name: "linked", link };
    this.#since = this.now();
    this.state.set({ status: "connecting", attempt: this.#backoff.attempt });
    // A listener may have closed it meanwhile.
    if (this.#phase.name === "linked" && this.#phase.link === link) link.start();
  }

  /** Tries a WebSocket while a fallback goes on. */
  #dialBeside(): void {
    if (this.#beside || !this.#open) return;
    this.#beside = this.#linkBy(this.#environment.dial);
    this.#beside.start();
  }

  #linkBy(dial: Dial): Link {
    return new Link({ ...this.#options, environment: this.#environment, dial, url: this.#url }, this);
  }

  onOpen(link: Link, welcome: Incoming): void {
    const isBeside = link === this.#beside;
    if (isBeside && !this.#replace(link)) return;
    this.#since = this.now();
    this.#wasConnected = true;
    this.#fallback?.onOpen(isBeside);
    const { pingAfterMs = withinReason(amount(welcome.heartbeatMs) ?? PING_AFTER), pingTimeoutMs = 10_000 } =
      this.#options;
    const messageBytes = amount(welcome.messageBytes);
    this.#session.open(this.now(), { pingAfterMs, pingTimeoutMs, messageBytes });
    this.outdated.set(!!welcome.schema && !!this.#schema && welcome.schema !== this.#schema);
    this.state.set({ status: "open", connection: text(welcome.connection) ?? "" });
    this.#flush();
  }

  /** The WebSocket that was tried takes the place of a fallback. Returns false if it may not. */
  #replace(link: Link): boolean {
    this.#beside = undefined;
    const old = this.#open;
    if (!old) {
      link.leave();
      return false;
    }
    this.#phase = { name: "linked", link };
    this.told.lose();
    if (old.retire()) {
      this.#retired.add(old);
      this.#session.move(old);
    } else {
      old.leave();
      this.#session.lose();
    }
    // For all who ask again, or begin anew, after each lost connection.
    const cause = lostBy("a WebSocket takes the place of the fallback");
    this.state.set({ status: "reconnecting", attempt: this.#backoff.attempt, afterMs: 0, cause });
    return this.#isCurrent(link);
  }

  onMessage(link: Link, data: unknown): void {
    if (this.#isCurrent(link)) this.#session.hear(this.now());
    else if (!this.#retired.has(link)) return;
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
    else this.#session.handleFrame(frame);
  }

  /** Sends a fresh token. Without one the server closes, and the next attempt asks for one again. */
  async #reauthenticate(): Promise<void> {
    const link = this.#open;
    try {
      const token = await this.#options.token?.();
      if (token !== undefined && link === this.#open) this.change((session) => session.authenticate(token));
    } catch (error) {
      console.warn(`no fresh token: ${messageOf(error)}`);
    }
  }

  onEnd(link: Link, failure: Failure): void {
    if (this.#retired.delete(link)) {
      this.#session.abandon(link);
      return this.#flush();
    }
    if (link === this.#beside) return this.#endBeside(failure);
    if (this.#phase.name === "closing") return this.#phase.resolve();
    if (this.#isCurrent(link)) this.#endCurrent(link, failure);
  }

  /** The fallback goes on, unless the server says that the client is not wanted. */
  #endBeside(failure: Failure): void {
    this.#beside = undefined;
    if (!this.#mayRetry(failure)) this.#finish(failure.cause);
  }

  #endCurrent({ isOpen }: Link, failure: Failure): void {
    const { cause, retryAfterMs = 0 } = failure;
    this.#leaveBeside();
    if (isOpen && this.now() - this.#since >= STAYED_OPEN) this.#backoff.reset();
    if (!isOpen) this.#fallback?.onFailure(failure.isReachable ?? false);
    const between: Phase = { name: "waiting", cancel: () => {} };
    this.#phase = between;
    this.told.lose();
    this.#session.lose();
    const mayRetry = this.#mayRetry(failure);
    // Code of the application may have closed it meanwhile.
    if (this.#phase !== between) return;
    const delay = mayRetry ? this.#backoff.fail(this.#environment.random()) : undefined;
    if (delay === undefined) return this.#finish(cause);
    // On top of what the server says: those whom it turned away do not come back all at once.
    const afterMs = delay + retryAfterMs;
    this.#phase = { name: "waiting", cancel: this.#environment.after(afterMs, () => this.#dial()) };
    this.state.set({ status: "reconnecting", attempt: this.#backoff.attempt, afterMs, cause });
    this.#schedule();
  }

  /** The rules of the application: where they fail, another attempt is made. */
  #mayRetry(failure: Failure): boolean {
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
    const link = this.#open;
    const cause = { type: "local" } as const;
    if (!link) {
      this.#finish(cause);
      return resolve();
    }
    this.#phase = { name: "closing", resolve };
    this.#session.close(cause);
    for (let frame = this.#session.takeFrame(this.now()); frame; frame = this.#session.takeFrame(this.now())) {
      link.send(frame);
    }
    link.close(code, reason, this.#options.closeTimeoutMs ?? 3_000);
    this.#settle(cause);
  }

  /** Nothing will succeed any more. */
  #finish(cause: Cause): void {
    const phase = this.#phase;
    this.#closed ??= Promise.resolve();
    this.#phase = { name: "closed" };
    if (phase.name === "waiting") phase.cancel();
    if (phase.name === "linked") phase.link.leave();
    this.#session.close(cause);
    this.#settle(cause);
  }

  #settle(cause: Cause): void {
    this.told.lose();
    this.#alarm.cancel();
    this.#unwatch();
    this.#leaveBeside();
    for (const link of this.#retired) link.leave();
    this.#retired.clear();
    this.#fallback?.onClose();
    this.state.set({ status: "closed", cause });
  }

  #onSignal(signal: PageSignal): void {
    const phase = this.#phase;
    if (signal === "wake") this.#fallback?.onWake();
    if (signal === "wake") this.hurry();
    if (phase.name !== "linked") return;
    if (signal === "freeze") return this.#freeze(phase.link);
    if (this.#open) return this.change((session) => session.ping(this.now(), WAKE_PATIENCE));
    if (signal === "wake" && this.now() - this.#since >= HANGING) {
      phase.link.leave();
      this.#dial();
    }
  }

  #freeze(link: Link): void {
    for (const one of [...this.#retired, link]) one.fail(lostBy("the page was put away"));
  }

  #leaveBeside(): void {
    this.#beside?.leave();
    this.#beside = undefined;
  }

  /** Sends what may be sent. */
  #flush(): void {
    for (let link = this.#open; link && !this.#mustWait(link); link = this.#open) {
      const frame = this.#session.takeFrame(this.now());
      if (frame === undefined) break;
      link.send(frame);
      // It may give up a call that one of these carries.
      for (const link of this.#retired) link.send(frame);
    }
    if (this.#session.isStuck) this.#open?.fail(lostBy("the server does not read what it is sent"));
    this.#schedule();
  }

  /** The connection, if it was welcomed and is not being closed. */
  get #open(): Link | undefined {
    return this.#phase.name === "linked" && this.#phase.link.isOpen ? this.#phase.link : undefined;
  }

  #isCurrent(link: Link): boolean {
    return this.#phase.name === "linked" && this.#phase.link === link;
  }

  /** True if the socket is full, or if what is sent now would overtake events that a fallback is still sending. */
  #mustWait(link: Link): boolean {
    if (link.isCongested) return true;
    return this.now() < this.#since + OVERTAKING && [...this.#retired].some(({ isSending }) => isSending);
  }

  #schedule(): void {
    if (this.#phase.name === "closed" || this.#phase.name === "closing") return;
    const due = this.#open && this.#mustWait(this.#open) ? this.now() + DRAIN : this.#session.nextDeadline;
    this.#alarm.set(due);
  }

  #handleTime(): void {
    if (!this.#session.handleTime(this.now())) this.#open?.fail({ type: "silent" });
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

/** The longest that a new connection waits for the events of the one that it replaces. */
const OVERTAKING = 3_000;

/** The interval at which a full socket is looked at. */
const DRAIN = 20;
