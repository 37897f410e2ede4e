// Tabs of Chromium and Firefox. CHROMIUM and FIREFOX name their programs, SHOTS a folder for screenshots.

import { build } from "esbuild";
import puppeteer, { type Browser, type ConsoleMessage, type HTTPRequest, type Page } from "puppeteer-core";
import { expect, onTestFinished } from "vitest";

export type BrowserName = "chromium" | "firefox";

/** Starts a browser without windows. */
export function launch(name: BrowserName): Promise<Browser> {
  if (name === "firefox") {
    return puppeteer.launch({
      browser: "firefox",
      acceptInsecureCerts: true,
      executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
      headless: true,
    });
  }
  return puppeteer.launch({
    acceptInsecureCerts: true,
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    // To the browser a page that the test serves comes from the internet, and the server is in a local network.
    args: ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"],
  });
}

/** A tab with the page of `in-page.ts`, of cookies and storage of its own. */
export class Tab {
  readonly page: Page;
  /** The errors and warnings that the browser has shown for the page. */
  readonly complaints: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on("console", (message: ConsoleMessage) => {
      if (["error", "warn"].includes(message.type())) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(`${error}`));
  }

  /** Opens the page as one of this origin. It is closed when the test is over. */
  static async open(browser: Browser, origin: string): Promise<Tab> {
    const tab = await Tab.#new(browser);
    await tab.#load(origin);
    return tab;
  }

  /** Opens a page from a server of its own. It is closed when the test is over. */
  static async visit(browser: Browser, url: string): Promise<Tab> {
    const tab = await Tab.#new(browser);
    await tab.page.goto(url);
    return tab;
  }

  static async #new(browser: Browser): Promise<Tab> {
    const context = await browser.createBrowserContext();
    const tab = new Tab(await context.newPage());
    const { currentTestName = "" } = expect.getState();
    onTestFinished(async () => {
      await tab.#shoot(currentTestName);
      await context.close();
    });
    return tab;
  }

  #load(origin: string): Promise<void> {
    return this.#serving(async () => {
      await this.page.goto(`${origin}/page`);
    });
  }

  /** Goes to another page, and back. Returns true if the browser has kept the page meanwhile. */
  async leaveAndReturn(): Promise<boolean> {
    const { page } = this;
    await page.evaluate(() => {
      window.isKept = true;
    });
    await this.#serving(async () => {
      await page.goto(`${page.url()}?other`);
      await page.goBack();
    });
    return page.evaluate(() => window.isKept === true);
  }

  /** Serves the pages to which `go` leads in place of the origin; nothing else that they ask for is touched. */
  async #serving(go: () => Promise<void>): Promise<void> {
    const { page } = this;
    const body = await html();
    const serve = (request: HTTPRequest) => {
      if (request.isNavigationRequest()) request.respond({ contentType: "text/html", body });
      else request.continue();
    };
    await page.setRequestInterception(true);
    page.on("request", serve);
    await go();
    page.off("request", serve);
    await page.setRequestInterception(false);
  }

  /** A second tab of a test replaces the first one's picture. */
  async #shoot(test: string): Promise<void> {
    const { SHOTS } = process.env;
    const path = `${SHOTS}/${test.replaceAll(/[^a-z0-9]+/gi, "-")}.png` as const;
    if (SHOTS) await this.page.screenshot({ path });
  }
}

let page: Promise<string> | undefined;

/** The page with its script. */
export function html(): Promise<string> {
  page ??= bundle();
  return page;
}

async function bundle(): Promise<string> {
  const built = await build({
    entryPoints: [new URL("in-page.ts", import.meta.url).pathname],
    bundle: true,
    format: "iife",
    globalName: "page",
    write: false,
  });
  // The icon keeps the browser from asking for one.
  return `<!doctype html><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">
    <style>body { font: 14px/1.5 sans-serif; margin: 1rem }</style>
    <ol></ol><script>${built.outputFiles[0]?.text}</script>`;
}
