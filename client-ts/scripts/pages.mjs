// Makes one module of the client and of the names of an example's server, for pages that are served as they are:
// `npm run pages`. With `--check` it fails if a module that is kept is not what it would make.

import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const PAGES = ["examples/chat/web"];

const HEADER = `// Generated from realtime.ts, api.ts and client-ts. Do not edit: run \`npm run pages\` in client-ts.`;

const repository = new URL("../..", import.meta.url);
for (const page of PAGES) {
  const path = fileURLToPath(new URL(`${page}/realtime.js`, repository));
  const text = await bundle(fileURLToPath(new URL(`${page}/realtime.ts`, repository)));
  if (process.argv[2] !== "--check") {
    await writeFile(path, text);
  } else if (text !== (await readFile(path, "utf8").catch(() => ""))) {
    console.error(`${page}/realtime.js is stale: run \`npm run pages\` in client-ts, and commit it`);
    process.exitCode = 1;
  }
}

async function bundle(entry) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    legalComments: "none",
    alias: { "realtime-client": fileURLToPath(new URL("client-ts/src/index.ts", repository)) },
    banner: { js: HEADER },
    write: false,
  });
  return outputFiles[0].text;
}
