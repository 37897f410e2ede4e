// The page of realtime-client.

import { connect, describe, query, subscription } from "../../src/index.ts";
import { measured } from "./work.js";

const double = query("double");
const countdown = subscription("countdown");

measured(async (url) => {
  const client = connect(describe("browsers"), { url });
  await client.open();
  return {
    call: (number) => client.call(double, number),
    subscribe: (count, onData, onComplete) => client.subscribe(countdown, count, { onData, onComplete }),
  };
});
