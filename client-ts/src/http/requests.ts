import {
  authorization,
  type DialRequest,
  type Environment,
  httpUrl,
  type Probe,
  refusalOf,
} from "../environment.js";
import { amount, decode, type Incoming, text } from "../wire.js";
import { EventParser } from "./events.js";

/** The frames of one stream. `body` is posted, where there is one. */
export interface StreamRequest {
  readonly environment: Environment;
  readonly request: DialRequest;
  readonly body?: object;
  readonly signal: AbortSignal;
}

/** A request that was refused with a status. */
export class Refused extends Error {
  readonly refusal: Probe;

  constructor(refusal: Probe) {
    super(`refused with ${refusal.status}`);
    this.refusal = refusal;
  }
}

/** Posts a frame, or what is like one. */
export function post(request: DialRequest, body: object, signal?: AbortSignal): Promise<Response> {
  return send(request, body, "application/json", signal);
}

/**
 * Reads a stream of frames, the welcome first. Throws where the server does not send one, or where nothing comes for too
 * long: a proxy that holds bytes back is known by nothing else.
 */
export async function* frames({ environment, request, body, signal }: StreamRequest): AsyncGenerator<Incoming> {
  const over = new AbortController();
  const abort = () => over.abort();
  let stopTimer = environment.after(FIRST_BYTE, abort);
  signal.addEventListener("abort", abort);
  try {
    const response = await send(request, body, FRAMES, over.signal);
    const { status, body: stream } = response;
    if (status !== 200 || !stream) throw new Refused(refusalOf(response));
    const reader = stream.getReader();
    const decoder = new TextDecoder();
    const parser = new EventParser();
    for (let isWelcome = true; ; ) {
      const { done, value } = await reader.read();
      stopTimer();
      if (done) return;
      for (const data of parser.push(decoder.decode(value, { stream: true }))) {
        const frame = decode(data);
        if (isWelcome && frame.type !== "welcome") throw new Error("the first frame is no welcome");
        isWelcome = false;
        yield frame;
        if (signal.aborted) return;
      }
      stopTimer = environment.after(SILENCE, abort);
    }
  } finally {
    stopTimer();
    signal.removeEventListener("abort", abort);
    over.abort();
  }
}

/** The code and the reason of a close that ends a stream. */
export function closeOf({ type, code, reason }: Incoming): [code: number, reason: string] | undefined {
  return type === "close" ? [amount(code) ?? NO_STATUS, text(reason) ?? ""] : undefined;
}

function send(request: DialRequest, body: object | undefined, accept: string, signal?: AbortSignal) {
  return fetch(httpUrl(request), {
    method: body ? "POST" : "GET",
    headers: { ...authorization(request), accept, ...(body && { "content-type": "application/json" }) },
    ...(body && { body: JSON.stringify(body) }),
    credentials: "include",
    cache: "no-store",
    redirect: "manual",
    ...(signal && { signal }),
  });
}

/** Each frame as one event without a name. */
const FRAMES = "text/event-stream; realtime=v1.json";

/** Even a slow server begins a stream with its welcome. */
const FIRST_BYTE = 5_000;

/** Twice the interval of the server's comments. */
const SILENCE = 30_000;

/** The code of a close that says none. */
const NO_STATUS = 1005;
