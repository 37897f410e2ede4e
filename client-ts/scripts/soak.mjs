// Clients of feeds whose server is killed again and again: `cargo xtask soak restart --typescript 100`, after
// `npm run build`. Takes one command a line and answers each with a line of JSON; the books are as in
// `soak/src/restart/reader.rs`.

import { createInterface } from "node:readline";
import { connect, describe, subscription } from "../dist/index.js";

const FEEDS = 10;
const changes = subscription("changes");
const state = subscription("state");

let isOver = false;
const [url, count] = [process.argv[2], Number(process.argv[3])];
const readers = Array.from({ length: count }, (_, number) => read(number));

for await (const line of createInterface({ input: process.stdin })) {
  const { lives, ends } = JSON.parse(line);
  if (lives !== undefined) {
    await until(() => readers.every(({ book }) => book.spans.length >= lives));
    console.log("{}");
    continue;
  }
  await until(() => readers.every(({ book }) => hasAll(book, ends)));
  isOver = true;
  await Promise.all(readers.map(({ client }) => client.close()));
  console.log(JSON.stringify(readers.map(({ book }) => book)));
}

function read(number) {
  const book = { spans: [], twice: 0, disordered: 0, diverged: 0, states: 0, restated: 0, wrong: [] };
  const client = connect(describe("feeds"), { url, reconnect: { baseMs: 20, maxMs: 300 } });
  client.subscribe(Math.floor(number / FEEDS) % 2 === 0 ? changes : state, number % FEEDS, {
    onBegin: ({ position }) => begin(book, position),
    onData: (change, position) => take(book, change, position),
    onGap: (gap) => {
      if (gap.cause === "diverged" && gap.count === 0) book.diverged += 1;
      else book.wrong.push(`a gap: ${JSON.stringify(gap)}`);
    },
    onError: (error) => isOver || book.wrong.push(error.message),
  });
  return { client, book };
}

function begin(book, { epoch, offset }) {
  if (book.spans.at(-1)?.[0] !== epoch) book.spans.push([epoch, { from: offset, to: offset }]);
}

function take(book, change, position) {
  const [epoch, span] = book.spans.at(-1) ?? [];
  if (epoch !== position?.epoch) return book.wrong.push("an item of another log");
  if (change.Whole !== undefined) {
    book.states += 1;
    if (book.spans.length > 1) book.restated += 1;
    if (change.Whole < position.offset) book.wrong.push("a state that is older than its position");
    return;
  }
  if (position.offset === span.to + 1) span.to += 1;
  else if (position.offset <= span.to) book.twice += 1;
  else book.disordered += 1;
  if (change.Next !== position.offset) book.wrong.push("an entry of another place");
}

function hasAll({ spans }, ends) {
  const [epoch, span] = spans.at(-1) ?? [];
  return span !== undefined && span.to >= (ends[epoch] ?? 0);
}

async function until(isSo) {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
}
