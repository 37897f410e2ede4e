// What a call and an item of a subscription cost a page, beside tRPC's over WebSocket: `npm ci && node bench.mjs` here, after
// `npm ci` two folders up and `cargo build -p in-browsers`. The cost is the time that the page's main thread of Chromium was busy,
// which the servers do not matter for: ours is that of ../../../examples/in-browsers, tRPC's runs in this process. Both in turns,
// and the medians; compare numbers of one run only. CHROMIUM and TARGET name the browser and the folder of binaries.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { initTRPC } from "@trpc/server";
import { applyWSSHandler } from "@trpc/server/adapters/ws";
import { build } from "esbuild";
import puppeteer from "puppeteer-core";
import { WebSocketServer } from "ws";

const ROUNDS = 7;
const CALLS = 5_000;
const ITEMS = 50_000;
const LIBRARIES = ["realtime-client", "tRPC"];

const local = (path) => fileURLToPath(new URL(path, import.meta.url));

const http = await servePages();
const origin = `http://127.0.0.1:${http.address().port}`;
const { child, url } = await startServer();
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});

try {
  const rounds = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [index, name] of LIBRARIES.entries()) rounds.push({ index, costs: await measure(name) });
    process.stderr.write(`round ${round + 1} of ${ROUNDS}\n`);
  }
  const [ours, theirs] = LIBRARIES.map((_, index) => medians(rounds.filter((round) => round.index === index)));
  console.log(`| µs of the page's main thread | ${LIBRARIES.join(" | ")} | ratio |\n|---|--:|--:|--:|`);
  for (const work of Object.keys(ours)) {
    const ratio = ours[work] / theirs[work];
    console.log(`| ${work} | ${ours[work].toFixed(1)} | ${theirs[work].toFixed(1)} | ${ratio.toFixed(2)} |`);
  }
} finally {
  await browser.close();
  child.kill();
  http.closeAllConnections();
  http.close();
}

/** Each work in a page that has done some of it before. */
async function measure(name) {
  const page = await browser.newPage();
  await page.goto(`${origin}/${name}`);
  await page.evaluate((url) => window.start(url), name === "tRPC" ? origin.replace("http", "ws") : url);
  const works = {
    "a call, one after the other": [CALLS, (count) => window.oneByOne(count)],
    "a call, 50 at once": [CALLS, (count) => window.atOnce(count)],
    "an item of a subscription": [ITEMS, (count) => window.items(count)],
  };
  const costs = {};
  for (const [work, [count, run]] of Object.entries(works)) {
    await page.evaluate(run, 1_000);
    const before = await page.metrics();
    await page.evaluate(run, count);
    const after = await page.metrics();
    costs[work] = ((after.TaskDuration - before.TaskDuration) / count) * 1_000_000;
  }
  await page.close();
  return costs;
}

function medians(rounds) {
  const works = Object.keys(rounds[0].costs);
  const median = (work) =>
    rounds.map(({ costs }) => costs[work]).sort((a, b) => a - b)[Math.floor(rounds.length / 2)];
  return Object.fromEntries(works.map((work) => [work, median(work)]));
}

/** Serves a page for each library, and tRPC's server. */
async function servePages() {
  const pages = { "/realtime-client": await pageOf("ours.js"), "/tRPC": await pageOf("theirs.js") };
  const server = createServer(({ url }, response) => {
    response.setHeader("content-type", "text/html").end(pages[url] ?? "");
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { router, procedure } = initTRPC.create();
  const number = (input) => Number(input);
  const api = router({
    double: procedure.input(number).query(({ input }) => input * 2),
    countdown: procedure.input(number).subscription(async function* ({ input }) {
      for (let left = input; left > 0; left -= 1) yield left;
    }),
  });
  applyWSSHandler({ wss: new WebSocketServer({ server }), router: api });
  return server;
}

async function pageOf(script) {
  const { outputFiles } = await build({ entryPoints: [local(script)], bundle: true, minify: true, write: false });
  return `<!doctype html><link rel="icon" href="data:,"><script>${outputFiles[0].text}</script>`;
}

async function startServer() {
  const folder = process.env.TARGET ?? local("../../../target/debug");
  const env = { ...process.env, PORT: "0", ORIGINS: origin };
  const child = spawn(`${folder}/in-browsers`, ["axum"], { env, stdio: ["ignore", "pipe", "inherit"] });
  for await (const text of child.stdout) {
    const [url] = /http:\S+/.exec(text) ?? [];
    if (url) return { child, url };
  }
  throw new Error("the server has ended");
}
