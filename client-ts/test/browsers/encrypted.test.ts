// Pages of servers with TLS, in Chromium, where all requests of a page share one HTTP/2 connection: `npm run browser`.

import type { Browser, CDPSession } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CASES, type Case } from "./cases.js";
import { ENCRYPTED, Fixture } from "./fixture.js";
import { launch } from "./tab.js";

const LIST: Case[] = ["connects and calls", "is told why it is refused", "survives a restart"];
const FALLBACK: Case = "falls back to HTTP where WebSockets are blocked";

/** At a shutdown actix-web ends connections of HTTP/2 only at the deadline: pages that fall back would be away for 8 s. */
const LISTS = { "axum-tls": [...LIST, FALLBACK], "actix-tls": LIST, "hyper-tls": [...LIST, FALLBACK] };

let browser: Browser;

beforeAll(async () => {
  browser = await launch("chromium");
});

afterAll(() => browser?.close());

describe.each(ENCRYPTED)("a page on %s", (adapter) => {
  let fixture: Fixture;

  beforeAll(async () => {
    fixture = await Fixture.start(adapter, browser);
  });

  afterAll(() => fixture?.stop());

  test.each(LISTS[adapter])("%s", (name) => CASES[name](fixture));

  test("opens its WebSocket over HTTP/2 where the framework has that", async () => {
    const { page, complaints } = await fixture.tab();
    const session = await page.createCDPSession();
    await session.send("Network.enable");
    // With a connection, a browser knows that the server has extended CONNECT.
    await page.evaluate(() => fetch("/__realtime/browsers?path=double&input=1"));
    const [status] = await Promise.all([
      handshake(session),
      page.evaluate(() => {
        window.page.open();
        return window.page.reach("open");
      }),
    ]);
    expect(status).toBe(adapter === "actix-tls" ? 101 : 200);
    expect(await page.evaluate(() => window.page.double(21))).toBe(42);
    expect(complaints).toEqual([]);
  });

  test("has as many clients by HTTP as it likes, while HTTP/1.1 allows six connections", async () => {
    const { page, complaints } = await fixture.tab();
    const doubled = await page.evaluate(() => window.page.openMany(20));
    expect(doubled).toEqual(Array.from({ length: 20 }, (_, number) => 2 * number));
    expect(complaints).toEqual([]);
  });
});

/** The status with which the next handshake is answered: 200 to an extended CONNECT, 101 to an upgrade. */
function handshake(session: CDPSession): Promise<number> {
  return new Promise((resolve) => {
    session.once("Network.webSocketHandshakeResponseReceived", ({ response }) => resolve(response.status));
  });
}
