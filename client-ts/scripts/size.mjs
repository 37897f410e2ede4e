// Prints the size of what a page loads, minified and by gzip -9, and fails above the limits: `npm run size` after
// `npm run build`. The limits are a little above what there is: whoever adds to a page notices. `npm run size parts`
// adds what each file weighs.

import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const calls = "connect, describe, mutation, query, event, RealtimeError";
const all = `${calls}, subscription, ask`;
const pages = [
  ["calls and events", 8.6, calls],
  ["core", 10.9, all],
  ["core and presence", 11.3, `${all}, present`],
  ["core and three hooks", 12.7, all, ["react", "RealtimeProvider, useConnection, useSubscription, useMutation"]],
  ["core and React", 14.2, all, ["react"]],
  ["core and fallback", 13.3, all, ["http"]],
];

for (const [name, limit, names, [folder, more] = []] of pages) {
  const second = folder && `export ${more ? `{ ${more} }` : "*"} from "./dist/${folder}/index.js";`;
  const { text, inputs } = await bundle(`export { ${names} } from "./dist/index.js"; ${second ?? ""}`);
  const size = sizeOf(text);
  const isTooLarge = size > limit;
  console.log(`${name}: ${size.toFixed(2)} kB of ${limit} kB${isTooLarge ? ", TOO LARGE" : ""}`);
  if (isTooLarge) process.exitCode = 1;
  if (process.argv[2] === "parts" && name === "core") printParts(inputs, size);
}

async function bundle(contents) {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: new URL("..", import.meta.url).pathname },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["react"],
    metafile: true,
    write: false,
  });
  return { text: outputFiles[0].text, inputs: Object.values(metafile.outputs)[0].inputs };
}

/** Each file's part of the minified bytes, as a part of the whole. */
function printParts(inputs, size) {
  const parts = Object.entries(inputs).map(([file, { bytesInOutput }]) => [file, bytesInOutput]);
  const sum = parts.reduce((sum, [, bytes]) => sum + bytes, 0);
  for (const [file, bytes] of parts.sort(([, a], [, b]) => b - a)) {
    if (bytes > 0) console.log(`  ${((size * bytes) / sum).toFixed(2)} ${file.replace("dist/", "")}`);
  }
}

function sizeOf(text) {
  return gzipSync(text, { level: 9 }).length / 1_000;
}
