// The fallback by HTTP, from the first attempt on.

import { HttpSocket } from "../src/http/socket.js";
import type { Fallback, Options } from "../src/index.js";

/** A fallback that never lets a WebSocket be opened. */
export function always({ environment }: Parameters<NonNullable<Options["fallback"]>>[0]): Fallback {
  const nothing = () => {};
  const no = () => false;
  return {
    dial: (request, events) => new HttpSocket(environment, request, events),
    isSending: false,
    onOpen: nothing,
    replace: no,
    carries: no,
    onEnd: no,
    onLose: nothing,
    send: nothing,
    fail: nothing,
    expectProgress: nothing,
    onWake: nothing,
    onClose: nothing,
  };
}
