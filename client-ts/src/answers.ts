import type { Environment } from "./environment.js";
import { cancelled, exhausted, noSuchProcedure, RealtimeError, report, timedOut } from "./error.js";
import { amount, encode, encodeError, type Incoming } from "./wire.js";

/** Answers one procedure of the client's. The signal ends when the answer is of no more interest. */
export type AnswerHandler = (input: unknown, context: { readonly signal: AbortSignal }) => unknown;

/** The part of a client that answers need. */
export interface AnswerLink {
  readonly environment: Environment;
  /** Sends an answer. Returns what is wrong with one that is not sent. */
  reply(text: string): RealtimeError | undefined;
}

/** The procedures that the server may call, and those of its calls that run on the present connection. */
export class Answers {
  readonly #handlers = new Map<unknown, AnswerHandler>();
  readonly #link: AnswerLink;
  /** The functions that end the running calls, by id. */
  readonly #running = new Map<unknown, (error?: RealtimeError, output?: string) => void>();

  constructor(link: AnswerLink) {
    this.#link = link;
  }

  /** Answers a procedure, in place of another handler. Returns what ends it. */
  add(name: string, handler: AnswerHandler): () => void {
    this.#handlers.set(name, handler);
    return () => {
      if (this.#handlers.get(name) === handler) this.#handlers.delete(name);
    };
  }

  /** Runs the handler of a call, and answers. */
  start({ id, path, input = null, timeoutMs }: Incoming): void {
    const handler = this.#handlers.get(Array.isArray(path) ? path.join(".") : path);
    const refusal = this.#refuse(id, handler);
    if (refusal || !handler) return this.#answer(id, refusal);
    const controller = new AbortController();
    const limit = amount(timeoutMs);
    const cancelTimer =
      limit !== undefined && this.#link.environment.after(limit, () => end(timedOut("the call took too long")));
    const end = (error?: RealtimeError, output?: string) => {
      if (cancelTimer) cancelTimer();
      if (error) controller.abort(error);
      if (this.#running.get(id) !== end) return;
      this.#running.delete(id);
      this.#answer(id, error, output);
    };
    this.#running.set(id, end);
    run(handler, input, controller.signal).then((output) => end(undefined, output), end);
  }

  /** The server gives a call up. */
  cancel(id: unknown): void {
    this.#running.get(id)?.(cancelled("the call was cancelled"));
  }

  /** The connection is gone: nobody waits for what runs. */
  drop(): void {
    const running = [...this.#running.values()];
    this.#running.clear();
    for (const end of running) end(cancelled("the connection is gone"));
  }

  /** `output` is in JSON. An answer that the server would not take is an error that says so. */
  #answer(id: unknown, error: RealtimeError | undefined, output?: string): void {
    const text = error ? errorOf(id, error) : encode("result", { id }, "data", output);
    const wrong = this.#link.reply(text);
    if (wrong) this.#link.reply(errorOf(id, wrong));
  }

  #refuse(id: unknown, handler: AnswerHandler | undefined): RealtimeError | undefined {
    if (this.#running.has(id)) {
      return new RealtimeError("DUPLICATE_ID", "a call with this id is running", { details: { id } });
    }
    if (this.#running.size >= CONCURRENT) return exhausted(`${CONCURRENT} calls are running`);
    return handler ? undefined : noSuchProcedure();
  }
}

/** The answer in JSON. Only an error that was meant for the server says what it is. */
async function run(handler: AnswerHandler, input: unknown, signal: AbortSignal): Promise<string> {
  try {
    return JSON.stringify(await handler(input, { signal })) ?? "null";
  } catch (error) {
    if (error instanceof RealtimeError && error.from === "client") throw error;
    if (!signal.aborted) report("the answer to a call", error);
    throw new RealtimeError("INTERNAL", "internal error");
  }
}

function errorOf(id: unknown, error: RealtimeError): string {
  return encode("error", { id, error: encodeError(error) });
}

/** The server's calls that may run at once. */
const CONCURRENT = 64;
