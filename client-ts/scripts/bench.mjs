// What the client does in a second over the loopback, beside a server that does nothing: `npm run bench` after
// `npm run build`. Compare numbers of one machine only.

import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { connect, describe, mutation, subscription } from "../dist/index.js";

const SECONDS = 3;
const echo = mutation("echo");
const items = subscription("items");

if (process.argv[2] === "server") serve();
else await measure();

async function measure() {
  const server = fork(new URL(import.meta.url), ["server"]);
  const port = await new Promise((resolve) => server.once("message", resolve));
  const client = connect(describe("api"), { url: `ws://127.0.0.1:${port}/` });
  await client.open();
  report("calls, one after the other", await during(async () => client.call(echo, 1)));
  report(
    "calls, 50 at once",
    await during(async () => {
      await Promise.all(Array.from({ length: 50 }, () => client.call(echo, 1)));
      return 50;
    }),
  );
  let taken = 0;
  const onData = () => {
    taken += 1;
  };
  const stop = client.subscribe(items, 1, { onData });
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1_000));
  report("items of a stream", taken / SECONDS);
  stop();
  client.subscribe(items, 2, { onData: () => new Promise(() => {}) });
  const begin = performance.now();
  for (let n = 0; n < 100; n += 1) await client.call(echo, n);
  console.log(`a call beside a stream that nobody takes: ${((performance.now() - begin) / 100).toFixed(2)} ms`);
  await client.close();
  server.kill();
}

function serve() {
  const server = createServer().on("upgrade", (request, socket) => {
    socket.setNoDelay(true);
    const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    const head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"];
    head.push(`Sec-WebSocket-Accept: ${accept}`, "Sec-WebSocket-Protocol: realtime.v1.json", "", "");
    socket.write(head.join("\r\n"));
    socket.write(frame({ type: "welcome", connection: "c", heartbeatMs: 25_000 }));
    let rest = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      const answers = [];
      for (let read = unframe(rest); read; read = unframe(rest)) {
        rest = rest.subarray(read.length);
        answers.push(...answer(read.text));
      }
      if (answers.length > 0) socket.write(Buffer.concat(answers));
    });
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1", () => process.send(server.address().port));
}

async function during(work) {
  const end = performance.now() + SECONDS * 1_000;
  let count = 0;
  while (performance.now() < end) {
    const done = await work();
    count += done === 50 ? 50 : 1;
  }
  return count / SECONDS;
}

function report(what, number) {
  console.log(`${what}: ${Math.round(number).toLocaleString("en")} a second`);
}

function answer(text) {
  const { type, id, input, credit, more } = JSON.parse(text);
  if (type === "call") return [frame({ type: "result", id, data: input })];
  const count = type === "subscribe" ? credit : type === "credit" ? more : 0;
  return Array.from({ length: count }, (_, offset) =>
    frame({ type: "data", id, data: offset, offset, epoch: "e" }),
  );
}

function frame(value) {
  const text = Buffer.from(JSON.stringify(value));
  return Buffer.concat([Buffer.from([0x81, text.length]), text]);
}

/** One masked text of up to 64 KiB, if all of it is there. */
function unframe(bytes) {
  if (bytes.length < 6) return undefined;
  const short = bytes[1] & 0x7f;
  const head = short === 126 ? 4 : 2;
  const size = short === 126 ? bytes.readUInt16BE(2) : short;
  const length = head + 4 + size;
  if (bytes.length < length) return undefined;
  const text = Buffer.alloc(size);
  for (let n = 0; n < size; n += 1) text[n] = bytes[head + 4 + n] ^ bytes[head + (n % 4)];
  return { length, text: (bytes[0] & 0x0f) === 1 ? text.toString() : '{"type":"close"}' };
}
