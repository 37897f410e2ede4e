// The fallback with a real `fetch`, against a server that speaks no WebSocket.

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { connect, describe, event, mutation, type Options, subscription } from "../src/index.js";
import { always } from "./fallback.js";

const add = mutation<number, number>("add");
const items = subscription<number, number>("items");
const typing = event<number>("typing");

let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
});

test("calls, events and subscriptions by HTTP, and nothing is left open in the end", async () => {
  const { open, posted, options } = await serve();
  const client = connect(describe("api"), options);
  const told = new Promise((resolve) => client.on(typing, resolve));
  expect(await client.call(add, 5)).toBe(5);
  client.emit(typing, 7);
  expect(await told).toBe(7);

  const first = client.updates(items, 10);
  const second = client.updates(items, 20);
  expect(await Promise.all([first.next(), second.next()])).toMatchObject([
    { value: { type: "item", value: 10, position: { offset: 1 } } },
    { value: { type: "item", value: 20, position: { offset: 1 } } },
  ]);
  // The other goes on in a stream of its own, behind its position.
  await first.return?.();
  expect(await second.next()).toMatchObject({ value: { value: 21, position: { offset: 2 } } });
  const streams = posted.filter(({ subscribe }) => subscribe);
  expect(streams.map(({ subscribe }) => subscribe.map(({ id, after }: Fields) => [id, after?.offset]))).toEqual([
    [
      ["3", undefined],
      ["4", undefined],
    ],
    [["4", 1]],
  ]);
  expect(open.size).toBe(2);
  await client.close();
  await expect.poll(() => open.size, { timeout: 5_000 }).toBe(0);
});

test("a server that goes is a lost connection, and the client is back when it is", async () => {
  const { options } = await serve();
  await using client = connect(describe("api"), { ...options, reconnect: { baseMs: 10, maxMs: 20 } });
  await client.open();
  server?.closeAllConnections();
  await expect.poll(() => client.state.get().status, { interval: 1 }).not.toBe("open");
  await expect.poll(() => client.state.get().status).toBe("open");
  expect(await client.call(add, 1)).toBe(1);
});

// biome-ignore lint/suspicious/noExplicitAny: what was posted is JSON.
type Fields = Record<string, any>;

/** Each stream of subscriptions has one item for each subscription. */
async function serve() {
  const posted: Fields[] = [];
  const open = new Set<ServerResponse>();
  const begin = (response: ServerResponse) => {
    open.add(response);
    response.on("close", () => open.delete(response));
    response.writeHead(200, { "content-type": "text/event-stream" });
    say(response, { type: "welcome", connection: `c${open.size}` });
  };
  server = createServer(async (request, response) => {
    if (request.method === "HEAD") return response.writeHead(204).end();
    if (request.method === "GET") return begin(response);
    const body = await read(request);
    posted.push(body);
    if (body.subscribe) {
      begin(response);
      for (const { id, input, after } of body.subscribe) {
        const offset = (after?.offset ?? 0) + 1;
        say(response, { type: "data", id, data: input + offset - 1, epoch: "e", offset });
      }
    } else if (body.type === "event") {
      for (const stream of open) say(stream, body);
      response.writeHead(204).end();
    } else {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ ok: true, data: body.input }));
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const options: Options = {
    url: `ws://127.0.0.1:${port}/api`,
    // Whatever can be said for a WebSocket.
    fallback: always,
  };
  return { open, posted, options };
}

async function read(request: IncomingMessage): Promise<Fields> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  return JSON.parse(text);
}

function say(response: ServerResponse, frame: object): void {
  response.write(`data: ${JSON.stringify(frame)}\n\n`);
}
