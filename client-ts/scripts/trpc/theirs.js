// The page of tRPC.

import { createTRPCClient, createWSClient, wsLink } from "@trpc/client";
import { measured } from "./work.js";

measured(async (url) => {
  const client = createTRPCClient({ links: [wsLink({ client: createWSClient({ url }) })] });
  await client.double.query(1);
  return {
    call: (number) => client.double.query(number),
    subscribe: (count, onData, onComplete) => client.countdown.subscribe(count, { onData, onComplete }),
  };
});
