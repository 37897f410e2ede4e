import { createContext, useContext, useInsertionEffect, useRef, useSyncExternalStore } from "react";
import type { AnyClient, Options, Readable } from "../index.js";
import { Registry } from "./registry.js";

/** The value that a `RealtimeProvider` provides. */
export interface RealtimeContext {
  readonly client: AnyClient | undefined;
  /** Options of the sessions that components open. */
  readonly options: Options | undefined;
  /** The sessions. */
  readonly sessions: Registry;
}

/** @internal */
export const Context = createContext<RealtimeContext>({
  client: undefined,
  options: undefined,
  sessions: new Registry(),
});

/** The client of the provider. */
export function useClient(): AnyClient {
  const { client } = useContext(Context);
  if (!client) throw new Error("there is no client: put a <RealtimeProvider client={…}> around the component");
  return client;
}

/** The present value of a `Readable`. */
export function useReadable<T>(readable: Readable<T>): T {
  const get = () => readable.get();
  return useSyncExternalStore((listener) => readable.subscribe(listener), get, get);
}

/** A reference to the value of the latest render. */
export function useLatest<T>(value: T): { readonly current: T } {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}
