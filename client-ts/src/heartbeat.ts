/** Asks a peer that was silent for a sign of life. */
export class Heartbeat {
  readonly #interval: number;
  readonly #patience: number;
  #heard: number;
  /** The deadline for an answer, once the peer was asked. */
  #deadline: number | undefined;

  constructor(now: number, interval: number, patience: number) {
    this.#heard = now;
    this.#interval = interval;
    this.#patience = patience;
  }

  hear(now: number): void {
    this.#heard = now;
    this.#deadline = undefined;
  }

  /** A ping is sent now, and must be answered within `patience`, unless an earlier one must be sooner. */
  ask(now: number, patience = this.#patience): void {
    this.#deadline = Math.min(this.#deadline ?? Number.POSITIVE_INFINITY, now + patience);
  }

  get nextDeadline(): number {
    return this.#deadline ?? this.#heard + this.#interval;
  }

  /** Judges the silence: `short`, `long` enough for a ping, or `dead`. */
  check(now: number): "short" | "long" | "dead" {
    const deadline = this.nextDeadline;
    if (now < deadline) return "short";
    // Who looks so late did not run: the peer was not listened to, and has its time from now on.
    const wasPaused = now > deadline + PAUSE;
    if (this.#deadline !== undefined && !wasPaused) return "dead";
    this.#deadline = undefined;
    this.ask(now);
    return "long";
  }
}

/** Far more than a timer is late where there is nothing but load. */
export const PAUSE = 1_000;
