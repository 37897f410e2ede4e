// The fallback by HTTP, from the first attempt on.

import { HttpSocket } from "../src/http/socket.js";
import type { Fallback, Options } from "../src/index.js";

/** A fallback that never lets a WebSocket be opened. */
export function always(environment: Parameters<NonNullable<Options["fallback"]>>[0]): Fallback {
  const nothing = () => {};
  return {
    dial: (request, events) => new HttpSocket(environment, request, events),
    onOpen: nothing,
    onFailure: nothing,
    onWake: nothing,
    onClose: nothing,
  };
}
