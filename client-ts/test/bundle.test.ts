// @vitest-environment node

import { build } from "esbuild";
import { expect, test } from "vitest";

test("a page loads presence where it names it, and from the start of its clients", async () => {
  expect(await bundle("connect, event", "index")).not.toContain("joined");
  expect(await bundle("RealtimeProvider, useSubscription", "react/index")).not.toContain("joined");
  for (const page of [bundle("connect, present", "index"), bundle("RealtimeProvider, usePresent", "react/index")])
    expect(await page).toMatch(/parts\.Presence = Presence/);
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
