import { createElement, type ReactNode, useEffect, useMemo, useState } from "react";
import {
  type AnyClient,
  type Ask,
  type Event,
  type Members,
  type Options,
  type Place,
  present,
  type State,
} from "../index.js";
import { nameOf } from "../presence.js";
import { Context, useClient, useLatest, useReadable } from "./hooks.js";
import { Registry } from "./registry.js";

export { useClient, useReadable } from "./hooks.js";
export type { LiveOptions, LiveState, Patch, Unpatch } from "./live.js";
export { type Mutation, type UseMutationOptions, useMutation } from "./mutation.js";
export { type QueryState, type UseQueryOptions, useQuery } from "./query.js";
export { type Session, type SessionState, type UseSessionOptions, useSession } from "./session.js";
export { type LiveSubscription, type UseSubscriptionOptions, useSubscription } from "./subscription.js";

/** Properties of `RealtimeProvider`. */
export interface RealtimeProviderProps {
  /** The client of all hooks below but `useSession`. */
  client?: AnyClient;
  /** The options of the sessions that `useSession` opens. */
  options?: Options;
  children?: ReactNode;
}

/** Gives the components below it a client. */
export function RealtimeProvider({ client, options, children }: RealtimeProviderProps): ReactNode {
  const [sessions] = useState(() => new Registry());
  const value = useMemo(() => ({ client, options, sessions }), [client, options, sessions]);
  return createElement(Context.Provider, { value }, children);
}

/** Returns the state of the client. */
export function useConnection(): State {
  return useReadable(useClient().state);
}

/** Calls the latest render's `listener` for each event. */
export function useEvent<T>(event: Event<T>, listener: (data: T) => void): void {
  const client = useClient();
  const latest = useLatest(listener);
  useEffect(() => client.on(event, (data) => latest.current(data)), [client, event, latest]);
}

/** Answers calls of the server's by the latest render's `handler`. */
export function useAnswer<I, O>(
  ask: Ask<I, O>,
  handler: (input: I, context: { readonly signal: AbortSignal }) => O | Promise<O>,
): void {
  const client = useClient();
  const latest = useLatest(handler);
  useEffect(() => client.answer(ask, (input, context) => latest.current(input, context)), [client, ask, latest]);
}

/** Returns who is present in a place: the data of each connection. */
export function usePresent<D>(place: Place<D> | string): Members<D> {
  const client = useClient();
  const name = nameOf(place);
  return useReadable(useMemo(() => present<D>(client, name), [client, name]));
}
