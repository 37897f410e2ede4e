import type { Reconnect } from "./backoff.js";
import type { Driver } from "./driver.js";
import type { Dial, Environment } from "./environment.js";
import type { Failure, Link } from "./link.js";
import type { OfflineQueue } from "./queue.js";
import type { Refusal } from "./refusal.js";
import type { Cause } from "./state.js";

/** Options of a client. */
export interface Options {
  /**
   * The endpoint's URL: absolute, with `ws`, `wss`, `http` or `https`, or relative to the page. By default
   * `/__realtime/{id}` of the page's host.
   */
  url?: string | URL;
  /**
   * Asked for a token before each attempt to connect. Throws [`Unauthorized`](./error.ts) to end the client; after any
   * other error the attempt has failed like any other. The server finds the token in the subprotocol `bearer.<token>`.
   */
  token?: () => string | Promise<string>;
  /** The limits of what may wait while there is no connection. */
  offlineQueue?: OfflineQueue;
  /** The pace of reconnecting. */
  reconnect?: Reconnect;
  /**
   * Decides whether to reconnect after a close code: by default after all but 1000, 1002, 1003, 1007, 1008, 1009
   * and 4000–4999.
   */
  reconnectOn?: (code: number) => boolean;
  /** Decides whether to reconnect after a refusal: by default `isTemporary`. */
  reconnectOnRefusal?: (refusal: Refusal) => boolean;
  /** The time limit of an attempt, from the token to the server's welcome: 10 s by default. */
  connectTimeoutMs?: number;
  /** The silence after which the server is pinged: by default the interval that the server announces. */
  pingAfterMs?: number;
  /** The time for the answer: 10 s by default. */
  pingTimeoutMs?: number;
  /** The longest that `close` waits for the server: 3 s by default. */
  closeTimeoutMs?: number;
  /** A fallback for where a WebSocket cannot be opened: `http` of `./http`. */
  fallback?: (driver: Driver) => Fallback;
  /** The class of sockets, where there is none of this name: on Node.js 20, for example that of `ws`. */
  WebSocket?: unknown;
  /** The clock and the network, for tests. */
  environment?: Environment;
}

/**
 * A replacement for the WebSocket, which decides when it is used, and which connection of the client is the present one
 * when a WebSocket can be opened again.
 */
export interface Fallback {
  /** Dials instead of the WebSocket, while that counts as blocked. */
  readonly dial: Dial | undefined;
  /** True while what is sent now would overtake events that a replaced connection is still sending. */
  readonly isSending: boolean;
  /** The present connection was welcomed. */
  onOpen(): void;
  /** Another was: puts it in the place of the present one. Returns false if it may not. */
  replace(link: Link): boolean;
  /** Returns true if this is a replaced connection that carries its calls to their end. */
  carries(link: Link): boolean;
  /** A connection has ended. Returns true if it was not the present one. */
  onEnd(link: Link, failure: Failure): boolean;
  /** The present connection was lost, or an attempt failed before it was open, whether or not the server answers by HTTP. */
  onLose(wasOpen: boolean, isReachable: boolean | undefined): void;
  /** Tells replaced connections what is sent: it may give up a call that one of them carries. */
  send(text: string): void;
  /** No replaced connection can be used any more. */
  fail(cause: Cause): void;
  /** A call that wants its progress is sent: says where the present connection carries none. */
  expectProgress(path: string): void;
  /** The network or the page is back. */
  onWake(): void;
  /** The client is closed. */
  onClose(): void;
}
