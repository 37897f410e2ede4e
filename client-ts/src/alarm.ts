import type { Environment } from "./environment.js";
import { NEVER, PAUSE } from "./heartbeat.js";

/** The one timer of a client: it runs at the earliest of the times that it was set to. */
export class Alarm {
  readonly #environment: Environment;
  readonly #run: () => void;
  /** The time at which it runs; in the past while no other may move it. */
  #due = NEVER;
  #cancelTimer = (): void => {};

  constructor(environment: Environment, run: () => void) {
    this.#environment = environment;
    this.#run = run;
  }

  /** Runs at this time, unless it does earlier. */
  set(due: number): void {
    if (due < this.#due) this.#start(due, () => this.#ring());
  }

  cancel(): void {
    this.#cancelTimer();
    this.#due = NEVER;
  }

  #start(due: number, run: () => void): void {
    this.#cancelTimer();
    this.#due = due;
    this.#cancelTimer = this.#environment.after(Math.max(0, due - this.#environment.now()), run);
  }

  #ring(): void {
    const now = this.#environment.now();
    if (now <= this.#due + PAUSE) return this.#end();
    // The process or the page stood still: what came meanwhile is handled first, and counts before any deadline.
    this.#start(now + CATCH_UP, () => this.#end());
    this.#due = -NEVER;
  }

  #end(): void {
    this.#due = NEVER;
    this.#run();
  }
}

/** The time in which messages that came during a pause are delivered. */
const CATCH_UP = 50;
