// The fallback against requests that the test answers, on a network without WebSockets.

import { expect, vi } from "vitest";
import { http } from "../src/http/index.js";
import { connect, describe, type Environment, event, mutation, type Options, subscription } from "../src/index.js";
import { settle, TestNetwork } from "../src/testing/index.js";

export const add = mutation<number, number>("add");
export const items = subscription<number, number>("items");
export const typing = event<number>("typing");

/** A `subscribe` frame without credit: a stream cannot be granted any. */
export function frame(id: string, input: number) {
  return { type: "subscribe", id, path: "items", input };
}

/** A stream of frames that the test writes. */
/** Answers what is posted. */
// biome-ignore lint/suspicious/noExplicitAny: what was posted is JSON.
export type Respond = (body: any, init?: RequestInit) => Promise<Response>;

export class Stream {
  readonly response: Response;
  isCancelled = false;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(signal: AbortSignal | null | undefined) {
    // As `fetch` does it.
    signal?.addEventListener("abort", () => {
      this.isCancelled = true;
      this.#controller?.error(signal.reason);
    });
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
    });
    this.response = new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  async say(...frames: object[]): Promise<void> {
    if (this.isCancelled) return;
    const text = frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join("");
    this.#controller?.enqueue(new TextEncoder().encode(text));
    for (let n = 0; n < 8; n += 1) await settle();
  }

  async end(): Promise<void> {
    this.#controller?.close();
    for (let n = 0; n < 4; n += 1) await settle();
  }
}

/** An answer that the test holds back. */
export function later() {
  let resolve: (response: Response) => void = () => {};
  const promise = new Promise<Response>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

export async function block(network: TestNetwork): Promise<void> {
  network.random = 0.5;
  (await network.dialed()).refuse(204);
  const server = await network.dialed();
  server.refuse(204);
  await network.advance(1_000);
}

/** A client that uses the fallback. */
export async function fallenBack(options: Partial<Options> = {}) {
  const all = setUp(options);
  all.client.open();
  await block(all.network);
  expect(all.client.state.get().status).toBe("open");
  return all;
}

export function setUp(
  options: Partial<Options> = {},
  respond: Respond = async ({ input }) => Response.json({ ok: true, data: input }),
) {
  const network = new TestNetwork();
  const streams: Stream[] = [];
  const gets: Record<string, string>[] = [];
  // biome-ignore lint/suspicious/noExplicitAny: what was posted is JSON.
  const posted: any[] = [];
  let next: ((init?: RequestInit) => Promise<Response>) | undefined;
  const stream = (signal?: AbortSignal | null) => {
    const stream = new Stream(signal);
    streams.push(stream);
    return stream.response;
  };
  vi.stubGlobal("fetch", async (url: string, init?: RequestInit): Promise<Response> => {
    expect(url).toBe("http://server/x");
    const accept = init?.headers as Record<string, string>;
    if (init?.method === "GET") {
      gets.push(accept);
      const response = stream(init?.signal);
      streams.at(-1)?.say({ type: "welcome", connection: `c${gets.length}` });
      return response;
    }
    const body = JSON.parse(`${init?.body}`);
    posted.push(body);
    if (body.subscribe && !next) return stream(init?.signal);
    const answer = next;
    next = undefined;
    return answer ? answer(init) : respond(body, init);
  });
  const { probe } = network.environment;
  const environment: Environment = {
    ...network.environment,
    // The server answers by HTTP what does not ask for a WebSocket.
    probe: async (request, signal) =>
      network.requests.includes(request) ? await probe(request, signal) : { status: 204 },
  };
  const client = connect(describe("api"), { url: "ws://server/x", environment, fallback: http, ...options });
  /** Answers the next request that is no stream. */
  const answer = (run: NonNullable<typeof next>) => {
    next = run;
  };
  return { network, client, streams, gets, posted, answer };
}
