// All cases in Firefox, on one adapter: `npm run browser`.

import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, test } from "vitest";
import { ALL, CASES } from "./cases.js";
import { Fixture } from "./fixture.js";
import { launch } from "./tab.js";

let browser: Browser;
let fixture: Fixture;

beforeAll(async () => {
  browser = await launch("firefox");
  fixture = await Fixture.start("axum", browser);
}, 60_000);

afterAll(async () => {
  await browser?.close();
  await fixture?.stop();
});

test.each(ALL)("in Firefox a page %s", (name) => CASES[name](fixture));
