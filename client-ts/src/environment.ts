/** All that a client needs of the world around it. `./testing` has one with a clock that a test moves. */
export interface Environment {
  /** Milliseconds on a clock that is never set back. */
  now(): number;
  /** Runs something later; returns what prevents it. */
  after(ms: number, run: () => void): () => void;
  /** From 0 to 1. */
  random(): number;
  /** Begins to open a connection. Throws if the request for it is wrong. */
  dial: Dial;
  /** Asks by HTTP whether a connection would be let in. Rejects if nobody answers. */
  probe(request: DialRequest, signal: AbortSignal): Promise<Probe>;
  /** Tells what happens to the page; returns what ends it. */
  watch(listener: (signal: PageSignal) => void): () => void;
}

/** Opens a connection. No event comes before it returns. */
export type Dial = (request: DialRequest, events: SocketEvents) => Socket;

/** A request for a connection. */
export interface DialRequest {
  /** With the scheme `ws` or `wss`. */
  readonly url: string;
  readonly token: string | undefined;
}

/** The events of a socket. Nothing follows `onClose`. */
export interface SocketEvents {
  /** It is open, with the subprotocol that the server chose. */
  onOpen(protocol: string): void;
  onMessage(data: unknown): void;
  /** It is closed, or could not be opened: then the code is 1006. */
  onClose(code: number, reason: string): void;
  /** It was refused, or is no longer wanted, with an HTTP status, where that is known. Nothing follows. */
  onRefuse(refusal: Probe): void;
}

/** The part of a `WebSocket` that a client uses. */
export interface Socket {
  send(text: string): void;
  close(code?: number, reason?: string): void;
  /**
   * Another connection takes its place: carries the calls that run and the events that wait to their end, then closes. Of what
   * it is given to send afterwards, only `cancel` matters. A socket without this is closed.
   */
  retire?(): void;
  /** Bytes that were given to it and not to the network. */
  readonly bufferedAmount: number;
  /** Features that it cannot carry; none if this is missing. */
  readonly lacks?: ReadonlySet<Feature>;
}

/** A feature that a fallback may lack: sending messages, emitting events, answering the server, progress of calls. */
export type Feature = "send" | "emit" | "answer" | "progress";

/** The answer to a request like that for a connection. */
export interface Probe {
  readonly status: number;
  readonly retryAfterMs?: number | undefined;
}

/** `wake`: the network or the page is back. `check`: it may be gone. `freeze`: the page is put away. */
export type PageSignal = "wake" | "check" | "freeze";

/** The one wire format that a page speaks. */
export const SUBPROTOCOL = "realtime.v1.json";

/** The URL of the same endpoint for requests by HTTP. */
export function httpUrl({ url }: DialRequest): string {
  return url.replace(/^ws/, "http");
}

/** The headers of a request by HTTP. */
export function authorization({ token }: DialRequest): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

/** The answer to a request whose redirections are not followed: a page is not told more of them. */
export function refusalOf({ type, status, headers }: Response): Probe {
  return type === "opaqueredirect" ? { status: 302 } : { status, retryAfterMs: retryAfter(headers) };
}

/**
 * The wait in seconds that a `Retry-After` asks for, in milliseconds. A server that says more than an hour is
 * mistaken.
 */
function retryAfter(headers: Headers): number | undefined {
  const seconds = headers.get("retry-after");
  return seconds && /^\d+$/.test(seconds) ? Math.min(Number(seconds) * 1_000, 3_600_000) : undefined;
}
