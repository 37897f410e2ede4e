// What the tests of the hooks share: a page in memory, and names.

import { act, type ReactNode, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach } from "vitest";
import { type AnyClient, ask, connect, describe, event, mutation, query, subscription } from "../../src/index.js";
import { RealtimeProvider } from "../../src/react/index.js";
import { type Frame, settle, TestNetwork, type TestServer } from "../../src/testing/index.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

export const items = subscription<{ board: number; side?: string }, number>("items");
export const names = query<void, string[]>("names");
export const add = mutation<number, number>("add");
export const added = event<number>("added");
export const confirm = ask<string, boolean>("confirm");
export const talk = describe<{ name: string }, string, string>("talk");

/** Roots that are unmounted after a test. */
export const roots: Root[] = [];
afterEach(async () => {
  for (const root of roots.splice(0)) await act(async () => root.unmount());
});

/** Shows a component in StrictMode, with a client or with the options of sessions. */
export async function render(client: AnyClient | undefined, children: ReactNode, options?: object) {
  const element = document.createElement("div");
  const root = createRoot(element);
  roots.push(root);
  const show = async (children: ReactNode) => {
    await act(async () => {
      root.render(
        <StrictMode>
          <RealtimeProvider {...(client && { client })} {...(options && { options })}>
            {children}
          </RealtimeProvider>
        </StrictMode>,
      );
    });
  };
  await show(children);
  return {
    element,
    show,
    get text() {
      return element.textContent;
    },
  };
}

/** Sends a frame, and waits until it may be shown. */
export async function say(server: TestServer | undefined, sent: Frame): Promise<void> {
  await act(async () => {
    server?.send(sent);
    await settle();
  });
  await frame();
}

/** Waits for a frame of the screen, which goes by the real clock. */
export async function frame(): Promise<void> {
  await act(async () => new Promise((resolve) => setTimeout(resolve, 20)));
}

export async function macrotask(): Promise<void> {
  await act(async () => new Promise((resolve) => setTimeout(resolve, 1)));
}

export function setUp() {
  const network = new TestNetwork();
  const client = connect(describe("api"), { url: "ws://server/x", environment: network.environment });
  return { network, client };
}
