/** Asks a peer that was silent for a sign of life. */
export class Heartbeat {
  readonly #interval: number;
  readonly #patience: number;
  #heard: number;
  /** The deadline for an answer, once the peer was asked. */
  #deadline: number | undefined;
  /** The peer was given its time again since it was last heard. */
  #wasSpared = false;

  constructor(now: number, interval: number, patience: number) {
    this.#heard = now;
    this.#interval = interval;
    this.#patience = patience;
  }

  hear(now: number): void {
    this.#heard = now;
    this.#deadline = undefined;
    this.#wasSpared = false;
  }

  /** A ping is sent now, and must be answered within `patience`, unless an earlier one must be sooner. */
  ask(now: number, patience = this.#patience): void {
    this.#deadline = Math.min(this.#deadline ?? NEVER, now + patience);
  }

  get nextDeadline(): number {
    return this.#deadline ?? this.#heard + this.#interval;
  }

  /** Judges the silence: `short`, `long` enough for a ping, or `dead`. */
  check(now: number): "short" | "long" | "dead" {
    const deadline = this.nextDeadline;
    if (now < deadline) return "short";
    if (this.#deadline !== undefined) {
      // Who looks so late did not run: the peer was not listened to, and has its time from now on. Once, as the timers
      // of a hidden page are always late.
      const wasPaused = now > deadline + PAUSE;
      if (!wasPaused || this.#wasSpared) return "dead";
      this.#wasSpared = true;
      this.#deadline = undefined;
    }
    this.ask(now);
    return "long";
  }
}

/** The time of what does not come. */
export const NEVER = Number.POSITIVE_INFINITY;

/** Far more than a timer is late where there is nothing but load. */
export const PAUSE = 1_000;
