import type { Cause } from "./state.js";
import { describeCause } from "./state.js";

/** A kind of error: one of the protocol's, or the application's own. */
export type Code =
  | "INTERNAL"
  | "UNAUTHENTICATED"
  | "PERMISSION_DENIED"
  | "INVALID_ARGUMENT"
  | "FAILED_PRECONDITION"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "ABORTED"
  | "CANCELLED"
  | "DEADLINE_EXCEEDED"
  | "RESOURCE_EXHAUSTED"
  | "UNAVAILABLE"
  | "UNIMPLEMENTED"
  | "PARSE_ERROR"
  | "UNSUPPORTED_DATA"
  | "DUPLICATE_ID"
  | "METHOD_MISMATCH"
  | (string & {});

/** The parts of an error beside its code and message. */
export interface ErrorOptions {
  details?: unknown;
  retryable?: boolean;
  retryAfterMs?: number;
  from?: RealtimeError["from"];
  cause?: unknown;
}

/**
 * The reason why a call, a subscription or a message came to nothing. An `ask` handler throws it to choose the
 * code.
 */
export class RealtimeError extends Error {
  /** The kind of error. */
  readonly code: Code;
  /** For programs: `{ path }` names the field of a value that did not fit. */
  readonly details: unknown;
  /** True if the same may succeed later. */
  readonly retryable: boolean;
  /** The wait before another try, if the server names one. */
  readonly retryAfterMs: number | undefined;
  /** The origin: the server's answer, this client, or the end of the client, after which nothing succeeds. */
  readonly from: "server" | "client" | "closed";

  constructor(code: Code, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = "RealtimeError";
    this.code = code;
    this.details = options.details;
    this.retryable = options.retryable ?? false;
    this.retryAfterMs = options.retryAfterMs;
    this.from = options.from ?? "client";
  }
}

/** Thrown by a `token` function that has no token any more: the client closes. Any other error is tried again. */
export class Unauthorized extends Error {
  constructor(message = "unauthorized") {
    super(message);
    this.name = "Unauthorized";
  }
}

/** The client is closed. */
export function closed(cause: Cause): RealtimeError {
  return cancelled(`the client is closed: ${describeCause(cause)}`, "closed");
}

/** Nobody waits for it any more. */
export function cancelled(message: string, from?: "closed"): RealtimeError {
  return new RealtimeError("CANCELLED", message, { from });
}

/** The server calls what nobody answers. */
export function noSuchProcedure(): RealtimeError {
  return new RealtimeError("NOT_FOUND", "this client has no such procedure");
}

/** No answer in time. */
export function timedOut(message = "there was no answer in time"): RealtimeError {
  return new RealtimeError("DEADLINE_EXCEEDED", message);
}

/** The connection was lost before the answer. */
export function lost(message = "the connection was lost before there was an answer"): RealtimeError {
  return unavailable(message);
}

/** There is no connection, and nothing may wait for one. */
export function offline(): RealtimeError {
  return unavailable("there is no connection, and no room to wait for one");
}

/** More waits than may. */
export function full(): RealtimeError {
  return exhausted("too much waits to be sent");
}

/** A limit is reached. */
export function exhausted(message: string): RealtimeError {
  return new RealtimeError("RESOURCE_EXHAUSTED", message, { retryable: true });
}

/** The request is wrong. */
export function invalid(message: string): RealtimeError {
  return new RealtimeError("INVALID_ARGUMENT", message);
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs code of the application, whose failure is logged, also a later one, and harms nobody else. */
export function guard<T>(what: string, run: () => T): T | undefined {
  try {
    const result = run();
    if (result instanceof Promise) result.catch((error) => report(what, error));
    return result;
  } catch (error) {
    report(what, error);
    return undefined;
  }
}

/** Logs that code of the application failed. */
export function report(what: string, error: unknown): void {
  console.error(`${what} failed`, error);
}

function unavailable(message: string): RealtimeError {
  return new RealtimeError("UNAVAILABLE", message, { retryable: true });
}
