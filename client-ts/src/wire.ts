import { RealtimeError } from "./error.js";

/** The place of an item in a source that can be resumed. */
export interface Position {
  readonly epoch: string;
  /** A number, or above 2^53 − 1 the text of its digits. */
  readonly offset: number | string;
  /** Given back as it came. */
  readonly proof?: string | null;
}

/** The position of an entry that a call has appended to a feed. */
export interface Appended extends Position {
  /** The name of the feed. */
  readonly topic: string;
}

/** Items that are missing. */
export interface Gap {
  /** The number of items, 0 if it is not known. */
  readonly count: number;
  /**
   * `overflow`, `conflated`, `unreadable_position`, of a feed also `retention` and `diverged`, or the application's word. `reconnect`: the connection was lost, and
   * there was no position to go on from, so that items may be missing.
   */
  readonly cause: string;
  /** The offsets of the first and the last, where they are known. */
  readonly from?: number | string;
  readonly to?: number | string;
}

/** Messages that are missing, and the topic that the server names. */
export interface TopicGap extends Gap {
  readonly topic: string | undefined;
}

/** A frame of the server's. Only what it needs was judged: all other fields may have any value, or none. */
export interface Incoming {
  readonly type: unknown;
  /** A string in the frames that need it, as `name` is. */
  readonly id?: unknown;
  readonly name?: unknown;
  readonly [field: string]: unknown;
}

/** Reads what came in one message. Throws an `Error` that says what is wrong. */
export function decode(message: unknown): Incoming {
  if (typeof message !== "string") throw new Error("a binary message is no frame");
  const frame = parse(message);
  if (!isObject(frame) || frame.type === undefined) throw new Error("no frame: it has no `type`");
  const isShared = frame.type === "data" && typeof frame.topic === "string";
  const needed = isShared ? undefined : NEEDED.get(frame.type);
  if (needed && typeof frame[needed] !== "string") {
    throw new Error(`an unreadable frame of type "${frame.type}": it has no \`${needed}\``);
  }
  return frame as unknown as Incoming;
}

/** Reads as much of an error as can be read. */
export function decodeError(value: unknown): RealtimeError {
  if (!isObject(value))
    return new RealtimeError("PARSE_ERROR", "the server's error cannot be read", { from: "server" });
  return new RealtimeError(text(value.code) ?? "INTERNAL", text(value.message) ?? "", {
    from: "server",
    details: value.details ?? undefined,
    retryable: value.retryable === true,
    retryAfterMs: amount(value.retryAfterMs),
  });
}

/** Writes an error that answers a call of the server's. */
export function encodeError({ code, message, details, retryable, retryAfterMs }: RealtimeError): unknown {
  return { code, message, details, retryable: retryable || undefined, retryAfterMs };
}

/** Writes a frame. What is undefined is left out; `raw` is a value in JSON already. */
export function encode(type: string, fields: object, rawName?: string, raw?: string): string {
  const frame = JSON.stringify({ type, ...fields });
  return rawName ? `${frame.slice(0, -1)},"${rawName}":${raw}}` : frame;
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

/** The bytes of a text in UTF-8. */
export function byteLength(text: string): number {
  return UTF_8.encode(text).length;
}

/** A position, where both of its parts can be read. */
export function positionOf(frame: Incoming): Position | undefined {
  const [epoch, offset, proof] = [text(frame.epoch), readOffset(frame.offset), text(frame.proof)];
  if (epoch === undefined || offset === undefined) return undefined;
  return { epoch, offset, ...(proof !== undefined && { proof }) };
}

/** The entries that a call has appended: those that can be read. */
export function wroteOf(value: unknown): Appended[] {
  return Array.isArray(value) ? value.filter((entry) => isObject(entry) && positionOf(entry as Incoming)) : [];
}

/** A gap, as much of it as can be read. */
export function gapOf(frame: Incoming): Gap {
  const [from, to] = [readOffset(frame.from), readOffset(frame.to)];
  const gap = { count: amount(frame.count) ?? 0, cause: text(frame.cause) ?? "" };
  return from === undefined || to === undefined ? gap : { ...gap, from, to };
}

/** A time, a size or a count, of which fractions do not matter. */
export function amount(value: unknown): number | undefined {
  return typeof value === "number" && value >= 0 ? Math.floor(value) : undefined;
}

/** A string, if it is one. */
export function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function parse(message: string): unknown {
  try {
    return JSON.parse(message);
  } catch (error) {
    throw new Error(`no frame: ${(error as Error).message}`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && !!value && !Array.isArray(value);
}

function readOffset(value: unknown): number | string | undefined {
  return Number.isSafeInteger(value) || /^\d+$/.test(text(value) ?? "") ? (value as number | string) : undefined;
}

const UTF_8 = new TextEncoder();

/** The field without which a frame says nothing. */
const NEEDED = new Map<unknown, string>([
  ["event", "name"],
  ...["data", "subscribed", "complete", "result", "progress", "call", "cancel"].map(
    (type) => [type, "id"] as const,
  ),
]);
