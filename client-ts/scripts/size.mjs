// Prints the size of what a page loads, minified and by gzip -9, and fails above the limits: `npm run size` after
// `npm run build`. The limits are a little above what there is: whoever adds to a page notices.

import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const core = `export { connect, describe, mutation, query, subscription, event, ask, RealtimeError } from "./dist/index.js";`;
const pages = [
  ["core", 9.3, core],
  ["core and React", 12, `${core} export * from "./dist/react/index.js";`],
  ["core and fallback", 10.9, `${core} export * from "./dist/http/index.js";`],
];

for (const [name, limit, contents] of pages) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: new URL("..", import.meta.url).pathname },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["react"],
    write: false,
  });
  const size = gzipSync(outputFiles[0].contents, { level: 9 }).length / 1_000;
  const isTooLarge = size > limit;
  console.log(`${name}: ${size.toFixed(2)} kB of ${limit} kB${isTooLarge ? ", TOO LARGE" : ""}`);
  if (isTooLarge) process.exitCode = 1;
}
