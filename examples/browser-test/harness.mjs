// Shared by the browser tests: real browser windows against a real server process.
//
//   node <test>.test.mjs --server <server binary> --name <label> --shots <directory> --prefix </path>
//
// Without --shots there are no screenshots. With --prefix the server runs behind a proxy that serves it under this path
// and strips it, and answers 404 everywhere else. The server is started with PORT=<a free port>; tests kill and restart
// it. One line per check; the last line is "N passed, M failed", and the exit status is 1 if anything failed. CHROMIUM
// is the path of the browser (default /usr/bin/chromium).

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer as createProxy, request as ask } from "node:http";
import { connect, createServer } from "node:net";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: options } = parseArgs({
  options: {
    server: { type: "string" },
    name: { type: "string", default: "server" },
    shots: { type: "string" },
    prefix: { type: "string", default: "" },
  },
});
if (!options.server) {
  console.error("usage: node <test>.test.mjs --server <server binary> [--name <label>] [--shots <directory>] [--prefix </path>]");
  process.exit(2);
}
const serverPath = resolve(options.server);
if (options.shots) mkdirSync(resolve(options.shots), { recursive: true });

const WITHIN = 5_000;
const WHOLE_TEST = 120_000;

export const PHONE = { viewport: { width: 390, height: 844 }, colorScheme: "light", isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
export const DESKTOP = { viewport: { width: 1280, height: 800 }, colorScheme: "dark" };

// ---- Results -------------------------------------------------------------------

let passed = 0;
let failed = 0;
let finishing = false;

export async function check(name, body) {
  const started = Date.now();
  try {
    await body();
    passed += 1;
    console.log(`ok   ${options.name}: ${name} (${Date.now() - started} ms)`);
  } catch (error) {
    if (finishing) return; // The browser was closed under it.
    failed += 1;
    console.log(`FAIL ${options.name}: ${name}\n     ${String(error?.message ?? error).replaceAll("\n", "\n     ")}`);
  }
}

/** Asks again until the answer satisfies; fails with what it saw last. */
export async function eventually(what, ask, satisfies, within = WITHIN) {
  const deadline = Date.now() + within;
  let seen;
  for (;;) {
    try {
      seen = await ask();
      if (satisfies(seen)) return seen;
    } catch (error) {
      seen = error;
    }
    if (Date.now() > deadline) {
      const shown = seen instanceof Error ? seen.message : JSON.stringify(seen);
      throw new Error(`${what}: not within ${within} ms; last seen: ${shown}`);
    }
    await new Promise((wake) => setTimeout(wake, 40));
  }
}

export function same(what, actual, expected) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: expected ${b}, got ${a}`);
}

// ---- Server --------------------------------------------------------------------

// A random one below those that systems give to connections (Linux from 32768): no connection takes it while the server
// is down and started again.
async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_768);
    const probe = createServer();
    const listens = await new Promise((resolve) => {
      probe.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!listens) continue;
    await new Promise((resolve) => probe.close(resolve));
    return port;
  }
}

const serverPort = await freePort();
const port = options.prefix ? await startProxy(options.prefix) : serverPort;
/** Where the page is: the origin, and the prefix. */
export const origin = `http://127.0.0.1:${port}${options.prefix}`;
let server = null;
let serverOutput = "";

export async function startServer() {
  const child = spawn(serverPath, [], {
    env: { ...process.env, PORT: String(serverPort) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  server = child;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => (serverOutput = (serverOutput + data).slice(-4_000)));
  }
  let end = null;
  child.on("error", (error) => (end = error.message));
  child.on("exit", (code, signal) => (end = `exit ${code ?? signal}`));
  const deadline = Date.now() + 10_000;
  for (;;) {
    if (end !== null) throw new Error(`the server ended while starting: ${end}\n${serverOutput}`);
    const answer = await fetch(origin, { signal: AbortSignal.timeout(2_000) }).catch(() => null);
    if (answer?.ok) return;
    if (Date.now() > deadline) throw new Error(`the server does not answer on ${origin}\n${serverOutput}`);
    await new Promise((wake) => setTimeout(wake, 25));
  }
}

export async function killServer(signal = "SIGKILL") {
  const child = server;
  server = null;
  if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill(signal);
  await gone;
}

/** The connections through the proxy, by what they have asked for, and those that get none now. */
const proxied = new Map();
let isCut = () => false;

/**
 * Cuts the connections through the proxy whose URL contains the text, and lets no such one through until `mend`: the
 * network of one page is away. Needs a `--prefix`.
 */
export function cut(text) {
  isCut = (url) => decodeURIComponent(url).includes(text);
  for (const [socket, url] of proxied) if (isCut(url)) socket.destroy();
}

export function mend() {
  isCut = () => false;
}

/** Notes what a connection asks for. Returns false if it gets nothing. */
function isLetThrough({ url, socket }) {
  if (isCut(url)) {
    socket.destroy();
    return false;
  }
  proxied.set(socket, url);
  socket.once("close", () => proxied.delete(socket));
  return true;
}

/** Starts a proxy that strips the prefix, as `location /app/ { proxy_pass http://server/; }` of nginx. Returns its port. */
async function startProxy(prefix) {
  const stripped = (url) => (url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : null);
  const proxy = createProxy((incoming, outgoing) => {
    const path = stripped(incoming.url);
    if (!isLetThrough(incoming)) return;
    if (path === null) {
      if (incoming.url === prefix) outgoing.setHeader("location", `${prefix}/`);
      outgoing.writeHead(incoming.url === prefix ? 301 : 404).end();
      return;
    }
    const { method, headers } = incoming;
    const asked = ask({ host: "127.0.0.1", port: serverPort, agent: false, path, method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.on("error", () => outgoing.destroy());
      answer.pipe(outgoing);
    });
    // The server is down, or the page has left.
    asked.on("error", () => outgoing.destroy());
    outgoing.on("close", () => asked.destroy());
    incoming.pipe(asked);
  });
  proxy.on("upgrade", (incoming, client, head) => {
    const path = stripped(incoming.url);
    if (!isLetThrough(incoming)) return;
    if (path === null) return client.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
    const upstream = connect(serverPort, "127.0.0.1", () => {
      const lines = [`${incoming.method} ${path} HTTP/1.1`];
      for (let at = 0; at < incoming.rawHeaders.length; at += 2) lines.push(incoming.rawHeaders.slice(at, at + 2).join(": "));
      upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
      upstream.write(head);
      upstream.pipe(client).pipe(upstream);
    });
    for (const [one, other] of [[upstream, client], [client, upstream]]) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return proxy.address().port;
}

// ---- Windows -------------------------------------------------------------------

let browser = null;
let serverIsDown = false;
export const complaints = [];

/** What a browser says of a server that is down. */
const CONNECTION_FAILED = /^WebSocket connection to .* failed|net::ERR_(CONNECTION|INCOMPLETE|EMPTY)|status of 503/;

/** From the killing of the server until every page is connected again. */
export function setServerIsDown(down) {
  serverIsDown = down;
}

/** What the server has printed, as far as it is not too long ago. */
export const output = () => serverOutput;

/** A browser window of its own: nothing is shared with the others. It may ask the server, and `hosts`. */
export async function openWindow(label, settings, hosts = []) {
  const context = await browser.newContext({ ...settings, locale: "en-GB" });
  context.setDefaultTimeout(WITHIN);
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(`${label}: ${error.stack ?? error}`));
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const text = message.text();
    if (serverIsDown && CONNECTION_FAILED.test(text)) return;
    complaints.push(`${label}: ${message.type()}: ${text}`);
  });
  page.on("response", (response) => {
    if (serverIsDown && response.status() === 503) return;
    if (response.status() >= 400) complaints.push(`${label}: ${response.status()} ${response.url()}`);
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && ![`127.0.0.1:${port}`, ...hosts].includes(url.host)) {
      complaints.push(`${label}: an external request: ${request.url()}`);
    }
  });
  return page;
}

