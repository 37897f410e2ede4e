import { Answers } from "./answers.js";
import { Inbox } from "./updates.js";

/** A procedure of the server: a mutation, or a query, which changes nothing. */
export interface Procedure<I, O, P = unknown> {
  readonly kind: "mutation" | "query";
  readonly name: string;
  /** The procedure's own limit, which the server keeps too. */
  readonly timeoutMs: number;
  /** Carries the types; never there. */
  readonly "~types"?: (input: I) => [O, P];
}

/** A stream of items that the server sends until one side ends it. */
export interface Subscription<I, T> {
  readonly kind: "subscription";
  readonly name: string;
  /** The code of subscriptions, which only a page that names one loads. */
  readonly "~inbox": typeof Inbox;
  readonly "~types"?: (input: I) => T;
}

/** A one-way message with a name, in either direction. */
export interface Event<T> {
  readonly kind: "event";
  readonly name: string;
  readonly "~types"?: (data: T) => T;
}

/** A procedure that the server calls on clients. */
export interface Ask<I, O> {
  readonly kind: "ask";
  readonly name: string;
  /** The code of answers, which only a page that names a question loads. */
  readonly "~answers": typeof Answers;
  readonly "~types"?: (output: O) => I;
}

/** A place where clients are present, each with data of type `D`; or a kind of places, whose names go on after a colon. */
export interface Place<D> {
  readonly kind: "place";
  readonly name: string;
  /** Returns a place of this kind: `room:1` of `room`. */
  of(name: string | number): Place<D>;
  readonly "~types"?: () => D;
}

/** An endpoint or handler of the server, with the types of its input and of its messages. */
export interface Endpoint<I = void, C = never, S = never> {
  readonly id: string;
  /** The hash of the schema that the types were generated from. */
  readonly schema: string | undefined;
  readonly "~types"?: (input: I, message: C) => S;
}

/** Options of a procedure. */
export interface ProcedureOptions {
  /** The time limit of a call, 30 s by default. */
  timeoutMs?: number;
}

/** Names a procedure that may change something. `P` is the type of its progress. */
export function mutation<I, O, P = unknown>(name: string, options?: ProcedureOptions): Procedure<I, O, P> {
  return { kind: "mutation", name, timeoutMs: options?.timeoutMs ?? TIME_LIMIT };
}

/** Names a procedure that changes nothing. */
export function query<I, O, P = unknown>(name: string, options?: ProcedureOptions): Procedure<I, O, P> {
  return { kind: "query", name, timeoutMs: options?.timeoutMs ?? TIME_LIMIT };
}

/** Names a subscription. */
export function subscription<I, T>(name: string): Subscription<I, T> {
  return { kind: "subscription", name, "~inbox": Inbox };
}

/** Names an event. */
export function event<T>(name: string): Event<T> {
  return { kind: "event", name };
}

/** Names a procedure that the server calls on clients. */
export function ask<I, O>(name: string): Ask<I, O> {
  return { kind: "ask", name, "~answers": Answers };
}

/** Names a place where clients are present, or a kind of them. */
export function place<D>(name: string): Place<D> {
  return { kind: "place", name, of: (more) => place(`${name}:${more}`) };
}

/**
 * Names an endpoint or a handler: its id, and the types of its input, of what a client sends it with `send`, and of
 * what it sends back.
 */
export function describe<I = void, C = never, S = never>(id: string, schema?: string): Endpoint<I, C, S> {
  return { id, schema };
}

/** The arguments `input` and `options`, of which the first may be left out where the input is `void` or optional. */
export type Arguments<I, Options> = undefined extends I
  ? [input?: I, options?: Options]
  : [input: I, options?: Options];

/** The server's default. */
const TIME_LIMIT = 30_000;
