import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

// The client of this repository is not published: the page takes its sources.
const client = fileURLToPath(new URL("../../../client-ts/src", import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^realtime-client$/, replacement: `${client}/index.ts` },
      { find: /^realtime-client\/react$/, replacement: `${client}/react/index.ts` },
    ],
    dedupe: ["react"],
  },
  // `npm run dev` beside `cargo run -p board`: a server refuses pages of other origins.
  server: { proxy: { "/__realtime": { target: "http://127.0.0.1:3000", ws: true, changeOrigin: false } } },
});
