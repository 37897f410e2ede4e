/** An HTTP status with which the server, or a proxy before it, refused a WebSocket. */
export interface Refusal {
  readonly status: number;
  /** The wait that the server asks for, if it does. */
  readonly retryAfterMs?: number;
  /** True if this client has been connected before: then the URL is right. */
  readonly wasConnected: boolean;
  /** True if the next request may have another token. */
  readonly fetchesToken: boolean;
}

/**
 * Returns whether another attempt may succeed; by default this decides.
 *
 * - Any refusal that says when to try again is temporary.
 * - 401 and 403 are, if a token is fetched for each attempt.
 * - 408, 425, 429 and everything but 3xx and 4xx are.
 * - All others are once the client has been connected.
 */
export function isTemporary({ status, retryAfterMs, wasConnected, fetchesToken }: Refusal): boolean {
  if (retryAfterMs !== undefined) return true;
  if (status === 401 || status === 403) return fetchesToken;
  if (status === 408 || status === 425 || status === 429) return true;
  return status < 300 || status >= 500 || wasConnected;
}

/** Codes that say neither "done" nor "you are wrong". Those from 4000 on are the application's own. */
export function isTemporaryClose(code: number): boolean {
  return ![1000, 1002, 1003, 1007, 1008, 1009].includes(code) && code < 4000;
}
