/** The state of a client. */
export type State =
  /** Nothing yet: it connects when it is first used. */
  | { readonly status: "idle" }
  /** It makes a connection. `attempt` counts from 1, until a connection stays open for 5 s. */
  | { readonly status: "connecting"; readonly attempt: number }
  /** It is connected; the server gave this connection an id. */
  | { readonly status: "open"; readonly connection: string }
  /** It waits for `afterMs` before it makes the connection with the number `attempt`. */
  | {
      readonly status: "reconnecting";
      readonly attempt: number;
      readonly afterMs: number;
      readonly cause: Cause;
    }
  /** It is done for good. No other state follows. */
  | { readonly status: "closed"; readonly cause: Cause };

/** The reason why there is no connection. */
export type Cause =
  /** This side closed. */
  | { readonly type: "local" }
  /** The server closed with this code, 1005 if it said none. */
  | { readonly type: "closed"; readonly code: number; readonly reason: string }
  /** It broke without a word, or could not be made. */
  | { readonly type: "lost"; readonly message: string }
  /** Nothing was heard of the server, not even an answer to a ping. */
  | { readonly type: "silent" }
  /** It could not be made in time. */
  | { readonly type: "timeout" }
  /** The server refused the request for a WebSocket with an HTTP status. */
  | { readonly type: "refused"; readonly status: number }
  /** There was no token. */
  | { readonly type: "token"; readonly message: string }
  /** It cannot be made: the URL is wrong, or the server does not speak the protocol. */
  | { readonly type: "invalid"; readonly message: string };

/** Puts a cause into words. */
export function describeCause(cause: Cause): string {
  switch (cause.type) {
    case "local":
      return "closed by this side";
    case "closed":
      return `the server closed with ${cause.code}${cause.reason && `: ${cause.reason}`}`;
    case "lost":
      return `connection lost: ${cause.message}`;
    case "silent":
      return "nothing was heard of the server";
    case "timeout":
      return "no connection in time";
    case "refused":
      return `refused with ${cause.status}`;
    case "token":
      return `no token: ${cause.message}`;
    case "invalid":
      return cause.message;
  }
}

/** A connection that broke, or could not be made. */
export function lostBy(message: string): Cause {
  return { type: "lost", message };
}
