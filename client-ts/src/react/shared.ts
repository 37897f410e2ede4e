import { useCallback, useSyncExternalStore } from "react";
import { Listeners } from "../store.js";
import type { Registry } from "./registry.js";

/** A resource that components share. It runs while one of them is mounted. */
export abstract class Shared<S> {
  /** The state that is shown, a new object at each change. */
  shown: S;
  readonly #listeners = new Listeners<undefined>();

  constructor(shown: S) {
    this.shown = shown;
  }

  abstract start(): void;

  abstract stop(): void;

  /** Calls `listener` after each change; returns what ends it. */
  listen(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  protected show(change: Partial<S>): void {
    this.shown = { ...this.shown, ...change };
    this.#listeners.tell(undefined);
  }
}

/**
 * Uses what has this id, which is made if nobody does, and returns its state; `nothing` where it is not there, or without
 * an id.
 */
export function useShared<S>(registry: Registry, id: string | undefined, make: () => Shared<S>, nothing: S): S {
  // biome-ignore lint/correctness/useExhaustiveDependencies: the id stands for all that `make` needs.
  const listen = useCallback(
    (listener: () => void) => (id === undefined ? () => {} : registry.use(id, make, listener)),
    [registry, id],
  );
  return useSyncExternalStore(
    listen,
    () => registry.get<Shared<S>>(id)?.shown ?? nothing,
    () => nothing,
  );
}
