import {
  authorization,
  type DialRequest,
  type Environment,
  httpUrl,
  type PageSignal,
  type Probe,
  refusalOf,
  type Socket,
  type SocketEvents,
  SUBPROTOCOL,
} from "./environment.js";

/** A page, or whatever else has `WebSocket` and `fetch`. */
export function page(Constructor: unknown = globalThis.WebSocket): Environment {
  return {
    now: () => performance.now(),
    after(ms, run) {
      const timer = setTimeout(run, Math.min(ms, LONGEST_TIMER));
      return () => clearTimeout(timer);
    },
    random: Math.random,
    dial: (request, events) => dial(Constructor as typeof WebSocket | undefined, request, events),
    probe,
    watch,
  };
}

function dial(Constructor: typeof WebSocket | undefined, request: DialRequest, events: SocketEvents): Socket {
  if (!Constructor) throw new Error("there is no WebSocket here: pass one in the option `WebSocket`");
  const offered = request.token === undefined ? [SUBPROTOCOL] : [SUBPROTOCOL, bearer(request.token)];
  const socket = new Constructor(request.url, offered);
  let phase: "dialing" | "open" | "over" = "dialing";
  const end = (code: number, reason: string) => {
    if (phase !== "over") events.onClose(code, reason);
    phase = "over";
  };
  socket.onopen = () => {
    phase = "open";
    events.onOpen(socket.protocol);
  };
  socket.onmessage = ({ data }) => events.onMessage(data);
  socket.onclose = ({ code, reason }) => end(code, reason);
  // Node.js 20 tells no close of a socket that could not be opened.
  socket.onerror = () => {
    if (phase === "dialing") end(1006, "");
  };
  return socket;
}

/** A page cannot set headers on a WebSocket: the token is a subprotocol, which has the form of a token of RFC 9110. */
function bearer(token: string): string {
  if (/^[\w!#$%&'*+.^`|~-]+$/.test(token)) return `bearer.${token}`;
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  const base64 = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return `bearer64.${base64}`;
}

async function probe(request: DialRequest, signal: AbortSignal): Promise<Probe> {
  const url = httpUrl(request);
  const asked = fetch(url, {
    method: "HEAD",
    headers: authorization(request),
    credentials: "include",
    cache: "no-store",
    redirect: "manual",
    signal,
  });
  const response = await asked.catch((error) => {
    const origin = globalThis.location?.origin;
    // A page may not read what another origin answers, nor whether it does.
    const isForeign = origin && !url.startsWith(`${origin}/`);
    throw isForeign ? new Error(`is ${origin} in Config::origins, and Config::cors set with credentials?`) : error;
  });
  return refusalOf(response);
}

function watch(listener: (signal: PageSignal) => void): () => void {
  if (typeof document === "undefined") return () => {};
  const ended = new AbortController();
  const on = (target: EventTarget, name: string, tell: (event: globalThis.Event) => PageSignal | undefined) => {
    const handle = (event: globalThis.Event) => {
      const signal = tell(event);
      if (signal) listener(signal);
    };
    target.addEventListener(name, handle, { signal: ended.signal });
  };
  on(window, "online", () => "wake");
  on(window, "offline", () => "check");
  on(window, "pageshow", () => "wake");
  // Only a page without connections may be kept, to be shown again.
  on(window, "pagehide", (event) => ((event as PageTransitionEvent).persisted ? "freeze" : undefined));
  on(document, "visibilitychange", () => (document.visibilityState === "visible" ? "wake" : undefined));
  return () => ended.abort();
}

/** Longer timers fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;
