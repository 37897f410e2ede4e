import { useCallback, useMemo } from "react";
import type { AnyClient, Event, Procedure } from "../index.js";
import { useClient, useLatest } from "./hooks.js";
import { identify, registryOf } from "./registry.js";
import { Shared, useShared } from "./shared.js";

/** The state of a query. */
export interface QueryState<O> {
  readonly status: "idle" | "pending" | "success" | "error";
  /** The latest answer, also while and after another is asked for. */
  readonly data: O | undefined;
  readonly error: unknown;
  /** True while an answer is awaited. */
  readonly isFetching: boolean;
}

/** Options of `useQuery`. */
export interface UseQueryOptions<O> {
  /** `false` does nothing. */
  enabled?: boolean;
  /** The data before the first answer. */
  initial?: O;
  /** Events after which it is asked again; it is after each reconnection, too. */
  // biome-ignore lint/suspicious/noExplicitAny: their data do not matter.
  refreshOn?: readonly Event<any>[];
}

/**
 * The answer of a query. Components that ask the same share it, and the newest request wins. It is asked again after
 * each of the events `refreshOn`, and after a reconnection.
 */
export function useQuery<I, O>(
  procedure: Procedure<I, O>,
  input: I,
  options: UseQueryOptions<O> = {},
): QueryState<O> & { refetch(): void } {
  const client = useClient();
  const latest = useLatest(options);
  const { enabled = true, initial } = options;
  const registry = registryOf(client);
  const id = identify(procedure.name, input);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the id stands for the name and the input.
  const nothing = useMemo(() => beginning(enabled ? "pending" : "idle", initial), [id, enabled]);
  const make = () => new Query<O>(client, procedure as Procedure<unknown, O>, input, latest.current);
  const state = useShared(registry, enabled ? id : undefined, make, nothing);
  const refetch = useCallback(() => registry.get<Query<O>>(id)?.refetch(), [registry, id]);
  return { ...state, refetch };
}

class Query<O> extends Shared<QueryState<O>> {
  readonly #client: AnyClient;
  readonly #procedure: Procedure<unknown, O>;
  readonly #input: unknown;
  readonly #refreshOn: readonly Event<unknown>[];
  readonly #stops: (() => void)[] = [];
  #running: AbortController | undefined;
  #isStale = false;

  constructor(client: AnyClient, procedure: Procedure<unknown, O>, input: unknown, options: UseQueryOptions<O>) {
    super(beginning("pending", options.initial));
    this.#client = client;
    this.#procedure = procedure;
    this.#input = input;
    this.#refreshOn = options.refreshOn ?? [];
  }

  start(): void {
    this.refetch();
    for (const event of this.#refreshOn) this.#stops.push(this.#client.on(event, () => this.#refresh()));
    let wasLost = false;
    this.#stops.push(
      this.#client.state.subscribe(({ status }) => {
        if (status === "reconnecting") wasLost = true;
        if (status === "open" && wasLost) {
          wasLost = false;
          this.refetch();
        }
      }),
    );
  }

  stop(): void {
    this.#running?.abort();
    for (const stop of this.#stops) stop();
  }

  /** Asks again behind a call that runs: events may come faster than answers. */
  #refresh(): void {
    if (this.shown.isFetching) this.#isStale = true;
    else this.refetch();
  }

  refetch(): void {
    this.#isStale = false;
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    this.show({ isFetching: true });
    this.#client.call(this.#procedure, this.#input, { signal: running.signal }).then(
      (data) => this.#end(running, { status: "success", data, error: undefined }),
      (error) => this.#end(running, { status: "error", error }),
    );
  }

  #end(running: AbortController, state: Partial<QueryState<O>>): void {
    if (running.signal.aborted || this.#running !== running) return;
    this.show({ ...state, isFetching: false });
    if (this.#isStale) this.refetch();
  }
}

function beginning<O>(status: "idle" | "pending", data: O | undefined): QueryState<O> {
  return {
    status: data === undefined ? status : "success",
    data,
    error: undefined,
    isFetching: status === "pending",
  };
}
