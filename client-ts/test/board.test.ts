// The board of ../../examples/board in Chromium, in two tabs: `npm run browser`. SHOTS names a folder for screenshots.
// Whatever a page complains about fails the test.

import { readFileSync } from "node:fs";
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Server, start, stop } from "./servers.js";

/** The hash of the types that the page is built with. */
const HASH = readFileSync(new URL("../../examples/board/api.hash", import.meta.url), "utf8").trim();

let browser: Browser;
let server: Server;
let one: Page;
let two: Page;
let complaints: string[];

beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
}, 60_000);

afterAll(() => browser?.close());

beforeEach(async () => {
  // It builds the page if it has to.
  server = await start("board");
  complaints = [];
  one = await open();
  two = await open();
}, 120_000);

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  await stop(server);
});

test("who is here is shown, and where their pointers are", async () => {
  await expectText(one.getByTestId("people").getByRole("listitem"), ["AAda, you", "GGrace"]);
  const box = await one.getByTestId("board").boundingBox();
  if (!box) throw new Error("there is no board");
  await one.mouse.move(box.x + box.width / 4, box.y + 50);
  await one.mouse.move(box.x + box.width / 2, box.y + 60);
  const cursor = two.getByTestId("cursor");
  await eventually(() => cursor.evaluate((element) => element.style.left.slice(0, 4)), "50%");
  expect(await cursor.locator("span").textContent()).toBe("Ada");
  expect(await one.getByTestId("cursor").count()).toBe(0);
  await one.mouse.move(5, 5);
  await eventually(() => cursor.count(), 0);
  await one.close();
  await eventually(() => two.getByTestId("people").getByRole("listitem").count(), 1);
  expect(complaints).toEqual([]);
});

test("a card that is dragged is there at once, before the server has said anything", async () => {
  const title = { targetPosition: { x: 60, y: 20 } };
  server.process.kill("SIGSTOP");
  try {
    await card(one, "Book a room").dragTo(one.getByTestId("doing"), title);
    await expectCards(one, "doing", ["Choose the music", "Book a room"]);
    await expectCards(two, "doing", ["Choose the music"]);
  } finally {
    server.process.kill("SIGCONT");
  }
  await expectCards(two, "doing", ["Choose the music", "Book a room"]);
  await expectCards(one, "doing", ["Choose the music", "Book a room"]);
  // In front of another, and of two pages at once.
  await Promise.all([
    card(one, "Book a room").dragTo(card(one, "Choose the music")),
    card(two, "Ask the neighbours").dragTo(two.getByTestId("todo"), title),
  ]);
  for (const page of [one, two]) {
    await expectCards(page, "doing", ["Book a room", "Choose the music"]);
    await expectCards(page, "todo", ["Write the invitation", "Ask the neighbours"]);
  }
  expect(complaints).toEqual([]);
});

test("cards are moved by keyboard, with the focus and in words", async () => {
  const right = one.getByRole("button", { name: "Move “Book a room” to Doing" });
  await right.focus();
  await one.keyboard.press("Enter");
  await expectCards(two, "doing", ["Choose the music", "Book a room"]);
  await eventually(() => focused(one), "Move “Book a room” to Done");
  await eventually(() => one.getByTestId("news").textContent(), "Moved “Book a room” to Doing");
  await one.keyboard.press("Shift+Tab");
  expect(await focused(one)).toBe("Move “Book a room” up");
  await one.keyboard.press("Space");
  await expectCards(two, "doing", ["Book a room", "Choose the music"]);
  // It is the first: the focus is on what is left to do with it.
  await eventually(() => focused(one), "Move “Book a room” to To do");
  expect(complaints).toEqual([]);
});

test("the server says what is wrong with each field of the form", async () => {
  const title = one.getByLabel("Title");
  const points = one.getByLabel("Points");
  await points.fill("99");
  await one.getByRole("button", { name: "Add" }).click();
  await eventually(() => description(title), "A card needs a title");
  expect(await description(points)).toBe("Between 1 and 13 points");
  expect(await title.getAttribute("aria-invalid")).toBe("true");
  await eventually(() => title.evaluate((element) => element === document.activeElement), true);
  await shoot(one, "form");

  await title.fill("Bake a cake");
  await points.fill("-1");
  await one.keyboard.press("Enter");
  await eventually(() => description(title), "");
  expect(await description(points)).not.toBe("");
  await points.fill("5");
  await one.keyboard.press("Enter");
  await expectCards(two, "todo", ["Write the invitation", "Book a room", "Bake a cake"]);
  await eventually(() => description(points), "");
  expect(await title.inputValue()).toBe("");
  expect(complaints).toEqual([]);
});

