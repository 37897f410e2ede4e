import { RealtimeError } from "./error.js";

/** The place of an item in a source that can be resumed. */
export interface Position {
  readonly epoch: string;
  /** A number, or above 2^53 − 1 the text of its digits. */
  readonly offset: number | string;
}

/** Items that are missing. */
export interface Gap {
  /** How many, 0 if it is not known. */
  readonly count: number;
  /**
   * `overflow`, `conflated`, `unreadable_position`, or the application's word. `reconnect`: the connection was lost, and
   * there was no position to go on from, so that items may be missing.
   */
  readonly cause: string;
  /** The offsets of the first and the last, where they are known. */
  readonly from?: number | string;
  readonly to?: number | string;
}

/** A frame of the server's. */
export type Incoming =
  | { type: "welcome"; connection: string; heartbeatMs?: number; messageBytes?: number; schema?: string }
  | { type: "message"; value: unknown }
  | { type: "event"; name: string; data: unknown }
  | { type: "data"; id: string; data: unknown; position?: Position }
  | { type: "complete" | "cancel"; id: string }
  | { type: "result" | "progress"; id: string; data: unknown }
  | { type: "error"; id?: string; error: RealtimeError }
  | { type: "call"; id: string; path: string; input: unknown; timeoutMs?: number }
  | { type: "gap"; id: string; gap: Gap }
  | { type: "unknown" };

/**
 * Reads what came in one message. A frame of an unknown type is `unknown`, whatever its fields are, and no field is
 * judged that is not needed. Throws an `Error` that says what is wrong.
 */
export function decode(message: unknown): Incoming {
  if (typeof message !== "string") throw new Error("a binary message is no frame");
  const frame = parse(message);
  if (frame.type === undefined) throw new Error("no frame: it has no `type`");
  switch (frame.type) {
    case "welcome":
      return {
        type: "welcome",
        connection: text(frame.connection) ?? "",
        heartbeatMs: millis(frame.heartbeatMs),
        messageBytes: millis(frame.messageBytes),
        schema: text(frame.schema),
      };
    case "message":
      return { type: "message", value: frame.value ?? null };
    case "event":
      return { type: "event", name: required(frame, "name"), data: frame.data ?? null };
    case "data":
      return { type: "data", id: required(frame, "id"), data: frame.data ?? null, position: position(frame) };
    case "complete":
      return { type: "complete", id: required(frame, "id") };
    case "cancel":
      return { type: "cancel", id: required(frame, "id") };
    case "result":
      return { type: "result", id: required(frame, "id"), data: frame.data ?? null };
    case "progress":
      return { type: "progress", id: required(frame, "id"), data: frame.data ?? null };
    case "error":
      return { type: "error", id: text(frame.id), error: decodeError(frame.error) };
    case "call": {
      const path = Array.isArray(frame.path) ? frame.path.join(".") : required(frame, "path");
      const input = frame.input ?? null;
      return { type: "call", id: required(frame, "id"), path, input, timeoutMs: millis(frame.timeoutMs) };
    }
    case "gap":
      // A topic's gap belongs to no subscription.
      return typeof frame.id === "string" ? { type: "gap", id: frame.id, gap: gap(frame) } : UNKNOWN;
    default:
      return UNKNOWN;
  }
}

/** Reads as much of an error as can be read. */
export function decodeError(value: unknown): RealtimeError {
  if (!isObject(value)) return new RealtimeError("PARSE_ERROR", "the server's error cannot be read", REMOTE);
  return new RealtimeError(text(value.code) ?? "INTERNAL", text(value.message) ?? "", {
    ...REMOTE,
    details: value.details ?? undefined,
    retryable: value.retryable === true,
    retryAfterMs: millis(value.retryAfterMs),
  });
}

/** Writes an error that answers a call of the server's. */
export function encodeError({ code, message, details, retryable, retryAfterMs }: RealtimeError): unknown {
  return { code, message, details, retryable: retryable || undefined, retryAfterMs };
}

/** Writes a frame. What is undefined is left out; `raw` is a value in JSON already. */
export function encode(type: string, fields: object, rawName?: string, raw?: string): string {
  const frame = JSON.stringify({ type, ...fields });
  return rawName === undefined ? frame : `${frame.slice(0, -1)},"${rawName}":${raw}}`;
}

/** Writes a value in JSON. Throws what is wrong with one that has no such form. */
export function toJson(what: string, value: unknown): string {
  let wrong = "it has no form in JSON";
  try {
    const json = JSON.stringify(value);
    if (json !== undefined) return json;
  } catch (error) {
    wrong = (error as Error).message;
  }
  throw new RealtimeError("INVALID_ARGUMENT", `${what} cannot be written: ${wrong}`);
}

/** A whole number that is no negative one. */
export function whole(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

/** A position, where both of its parts can be read. */
export function position({ epoch, offset }: Fields): Position | undefined {
  const at = readOffset(offset);
  return typeof epoch === "string" && at !== undefined ? { epoch, offset: at } : undefined;
}

/** A gap, as much of it as can be read. */
export function gap({ count, cause, from, to }: Fields): Gap {
  const gap = { count: whole(count) ?? 0, cause: text(cause) ?? "" };
  const [first, last] = [readOffset(from), readOffset(to)];
  return first === undefined || last === undefined ? gap : { ...gap, from: first, to: last };
}

export function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

type Fields = Record<string, unknown>;

function parse(message: string): Fields {
  let frame: unknown;
  try {
    frame = JSON.parse(message);
  } catch (error) {
    throw new Error(`no frame: ${(error as Error).message}`);
  }
  if (!isObject(frame)) throw new Error("no frame: it is no object");
  return frame;
}

function required(frame: Fields, name: string): string {
  const value = frame[name];
  if (typeof value === "string") return value;
  const wrong = value === undefined ? `it has no \`${name}\`` : `its \`${name}\` is no string`;
  throw new Error(`an unreadable frame of type "${frame.type}": ${wrong}`);
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** A time or a size, of which fractions do not count. */
function millis(value: unknown): number | undefined {
  return typeof value === "number" && value >= 0 ? Math.floor(value) : undefined;
}

function readOffset(value: unknown): number | string | undefined {
  return typeof value === "string" && /^\d+$/.test(value) ? value : whole(value);
}

const UNKNOWN: Incoming = { type: "unknown" };
const REMOTE = { from: "server" } as const;
