// @vitest-environment node

import { build } from "esbuild";
import { expect, test } from "vitest";

test("a page loads presence where it names it, and from the start of its clients", async () => {
  expect(await bundle("connect, event", "index")).not.toContain("joined");
  expect(await bundle("RealtimeProvider, useSubscription", "react/index")).not.toContain("joined");
  for (const page of [bundle("connect, present", "index"), bundle("RealtimeProvider, usePresent", "react/index")])
    expect(await page).toMatch(/parts\.Presence = Presence/);
});

test("a page loads the way back from a fallback where it names the fallback", async () => {
  const text = "takes the place of the fallback";
  expect(await bundle("connect, subscription", "index")).not.toContain(text);
  expect(await bundle("http", "http/index")).toContain(text);
});

async function bundle(names: string, file: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: `export { ${names} } from "./src/${file}.js";`, resolveDir: process.cwd() },
    bundle: true,
    format: "esm",
    external: ["react"],
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}