test("the server asks the person who clears the column, and nobody else", async () => {
  const clear = one.getByRole("button", { name: "Clear" });
  await clear.click();
  const dialog = one.getByRole("dialog", { name: "Remove 1 card that is done, for everybody?" });
  await dialog.waitFor();
  expect(await two.getByRole("dialog").count()).toBe(0);
  await shoot(one, "question");
  await one.keyboard.press("Escape");
  await eventually(() => one.getByTestId("news").textContent(), "The cards were kept");
  await expectCards(two, "done", ["Ask the neighbours"]);
  await clear.click();
  await dialog.getByRole("button", { name: "Remove" }).click();
  for (const page of [one, two]) await expectCards(page, "done", []);
  await eventually(() => one.getByTestId("news").textContent(), "1 removed");
  await clear.click();
  await eventually(() => one.getByTestId("news").textContent(), "No card is done");
  expect(complaints).toEqual([]);
});

test("after a restart the table says that entries are missing, and the board goes on", async () => {
  await one.getByRole("button", { name: "Move “Book a room” to Doing" }).click();
  const rows = two.getByTestId("activity").locator("tbody tr");
  await eventually(
    async () => (await rows.first().textContent())?.replace(/^.*?(?=Ada)/, ""),
    "Adamoved “Book a room” to Doing",
  );
  await stop(server, "SIGKILL");
  await eventually(() => two.getByTestId("status").textContent(), "Reconnecting");
  server = await start("board", server.port);
  for (const page of [one, two]) await eventually(() => page.getByTestId("status").textContent(), "Live");
  // The cards are those of the new server.
  await expectCards(two, "doing", ["Choose the music"]);
  await one.getByRole("button", { name: "Move “Choose the music” to Done" }).click();
  await expectCards(two, "done", ["Ask the neighbours", "Choose the music"]);
  await eventually(() => rows.nth(1).textContent(), "Entries may be missing here: the server was restarted");
  await shoot(two, "gap");
  expect(complaints.filter((text) => !/WebSocket connection|ERR_CONNECTION/.test(text))).toEqual([]);
});

test("a page that was built with other types says so, until it is loaded again", async () => {
  await one.route("**/*.js", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: (await response.text()).replace(HASH, "0".repeat(16)) });
  });
  await one.reload();
  const outdated = one.getByTestId("outdated");
  await eventually(() => outdated.textContent(), "A new version is there: reload");
  await shoot(one, "outdated");
  await one.unroute("**/*.js");
  await outdated.getByRole("button").click();
  await eventually(() => one.getByTestId("status").textContent(), "Live");
  expect(await outdated.textContent()).toBe("");
  expect(complaints).toEqual([]);
});

for (const colorScheme of ["light", "dark"] as const) {
  for (const [name, width, height] of [
    ["desktop", 1280, 800],
    ["phone", 390, 844],
  ] as const) {
    test(`nothing sticks out: ${name}, ${colorScheme}`, async () => {
      const isPhone = name === "phone";
      const page = await open({
        viewport: { width, height },
        colorScheme,
        isMobile: isPhone,
        hasTouch: isPhone,
        deviceScaleFactor: isPhone ? 2 : 1,
      });
      const touch = () => one.getByRole("button", { name: "Move “Book a room” to Doing" }).click();
      await touch();
      const box = await one.getByTestId("board").boundingBox();
      if (box) await one.mouse.move(box.x + box.width * 0.6, box.y + 70);
      await page.getByTestId("cursor").first().waitFor();
      await expectCards(page, "doing", ["Choose the music", "Book a room"]);
      const excess = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(excess).toBe(0);
      // Whatever is pressed with a finger is as large as one.
      const heights = await page.locator(".foot button").evaluateAll((all) => all.map((one) => one.clientHeight));
      if (isPhone) expect(Math.min(...heights)).toBeGreaterThanOrEqual(44);
      await shoot(page, `${name}-${colorScheme}`);
      expect(complaints).toEqual([]);
    });
  }
}

async function open(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ locale: "en-GB", ...options });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(server.origin);
  await eventually(() => page.getByTestId("status").textContent(), "Live");
  await card(page, "Book a room").waitFor();
  return page;
}

function card(page: Page, title: string): Locator {
  return page.getByRole("listitem").filter({ hasText: title });
}

function expectCards(page: Page, column: string, titles: string[]): Promise<void> {
  return expectText(page.getByTestId(column).locator("li > p"), titles);
}

function expectText(locator: Locator, texts: string[]): Promise<void> {
  return eventually(() => locator.allTextContents(), texts);
}

/** The text that a screen reader adds to a field. */
function description(field: Locator): Promise<string> {
  return field.evaluate((element) => {
    return document.getElementById(element.getAttribute("aria-describedby") ?? "")?.textContent ?? "";
  });
}

function focused(page: Page): Promise<string | null | undefined> {
  return page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
}

async function eventually<T>(ask: () => Promise<T>, expected: T): Promise<void> {
  await expect.poll(ask, { timeout: 10_000, interval: 30 }).toEqual(expected);
}

async function shoot(page: Page, name: string): Promise<void> {
  const { SHOTS } = process.env;
  if (SHOTS) await page.screenshot({ path: `${SHOTS}/board-${name}.png`, animations: "disabled", fullPage: true });
}
