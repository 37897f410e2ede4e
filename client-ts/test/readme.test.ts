// The code of ../README.md has the right types. What it takes from the application stands in ../scripts/readme.d.ts.

import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import { blocksOf } from "./blocks.js";

const root = new URL("..", import.meta.url);
/** Beside the packages that the code imports, and where nothing else looks. */
const folder = new URL("node_modules/.readme/", root);

afterAll(() => rm(folder, { recursive: true, force: true }));

test("the code of the README has the right types", async () => {
  const text = await readFile(new URL("README.md", root), "utf8");
  const blocks = blocksOf(text).filter(({ language, file }) => /^tsx?$/.test(language) && !file);
  expect(blocks.length).toBeGreaterThan(5);
  await mkdir(folder, { recursive: true });
  for (const [number, { language, code }] of blocks.entries()) {
    await writeFile(new URL(`block${number}.${language}`, folder), `${code}\nexport {};\n`);
  }
  const src = fileURLToPath(new URL("src", root));
  const config = {
    extends: fileURLToPath(new URL("tsconfig.json", root)),
    compilerOptions: {
      module: "esnext",
      moduleResolution: "bundler",
      noUnusedLocals: false,
      paths: { "realtime-client": [`${src}/index.ts`], "realtime-client/*": [`${src}/*/index.ts`] },
    },
    include: ["*", fileURLToPath(new URL("scripts/readme.d.ts", root))],
  };
  await writeFile(new URL("tsconfig.json", folder), JSON.stringify(config));
  const tsc = fileURLToPath(new URL("node_modules/typescript/bin/tsc", root));
  const run = promisify(execFile)(process.execPath, [tsc, "-p", fileURLToPath(folder)]);
  expect(await run.catch(({ stdout }) => stdout)).toMatchObject({ stdout: "" });
}, 60_000);
