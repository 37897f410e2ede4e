// A page of another origin than its server, as one that a development server serves on a port of its own: `npm run browser`.

import { once } from "node:events";
import { createServer, type Server as Pages } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { start, stop } from "../servers.js";
import { ADAPTERS, type Adapter } from "./fixture.js";
import { html, launch, Tab } from "./tab.js";

let browser: Browser;
let pages: Pages;
let origin: string;

beforeAll(async () => {
  browser = await launch("chromium");
  const body = await html();
  pages = createServer((_, response) => response.setHeader("content-type", "text/html").end(body));
  await once(pages.listen(0, "127.0.0.1"), "listening");
  origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
});

afterAll(async () => {
  await browser?.close();
  pages?.closeAllConnections();
  pages?.close();
});

test.each(ADAPTERS)(
  "a page that is not listed on %s is refused, and its console and state say why",
  async (adapter) => {
    const { tab, url } = await visit(adapter, {});
    const state = await tab.page.evaluate((url) => {
      window.page.open({ url, fallback: true });
      return window.page.reach("reconnecting");
    }, url);
    expect(state).toMatchObject({
      cause: {
        type: "lost",
        message: `it could not be opened: is ${origin} in Config::origins, and Config::cors set with credentials?`,
      },
    });
    expect(tab.complaints.join("\n")).toMatch(/WebSocket connection to .* failed/);
    expect(tab.complaints.join("\n")).toMatch(/from origin 'http:.*' has been blocked by CORS policy/);
    // Who asks by hand is told in words, as is the log.
    const refused = await fetch(`${url}?path=double&input=2`, { headers: { origin } });
    expect([refused.status, await refused.text()]).toEqual([403, expect.stringContaining("Config::origins")]);
  },
);

test.each(ADAPTERS)("a page that is listed on %s connects, by a WebSocket and by HTTP", async (adapter) => {
  const { tab, url } = await visit(adapter, { ORIGINS: `http://app.example.com,${origin}` });
  const { page, complaints } = tab;
  for (const refuse of [undefined, "websocket"] as const) {
    await page.evaluate(
      (url, refuse) => {
        window.page.open({ url, fallback: true, token: "of the user", ...(refuse && { refuse }) });
        return window.page.reach("open");
      },
      url,
      refuse,
    );
    expect(await page.evaluate(() => window.page.can("answer"))).toBe(!refuse);
    expect(await page.evaluate(() => window.page.double(21))).toBe(42);
    expect(await page.evaluate(() => window.page.countdown(100))).toHaveLength(100);
    if (!refuse) expect(complaints).toEqual([]);
    await page.evaluate(() => window.page.close());
  }
  const waiting = await page.evaluate((url) => {
    window.page.open({ url, refuse: "429" });
    return window.page.reach("reconnecting");
  }, url);
  expect(waiting).toMatchObject({ cause: { type: "refused", status: 429 } });
  // `Retry-After` can be read, too.
  expect(waiting.status === "reconnecting" && waiting.afterMs).toBeGreaterThanOrEqual(2_000);
});

async function visit(adapter: Adapter, variables: Record<string, string>): Promise<{ tab: Tab; url: string }> {
  const server = await start("in-browsers", undefined, [adapter], variables);
  onTestFinished(() => stop(server));
  return { tab: await Tab.visit(browser, `${origin}/`), url: `${server.origin}/__realtime/browsers` };
}
