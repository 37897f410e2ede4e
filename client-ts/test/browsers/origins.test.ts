// A page of another origin than its server, as one that a development server serves on a port of its own: `npm run browser`.

import { once } from "node:events";
import { createServer, type Server as Pages } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { start, stop } from "../servers.js";
import { ADAPTERS } from "./fixture.js";
import { type BrowserName, html, launch, Tab } from "./tab.js";

const browsers = {} as Record<BrowserName, Browser>;
let pages: Pages;
let origin: string;

/** Each adapter in Chromium, and one in Firefox. */
const WHERE = [
  ...ADAPTERS.map((adapter) => ({ adapter, name: "chromium" as BrowserName })),
  { adapter: ADAPTERS[0], name: "firefox" as BrowserName },
];

beforeAll(async () => {
  browsers.chromium = await launch("chromium");
  browsers.firefox = await launch("firefox");
  const body = await html();
  pages = createServer((_, response) => response.setHeader("content-type", "text/html").end(body));
  await once(pages.listen(0, "127.0.0.1"), "listening");
  origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
}, 60_000);

afterAll(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
  pages?.closeAllConnections();
  pages?.close();
});

for (const where of WHERE) {
  const { adapter, name } = where;
  test(`in ${name} a page that is not listed on ${adapter} is refused, and its state says why`, async () => {
    const { tab, url } = await visit(where, {});
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
    const complaints = tab.complaints.join("\n");
    if (name === "chromium") expect(complaints).toMatch(/from origin 'http:.*' has been blocked by CORS policy/);
    else expect(complaints).toContain("can’t establish a connection");
    // Who asks by hand is told in words, as is the log.
    const refused = await fetch(`${url}?path=double&input=2`, { headers: { origin } });
    expect([refused.status, await refused.text()]).toEqual([403, expect.stringContaining("Config::origins")]);
  });

  test(`in ${name} a page that is listed on ${adapter} connects, by a WebSocket and by HTTP`, async () => {
    const { tab, url } = await visit(where, { ORIGINS: `http://app.example.com,${origin}` });
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
}

async function visit({ adapter, name }: (typeof WHERE)[number], variables: Record<string, string>) {
  const server = await start("in-browsers", undefined, [adapter], variables);
  onTestFinished(() => stop(server));
  return { tab: await Tab.visit(browsers[name], `${origin}/`), url: `${server.origin}/__realtime/browsers` };
}
