// Prints the size of what a page loads, and fails above the limits: `npm run size` after `npm run build`.

import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const KB = 1000;
const entries = [
  ["core", 6.5, `export * from "./dist/index.js"`],
  ["core and React", 8, `export * from "./dist/index.js"; export * from "./dist/react/index.js"`],
  ["core and fallback", 8.5, `export * from "./dist/index.js"; export * from "./dist/http/index.js"`],
];

let isTooLarge = false;
for (const [name, limit, contents] of entries) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: new URL("..", import.meta.url).pathname },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["react"],
    write: false,
  });
  const size = gzipSync(outputFiles[0].contents, { level: 9 }).length / KB;
  const verdict = size > limit ? "TOO LARGE" : "ok";
  isTooLarge ||= size > limit;
  console.log(`${name}: ${size.toFixed(2)} kB of ${limit} kB, ${verdict}`);
}
process.exitCode = isTooLarge ? 1 : 0;