export const id = (page, name) => page.getByTestId(name);

export async function screenshot(page, name) {
  if (!options.shots) return;
  await page.screenshot({ path: resolve(options.shots, `${options.name}-${name}.png`), animations: "disabled" });
}

export async function fits(page) {
  const excess = await page.evaluate(() => {
    const root = document.documentElement;
    return [root.scrollWidth - root.clientWidth, root.scrollHeight - root.clientHeight];
  });
  same("what sticks out of the window", excess.map((pixels) => pixels > 0), [false, false]);
}

// ---- Running it ----------------------------------------------------------------

/** Runs a whole test: the server is up and the browser open when it begins. */
export async function run(test) {
  try {
    await check("the server starts and answers", startServer);
    if (failed === 0) {
      await launch();
      await test();
      await check("no page complained", async () => same("complaints", complaints, []));
    }
    if (failed && serverOutput) {
      console.log(`     the server's last output:\n     ${serverOutput.trim().replaceAll("\n", "\n     ")}`);
    }
    await finish();
  } catch (error) {
    abort(error?.stack ?? error);
  }
}

async function launch() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

async function finish() {
  if (finishing) return;
  finishing = true;
  clearTimeout(tooLate);
  await killServer().catch(() => {});
  await Promise.race([browser?.close().catch(() => {}), new Promise((wake) => setTimeout(wake, 3_000))]);
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

function abort(why) {
  if (finishing) return;
  failed += 1;
  console.log(`FAIL ${options.name}: ${why}`);
  if (serverOutput) console.log(`     the server's last output:\n     ${serverOutput.trim().replaceAll("\n", "\n     ")}`);
  finish();
}

const tooLate = setTimeout(() => abort(`not finished within ${WHOLE_TEST} ms`), WHOLE_TEST);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => abort(signal));
process.on("uncaughtException", (error) => abort(error?.stack ?? error));
process.on("unhandledRejection", (error) => abort(error?.stack ?? error));
process.on("exit", () => server?.kill("SIGKILL"));
