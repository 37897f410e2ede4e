// The scripts that all clients pass. Their README says what the steps mean.

import { readdirSync, readFileSync } from "node:fs";
import { describe as suite, test } from "vitest";
import { readOptions, run, type Script } from "./vectors.js";

const folder = new URL("../../realtime-client/tests/vectors/", import.meta.url);

for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  suite(file, () => {
    const scripts: Script[] = JSON.parse(readFileSync(new URL(file, folder), "utf8"));
    for (const script of scripts) {
      test(script.name, async () => {
        // However long the random waits are.
        for (const random of [0.3, 1]) await run(script, readOptions(script), random);
      });
    }
  });
}
