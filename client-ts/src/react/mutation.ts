import { useCallback, useRef, useState } from "react";
import type { Arguments, CallOptions, Procedure } from "../index.js";
import { useClient, useLatest } from "./hooks.js";
import type { Unpatch } from "./live.js";
import type { LiveSubscription } from "./subscription.js";

/** Options of `useMutation`. */
export interface UseMutationOptions<I, D> {
  /**
   * A subscription, and what the call will do to its data: shown at once, on top of what the server confirms, until the
   * call has ended and the subscription has come to what it wrote to that feed. A failed call needs no undoing.
   */
  optimistic?: readonly [live: LiveSubscription<D>, apply: (data: D, input: I) => D];
  /**
   * Returns true if the data have the change, which is then not shown on top any more. It may stay longer than the
   * call.
   */
  until?: (data: D, input: I) => boolean;
}

/** The calls of a component. Of several that run, the newest is told. */
export interface Mutation<I, O, P> {
  /** Makes a call. The promise is rejected where it fails, as `error` tells too. */
  readonly call: (...input: Arguments<I, CallOptions<P>>) => Promise<O>;
  readonly isPending: boolean;
  readonly data: O | undefined;
  readonly error: unknown;
  /** Forgets how the last call ended. */
  readonly reset: () => void;
}

/** Calls a procedure when the component says so. */
export function useMutation<I, O, P, D = unknown>(
  procedure: Procedure<I, O, P>,
  options: UseMutationOptions<I, D> = {},
): Mutation<I, O, P> {
  const client = useClient();
  const latest = useLatest({ procedure, options });
  const newest = useRef(0);
  const [state, setState] = useState<CallState<O>>(NOTHING);

  const call = useCallback(
    (...args: Arguments<I, CallOptions<P>>) => {
      newest.current += 1;
      const number = newest.current;
      const end = (ended: Partial<CallState<O>>) => {
        if (number === newest.current) setState({ ...NOTHING, ...ended });
      };
      const { procedure, options } = latest.current;
      const unpatch = patch(options, args[0] as I);
      setState((before) => ({ ...before, isPending: true }));
      const answer = client.callWritten(procedure, ...args).then(({ value, at }) => {
        if (!options.until) unpatch(at);
        return value;
      });
      answer.then(
        (data) => end({ data }),
        (error) => {
          unpatch();
          end({ error });
        },
      );
      return answer;
    },
    [client, latest],
  );
  const reset = useCallback(() => {
    newest.current += 1;
    setState(NOTHING);
  }, []);
  return { call, reset, ...state };
}

interface CallState<O> {
  readonly isPending: boolean;
  readonly data: O | undefined;
  readonly error: unknown;
}

function patch<I, D>({ optimistic, until }: UseMutationOptions<I, D>, input: I): Unpatch {
  if (!optimistic) return () => {};
  const [live, apply] = optimistic;
  return live.patch({
    apply: (data) => apply(data, input),
    ...(until && { until: (data) => until(data, input) }),
  });
}

const NOTHING = { isPending: false, data: undefined, error: undefined };
