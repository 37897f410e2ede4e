import { useMemo } from "react";
import type { Subscription } from "../index.js";
import { useClient, useLatest } from "./hooks.js";
import { beginning, Live, type LiveOptions, type LiveState, type Patch, type Unpatch } from "./live.js";
import { identify, registryOf } from "./registry.js";
import { useShared } from "./shared.js";

/** Options of `useSubscription`. */
export interface UseSubscriptionOptions<T, D> extends LiveOptions<T, D> {
  /** `false` does nothing. */
  enabled?: boolean;
  /** Shares the subscription with those of the same key only: for another `reduce`. */
  key?: string;
}

/** A subscription of a component. */
export interface LiveSubscription<D> extends LiveState<D> {
  /** Begins again with the initial data, as after a gap. */
  restart(): void;
  /** Puts a change on top of the data; returns what takes it away. */
  patch(patch: Patch<D>): Unpatch;
}

/**
 * Subscribes, and returns the data. Components that ask for the same input share one; it ends when the last has gone. It is
 * rendered once for each frame of the screen at most.
 */
export function useSubscription<I, T, D = T>(
  subscription: Subscription<I, T>,
  input: I,
  options: UseSubscriptionOptions<T, D> = {},
): LiveSubscription<D> {
  const client = useClient();
  const latest = useLatest(options);
  const { enabled = true, key } = options;
  const registry = registryOf(client);
  const id = identify(subscription.name, input, key);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the id stands for the name and the input.
  const nothing = useMemo(() => beginning(enabled ? "pending" : "idle", options), [id, enabled]);
  const make = () => new Live<T, D>(client, subscription as Subscription<unknown, T>, input, latest);
  const state = useShared(registry, enabled ? id : undefined, make, nothing);
  const actions = useMemo(() => {
    const find = () => registry.get<Live<T, D>>(id);
    return {
      restart: () => find()?.restart(),
      patch: (patch: Patch<D>) => find()?.patch(patch) ?? (() => {}),
    };
  }, [registry, id]);
  return { ...state, ...actions };
}
