import { exhausted, messageOf, RealtimeError, report } from "./error.js";
import { toJson } from "./wire.js";

/** Answers one procedure of the client's. The signal ends when the answer is of no more interest. */
export type AnswerHandler = (input: unknown, context: { readonly signal: AbortSignal }) => unknown;

/** A call of the server's. */
export interface ServerCall {
  readonly id: string;
  readonly path: string;
  readonly input: unknown;
  readonly timeoutMs?: number;
}

/** What is needed of the connection: a timer, and a way to send an answer, which is in JSON. */
export interface AnswerLink {
  after(ms: number, run: () => void): () => void;
  answer(id: string, error: RealtimeError | undefined, output?: string): void;
}

/** The procedures that the server may call, and those of its calls that run on the present connection. */
export class Answers {
  readonly handlers = new Map<string, AnswerHandler>();
  readonly #link: AnswerLink;
  readonly #running = new Map<string, Running>();

  constructor(link: AnswerLink) {
    this.#link = link;
  }

  /** Runs the handler of a call, and answers. */
  start({ id, path, input, timeoutMs }: ServerCall): void {
    const handler = this.handlers.get(path);
    const refusal = this.#refuse(id, handler);
    if (!handler || refusal) return this.#link.answer(id, refusal);
    const running: Running = { controller: new AbortController(), cancelTimer: () => {} };
    this.#running.set(id, running);
    if (timeoutMs !== undefined) {
      const late = new RealtimeError("DEADLINE_EXCEEDED", "the call took too long");
      running.cancelTimer = this.#link.after(timeoutMs, () => this.#end(id, running, late));
    }
    this.#run(id, running, handler, input);
  }

  /** The server gives a call up. */
  cancel(id: string): void {
    const running = this.#running.get(id);
    if (running) this.#end(id, running, new RealtimeError("CANCELLED", "the call was cancelled"));
  }

  /** The connection is gone: nobody waits for what runs. */
  drop(): void {
    const running = [...this.#running.values()];
    this.#running.clear();
    const gone = new RealtimeError("CANCELLED", "the connection is gone");
    for (const one of running) stop(one, gone);
  }

  #refuse(id: string, handler: AnswerHandler | undefined): RealtimeError | undefined {
    if (this.#running.has(id)) {
      return new RealtimeError("DUPLICATE_ID", "a call with this id is running", { details: { id } });
    }
    if (this.#running.size >= CONCURRENT) return exhausted(`${CONCURRENT} calls are running`);
    return handler ? undefined : new RealtimeError("NOT_FOUND", "this client has no such procedure");
  }

  async #run(id: string, running: Running, handler: AnswerHandler, input: unknown): Promise<void> {
    const { signal } = running.controller;
    try {
      const output = await handler(input, { signal });
      this.#end(id, running, undefined, write(output));
    } catch (error) {
      this.#end(id, running, told(error, signal));
    }
  }

  #end(id: string, running: Running, error: RealtimeError | undefined, output?: string): void {
    if (this.#running.get(id) !== running) return;
    this.#running.delete(id);
    this.#link.answer(id, error, output);
    stop(running, error);
  }
}

interface Running {
  readonly controller: AbortController;
  cancelTimer: () => void;
}

function stop({ controller, cancelTimer }: Running, reason: RealtimeError | undefined): void {
  cancelTimer();
  if (reason) controller.abort(reason);
}

function write(output: unknown): string {
  try {
    return toJson("an answer", output ?? null);
  } catch (error) {
    // The caller did nothing wrong.
    throw new Error(messageOf(error));
  }
}

/** Only an error that was meant for the server says what it is. */
function told(error: unknown, signal: AbortSignal): RealtimeError {
  if (error instanceof RealtimeError && error.from === "client" && error.code !== "INTERNAL") return error;
  if (!signal.aborted) report("the answer to a call", error);
  return new RealtimeError("INTERNAL", "internal error");
}

/** The server's calls that may run at once. */
const CONCURRENT = 64;
