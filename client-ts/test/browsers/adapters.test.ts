// All cases on each adapter, in Chromium: `npm run browser`.

import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, describe, test } from "vitest";
import { ALL, CASES } from "./cases.js";
import { ADAPTERS, Fixture } from "./fixture.js";
import { launch } from "./tab.js";

let browser: Browser;

beforeAll(async () => {
  browser = await launch("chromium");
});

afterAll(() => browser?.close());

describe.each(ADAPTERS)("a page on %s", (adapter) => {
  let fixture: Fixture;

  beforeAll(async () => {
    fixture = await Fixture.start(adapter, browser);
  });

  afterAll(() => fixture?.stop());

  test.each(ALL)("%s", (name) => CASES[name](fixture));
});
