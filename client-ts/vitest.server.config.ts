import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/server.test.ts", "test/feeds.test.ts", "test/switch.server.test.ts"],
    // Node.js 20 has WebSocket behind a flag only; later ones take the flag, too.
    execArgv: ["--experimental-websocket"],
    pool: "forks",
    testTimeout: 30_000,
  },
});
