import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.{ts,tsx}", "test/**/*.test.{ts,tsx}"],
    exclude: [
      "test/{server,feeds,switch.server,browser,board,newcomer}.test.ts",
      "test/browsers/**",
      "node_modules/**",
    ],
    // For the tests that count what is left.
    pool: "forks",
    execArgv: ["--expose-gc"],
    // Time is virtual: nothing here has a reason to take long.
    testTimeout: 20_000,
  },
});
