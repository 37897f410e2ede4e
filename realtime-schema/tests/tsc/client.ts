// Stands in for the npm package: the helpers that generated files import, with their types.

export interface Procedure<I, O, P> {
  readonly "~types"?: (input: I) => [O, P];
}
export interface Subscription<I, T> {
  readonly "~types"?: (input: I) => T;
}
export interface Event<T> {
  readonly "~types"?: (data: T) => T;
}
export interface Ask<I, O> {
  readonly "~types"?: (output: O) => I;
}
export interface Place<D> {
  of(name: string | number): Place<D>;
  readonly "~types"?: () => D;
}
export interface Endpoint<I, C, S> {
  readonly "~types"?: (input: I, message: C) => S;
}

export const mutation = <I, O, P = unknown>(_name: string, _options?: { timeoutMs?: number }): Procedure<I, O, P> => ({});
export const query = <I, O, P = unknown>(_name: string, _options?: { timeoutMs?: number }): Procedure<I, O, P> => ({});
export const subscription = <I, T>(_name: string): Subscription<I, T> => ({});
export const event = <T>(_name: string): Event<T> => ({});
export const ask = <I, O>(_name: string): Ask<I, O> => ({});
export const place = <D>(name: string): Place<D> => ({ of: (more) => place(`${name}:${more}`) });
export const present = <D>(_client: unknown, _place: Place<D> | string): { get(): ReadonlyMap<string, D> } => ({ get: () => new Map() });
export const describe = <I = void, C = never, S = never>(_id: string, _schema?: string): Endpoint<I, C, S> => ({});
