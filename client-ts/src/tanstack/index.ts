import type { AnyClient, Procedure, Subscription, Update } from "../index.js";

/** The key of a query: `["realtime", name, input]`. */
export type QueryKey = readonly ["realtime", name: string, input: unknown];

/** Options for `useQuery` and its like: `useQuery(queryOptions(client, api.members, { team: 1 }))`. */
export function queryOptions<I, O>(client: AnyClient, procedure: Procedure<I, O>, input: I) {
  return {
    queryKey: queryKey(procedure, input),
    queryFn: ({ signal }: { signal?: AbortSignal }): Promise<O> =>
      client.call(procedure as Procedure<unknown, O>, input, signal && { signal }),
    // The client does what helps: what has failed here may have been carried out.
    retry: false as const,
  };
}

/** Options for `useMutation`. */
export function mutationOptions<I, O>(client: AnyClient, procedure: Procedure<I, O>) {
  return {
    mutationKey: ["realtime", procedure.name] as const,
    mutationFn: (input: I): Promise<O> => client.call(procedure as Procedure<unknown, O>, input),
    retry: false as const,
  };
}

/**
 * Options for `useQuery` with `experimental_streamedQuery`: `{ ...live, queryFn: streamedQuery({ streamFn: live.queryFn }) }`.
 */
export function liveOptions<I, T>(client: AnyClient, subscription: Subscription<I, T>, input: I) {
  return {
    queryKey: queryKey(subscription, input),
    queryFn: ({ signal }: { signal?: AbortSignal }): AsyncIterable<Update<T>> =>
      client.updates(subscription as Subscription<unknown, T>, input, signal && { signal }),
    retry: false as const,
  };
}

/** The key under which a cache keeps the answer: to be given to `invalidateQueries`. */
export function queryKey<I>(name: Procedure<I, unknown> | Subscription<I, unknown>, input: I): QueryKey {
  return ["realtime", name.name, input];
}
