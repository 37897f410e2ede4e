// The servers of ../../examples, built by `cargo build -p counter -p dashboard -p board -p in-browsers`, and `feeds`, built
// by `cargo build -p realtime-client --example feeds`. TARGET names another folder of binaries.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

export interface Server {
  readonly process: ChildProcess;
  readonly port: number;
  readonly origin: string;
}

/** Starts a server. It says where it is when it listens. */
export async function start(
  name: "counter" | "dashboard" | "board" | "feeds" | "in-browsers",
  onPort?: number,
  words = ["serve"],
  variables: Record<string, string> = {},
): Promise<Server> {
  const port = onPort ?? (await freePort());
  const folder = process.env.TARGET ?? fileURLToPath(new URL("../../target/debug", import.meta.url));
  const env = { ...process.env, ...variables, PORT: `${port}` };
  const file = name === "feeds" ? "examples/feeds" : name;
  const child = spawn(`${folder}/${file}`, words, { env, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  for await (const text of child.stdout) {
    said += text;
    if (/ is at .*\n/.test(said)) break;
  }
  const scheme = said.includes(" is at https:") ? "https" : "http";
  return { process: child, port, origin: `${scheme}://127.0.0.1:${port}` };
}

export async function stop({ process: child }: Server, signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
  const exited = once(child, "exit");
  if (child.kill(signal)) await exited;
}

// Below what systems give to connections and to port 0 (Linux from 32768): no connection takes a port between the call
// and the start of its server, or while the server is down and started again.
const [from, to] = [10_000, 32_768];
let next = Math.floor(Math.random() * (to - from));

/** Returns a port of 127.0.0.1 on which nothing listens, another one with each call. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = from + (next++ % (to - from));
    const listener = createServer();
    const listens = await new Promise((resolve) => {
      listener.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!listens) continue;
    await new Promise((resolve) => listener.close(resolve));
    return port;
  }
}
