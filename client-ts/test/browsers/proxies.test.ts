// All cases behind proxies, in Chromium: `npm run proxies`. PROXIES names them with their ports, and those to which they pass
// requests on, as in `nginx=8080:3000`. `cargo xtask test --only client-ts` starts them with the configurations of
// `docs/deployment`.

import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, describe, test } from "vitest";
import { ALL, CASES } from "./cases.js";
import { Fixture } from "./fixture.js";
import { launch } from "./tab.js";

const PROXIES = (process.env.PROXIES ?? "").split(" ").map((text) => {
  const [, name, front, port] = /^(\w+)=(\d+):(\d+)$/.exec(text) ?? [];
  if (!name) throw new Error(`PROXIES has ${JSON.stringify(text)}, which is no name with two ports`);
  return { name, front: `http://127.0.0.1:${front}`, port: Number(port) };
});

let browser: Browser;

beforeAll(async () => {
  browser = await launch("chromium");
});

afterAll(() => browser?.close());

describe.each(PROXIES)("a page behind $name", (proxy) => {
  let fixture: Fixture;

  beforeAll(async () => {
    fixture = await Fixture.start("axum", browser, proxy);
  });

  afterAll(() => fixture?.stop());

  test.each(ALL)("%s", (name) => CASES[name](fixture));
});
