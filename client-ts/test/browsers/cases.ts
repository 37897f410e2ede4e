// What a page must be able to do with any server, in any browser, by any way between them.

import { expect } from "vitest";
import type { Tab } from "./tab.js";

/** A server, and the pages that are of its origin. */
export interface Place {
  tab(): Promise<Tab>;
  /** Ends the server, as a deployment does. */
  stop(): Promise<void>;
  /** Starts it again, at the same address. */
  start(): Promise<void>;
}

export type Case = keyof typeof CASES;

export const CASES = {
  "connects and calls": async (place: Place) => {
    const { page, complaints } = await opened(place);
    expect(await page.evaluate(() => window.page.double(21))).toBe(42);
    expect(await page.evaluate(() => window.page.double("21"))).toBe("INVALID_ARGUMENT");
    expect(await page.evaluate(() => window.page.passed())).toEqual(["idle", "connecting", "open"]);
    await page.evaluate(() => window.page.close());
    expect(await page.evaluate(() => window.page.passed())).toEqual(["idle", "connecting", "open", "closed"]);
    expect(complaints).toEqual([]);
  },

  "gets all items of a stream": async (place: Place) => {
    const { page, complaints } = await opened(place);
    const items = await page.evaluate(() => window.page.countdown(300));
    expect(items).toEqual(Array.from({ length: 300 }, (_, index) => 300 - index));
    expect(complaints).toEqual([]);
  },

  "is told how many entries of a feed are missing": async (place: Place) => {
    const { page, complaints } = await opened(place);
    const [begun] = await page.evaluate(() => window.page.newest(1));
    if (begun?.type !== "begun") throw new Error(`it began with ${begun?.type}`);
    const updates = await page.evaluate(async (position) => {
      for (let number = 1; number <= 10; number += 1) await window.page.append(number);
      return window.page.newest(5, position);
    }, begun.position);
    const { epoch } = begun.position;
    const offset = Number(begun.position.offset);
    const gap = { type: "gap", count: 7, from: offset + 1, to: offset + 7, cause: "retention" };
    expect(updates.filter(({ type }) => type === "gap")).toEqual([gap]);
    expect(updates.slice(-3)).toEqual([
      { type: "item", value: { appended: 8 }, position: { epoch, offset: offset + 8 } },
      { type: "item", value: { appended: 9 }, position: { epoch, offset: offset + 9 } },
      { type: "item", value: { appended: 10 }, position: { epoch, offset: offset + 10 } },
    ]);
    expect(complaints).toEqual([]);
  },

  "is told of others, and who is there": async (place: Place) => {
    const one = await opened(place);
    const two = await opened(place);
    for (const { page } of [one, two]) await page.waitForFunction(() => window.page.presentCount() === 2, POLLING);
    await two.page.evaluate(() => window.page.append(7));
    await one.page.waitForFunction(() => window.page.toldOf().includes(7), POLLING);
    expect(await two.page.evaluate(() => window.page.toldOf())).toEqual([]);
    await two.page.evaluate(() => window.page.close());
    await one.page.waitForFunction(() => window.page.presentCount() === 1, POLLING);
    expect([...one.complaints, ...two.complaints]).toEqual([]);
  },

  "answers the server": async (place: Place) => {
    const { page, complaints } = await opened(place);
    const yes = await page.evaluate(() => window.page.beAsked("Are you sure?", true));
    expect(yes).toEqual({ question: "Are you sure?", said: true });
    expect(await page.evaluate(() => window.page.beAsked("Still?", false))).toMatchObject({ said: false });
    expect(complaints).toEqual([]);
  },

  "is connected when it is shown again": async (place: Place) => {
    const tab = await opened(place);
    const other = await opened(place);
    const { page } = tab;
    // Where it was loaded anew, it has no client.
    if (!(await tab.leaveAndReturn())) await page.evaluate(() => window.page.open());
    expect(await page.evaluate(() => window.page.double(21))).toBe(42);
    await page.evaluate(() => window.page.reach("open"));
    // Those who were told that it left are told that it is back.
    for (const { page } of [tab, other])
      await page.waitForFunction(() => window.page.presentCount() === 2, POLLING);
    // Chromium may close the WebSocket before the client does, and says so.
    expect([...networkless(tab), ...other.complaints]).toEqual([]);
  },

  "survives a restart": async (place: Place) => {
    const tab = await opened(place);
    const { page } = tab;
    await page.evaluate(() => window.page.follow("numbers"));
    await page.waitForFunction(() => window.page.begun("numbers") === 1, POLLING);
    await place.stop();
    await page.evaluate(() => window.page.reach("reconnecting"));
    const call = page.evaluate(() => window.page.double(4));
    await place.start();
    expect(await call).toBe(8);
    await page.waitForFunction(() => window.page.begun("numbers") === 2, POLLING);
    await page.evaluate(() => window.page.append(3));
    await page.waitForFunction(() => window.page.hasSeen("numbers", 3), POLLING);
    expect(networkless(tab)).toEqual([]);
  },

  "falls back to HTTP where WebSockets are blocked": async (place: Place) => {
    const tab = await opened(place, { refuse: "websocket", fallback: true });
    const { page } = tab;
    expect(await page.evaluate(() => window.page.can("answer"))).toBe(false);
    expect(await page.evaluate(() => window.page.double(21))).toBe(42);
    expect(await page.evaluate(() => window.page.double("21"))).toBe("INVALID_ARGUMENT");
    expect(await page.evaluate(() => window.page.countdown(300))).toHaveLength(300);
    const other = await opened(place);
    await page.waitForFunction(() => window.page.presentCount() === 2, POLLING);
    await page.evaluate(() => window.page.follow("numbers"));
    await page.waitForFunction(() => window.page.begun("numbers") === 1, POLLING);
    await other.page.evaluate(() => window.page.append(7));
    await page.waitForFunction(() => window.page.toldOf().includes(7), POLLING);
    await page.waitForFunction(() => window.page.hasSeen("numbers", 7), POLLING);
    await place.stop();
    await page.evaluate(() => window.page.reach("reconnecting"));
    await place.start();
    await page.waitForFunction(() => window.page.begun("numbers") === 2, POLLING);
    await page.evaluate(() => window.page.append(8));
    await page.waitForFunction(() => window.page.hasSeen("numbers", 8), POLLING);
    expect(await page.evaluate(() => window.page.toldOf().filter((number) => number === 7))).toEqual([7]);
    // The server notices that it has left.
    await page.evaluate(() => window.page.close());
    await other.page.waitForFunction(() => window.page.presentCount() === 1, POLLING);
    expect(networkless(tab)).toEqual([]);
  },

  "is told why it is refused": async (place: Place) => {
    const tab = await place.tab();
    const { page } = tab;
    const closed = await page.evaluate(() => {
      window.page.open({ refuse: "401" });
      return window.page.reach("closed");
    });
    expect(closed).toEqual({ status: "closed", cause: { type: "refused", status: 401 } });
    await page.evaluate(() => {
      window.page.open({ refuse: "401", token: "of the user" });
      return window.page.reach("open");
    });
    expect(await page.evaluate(() => window.page.double(2))).toBe(4);
    await page.evaluate(() => window.page.close());
    const waiting = await page.evaluate(() => {
      window.page.open({ refuse: "429" });
      return window.page.reach("reconnecting");
    });
    expect(waiting).toMatchObject({ cause: { type: "refused", status: 429 } });
    // On top of the two seconds that the server asks for.
    expect(waiting.status === "reconnecting" && waiting.afterMs).toBeGreaterThanOrEqual(2_000);
    expect(networkless(tab)).toEqual([]);
  },
} satisfies Record<string, (place: Place) => Promise<void>>;

/** The names of all cases. */
export const ALL = Object.keys(CASES) as Case[];

/** The options of a condition that a test waits for. */
export const POLLING = { polling: 20, timeout: 10_000 } as const;

/** A tab that is connected. */
export async function opened(place: Place, how: Parameters<typeof window.page.open>[0] = {}): Promise<Tab> {
  const tab = await place.tab();
  await tab.page.evaluate((how) => {
    window.page.open(how);
    return window.page.reach("open");
  }, how);
  return tab;
}

/** What a page complains about, without what browsers say of a server that is not there, or refuses. */
export function networkless({ complaints }: Tab): string[] {
  return complaints.filter((complaint) => !NETWORK.test(complaint));
}

const NETWORK = /^(WebSocket connection to|Failed to load resource|Error: Firefox can’t establish a connection)/;
