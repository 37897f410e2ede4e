import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/browser.test.ts", "test/board.test.ts", "test/newcomer.test.ts", "test/browsers/*.test.ts"],
    // Node.js 20 has WebSocket behind a flag only.
    execArgv: ["--experimental-websocket"],
    pool: "forks",
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
