// The client in a real browser, against a real server: `npm run browser`. CHROMIUM names the browser. Whatever the page
// complains about fails the test.

import { build } from "esbuild";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import type * as Realtime from "../src/index.js";
import { connect as connectHere, describe, mutation } from "../src/index.js";
import type { always } from "./fallback.js";
import { type Server, start, stop } from "./servers.js";

declare global {
  interface Window {
    realtime: typeof Realtime & { always: typeof always };
    client: Realtime.Client;
    states: string[];
  }
}

let browser: Browser;
let script: string;
let server: Server;
let context: BrowserContext;
let page: Page;
let complaints: string[];

beforeAll(async () => {
  // To the browser a page that the test serves comes from the internet, and the server is in a local network.
  const args = ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"];
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
  const bundle = await build({
    stdin: {
      contents: `export * from "./src/index.ts"; export { always } from "./test/fallback.ts"`,
      resolveDir: new URL("..", import.meta.url).pathname,
    },
    bundle: true,
    format: "iife",
    globalName: "realtime",
    write: false,
  });
  script = bundle.outputFiles[0]?.text ?? "";
  server = await start("counter");
});

afterAll(async () => {
  await browser?.close();
  await stop(server);
});

beforeEach(async () => {
  context = await browser.newContext();
  // The page is of the server's own origin, which serves none itself.
  await context.route(`${server.origin}/page*`, (route) => {
    return route.fulfill({ contentType: "text/html", body: `<title>page</title><script>${script}</script>` });
  });
  complaints = [];
  page = await open();
});

afterEach(() => context.close());

test("a page connects, calls, and is told of what others do", async () => {
  await connect(page);
  const other = await open();
  await connect(other);
  await state(other, "open");
  const told = page.evaluate(
    () => new Promise((resolve) => window.client.on(window.realtime.event("count_changed"), resolve)),
  );
  await state(page, "open");
  const count = await add(other, 5);
  expect(await told).toEqual({ by: 5, count });
  expect(complaints).toEqual([]);
});

test("a page that is loaded again leaves nothing behind", async () => {
  await connect(page);
  await state(page, "open");
  await page.reload();
  await connect(page);
  expect(await add(page, 0)).toEqual(expect.any(Number));
  expect(complaints).toEqual([]);
});

test("a page that was offline is online at once when it is again", async () => {
  await connect(page);
  await state(page, "open");
  const probed = page.evaluate(
    () => new Promise((resolve) => window.addEventListener("offline", resolve, { once: true })),
  );
  await context.setOffline(true);
  await probed;
  await context.setOffline(false);
  expect(await add(page, 0)).toEqual(expect.any(Number));
  await state(page, "open");
});

test("a page goes back and forth, and is connected each time it is shown", async () => {
  await connect(page);
  await state(page, "open");
  await page.goto(`${server.origin}/page?other`);
  await page.goBack();
  // It was kept, or it was loaded again: then it has no client.
  await page.evaluate(() => {
    window.states ??= [];
  });
  if (!(await page.evaluate(() => Boolean(window.client)))) await connect(page);
  expect(await add(page, 0)).toEqual(expect.any(Number));
});

test("a restart of the server is survived, and a call that waited is made", async () => {
  await connect(page);
  await state(page, "open");
  await stop(server);
  await state(page, "reconnecting");
  const call = add(page, 7);
  server = await start("counter", server.port);
  expect(await call).toBe(7);
});

test("a page is told why it was refused", async () => {
  await connect(page, "/__realtime/nothing");
  await state(page, "closed");
  const cause = await page.evaluate(() => {
    const state = window.client.state.get();
    return state.status === "closed" && state.cause;
  });
  expect(cause).toEqual({ type: "refused", status: 404 });
});

test("a close is final, also for a page that is shown again", async () => {
  await connect(page);
  await state(page, "open");
  await page.evaluate(() => window.client.close());
  await page.evaluate(() => {
    window.dispatchEvent(new Event("online"));
    document.dispatchEvent(new Event("visibilitychange"));
  });
  expect(await page.evaluate(() => window.states)).toEqual(["idle", "connecting", "open", "closed"]);
  expect(complaints).toEqual([]);
});

for (const way of ["a WebSocket", "plain HTTP"]) {
  test(`a page that is loaded again and goes offline sees each entry of a feed once, by ${way}`, async () => {
    const feeds = await start("feeds");
    onTestFinished(() => stop(feeds));
    await context.route(`${feeds.origin}/page*`, (route) => {
      return route.fulfill({ contentType: "text/html", body: `<title>page</title><script>${script}</script>` });
    });
    await using writer = connectHere(describe("feeds"), { url: `${feeds.origin}/__realtime/feeds` });
    let added = 0;
    const append = async () => {
      for (let n = 0; n < 5; n += 1, added += 1) await writer.call(mutation<number, number>("add"), 1);
    };
    await page.goto(`${feeds.origin}/page`);
    await follow(page, way);
    await page.waitForFunction(() => sessionStorage.position);
    for (let round = 0; round < 3; round += 1) {
      await append();
      const reloaded = page.reload();
      await append();
      await reloaded;
      await follow(page, way);
      await append();
      await seen(page, added);
      await context.setOffline(true);
      await append();
      await context.setOffline(false);
      await append();
      await seen(page, added);
    }
    const all = Array.from({ length: added }, (_, index) => index + 1);
    expect(await page.evaluate(() => JSON.parse(sessionStorage.seen))).toEqual(all);
  });
}

/** Follows a feed in the page, from where the page before it was. */
async function follow(page: Page, way: string): Promise<void> {
  await page.evaluate((way) => {
    const { connect, describe, always, subscription } = window.realtime;
    const reconnect = { baseMs: 50, maxMs: 200 };
    const client = connect(
      describe("feeds"),
      way === "plain HTTP" ? { reconnect, fallback: always } : { reconnect },
    );
    const { position, seen = "[]" } = sessionStorage;
    const after = position ? { after: JSON.parse(position) } : {};
    const updates = client.updates(subscription<void, object>("changes"), undefined, after);
    const told = JSON.parse(seen);
    (async () => {
      for await (const update of updates) {
        if (update.type === "gap") told.push(update);
        if (update.type === "item") told.push(update.position?.offset);
        sessionStorage.seen = JSON.stringify(told);
        sessionStorage.position = JSON.stringify(updates.position);
      }
    })();
  }, way);
}

/** Waits until the page has got as many entries. */
async function seen(page: Page, count: number): Promise<void> {
  await page.waitForFunction((count) => JSON.parse(sessionStorage.seen ?? "[]").length >= count, count, {
    polling: 20,
    timeout: 10_000,
  });
}

async function open(): Promise<Page> {
  const opened = await context.newPage();
  opened.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  opened.on("pageerror", (error) => complaints.push(error.message));
  await opened.goto(`${server.origin}/page`);
  return opened;
}

/** Makes a client in the page, and begins to connect. */
async function connect(page: Page, url = "/__realtime/counter"): Promise<void> {
  await page.evaluate((url) => {
    const { connect, describe } = window.realtime;
    window.states = [];
    window.client = connect(describe("counter"), { url, reconnect: { baseMs: 50, maxMs: 200 } });
    window.client.state.subscribe(({ status }) => window.states.push(status));
    window.client.open();
  }, url);
}

async function state(page: Page, status: string): Promise<void> {
  await page.waitForFunction((status) => window.client.state.get().status === status, status, {
    polling: 20,
    timeout: 10_000,
  });
}

function add(page: Page, by: number): Promise<number> {
  return page.evaluate((by) => {
    return window.client.call(window.realtime.mutation<number, number>("update_count"), by);
  }, by);
}
