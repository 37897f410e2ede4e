// The first section of ../README.md, step by step, in a folder of its own: what it says is done, and the page does what it
// promises. In place of the folder of the client there is what `npm pack` makes of it. Packages come from the registry.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Block, blocksOf } from "./blocks.js";
import { freePort, type Server, start, stop } from "./servers.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const env = {
  ...process.env,
  npm_config_audit: "false",
  npm_config_fund: "false",
  npm_config_prefer_offline: "true",
};

/** What the README has one write: more would be too much. */
const LINES = 20;

let folder: string;
let browser: Browser;
let server: Server;
let preview: ChildProcess | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "newcomer-"));
  server = await start("counter");
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  await layOutRepository();
}, 60_000);

afterAll(async () => {
  await browser?.close();
  if (preview?.pid) process.kill(-preview.pid);
  await stop(server);
  await rm(folder, { recursive: true, force: true });
});

test("from the README to a typed call and a live list", async () => {
  const text = await readFile(join(root, "README.md"), "utf8");
  const section = text.slice(text.indexOf("## From nothing"), text.indexOf("## The client"));
  const blocks = blocksOf(section);
  const files = blocks.filter((block): block is Block & { file: string } => block.file !== undefined);
  // The first has built the folder that stands in the package.
  const [, ...commands] = blocks.filter(({ language }) => language === "sh");
  expect(files.map(({ file }) => file)).toEqual(["package.json", "vite.config.js", "index.html", "main.ts"]);
  expect(commands.length).toBe(1);
  const own = files.filter(({ language }) => language === "ts" || language === "html");
  expect(own.flatMap(({ code }) => code.split("\n").filter((line) => line !== "")).length).toBeLessThanOrEqual(
    LINES,
  );

  const page = join(folder, "page");
  await mkdir(page);
  for (const { file, code } of files) {
    await writeFile(join(page, file), code.replace("127.0.0.1:3000", `127.0.0.1:${server.port}`));
  }
  for (const { code } of commands) await run("sh", ["-ec", code], { cwd: page, env });
  await checkTypes(page);
  await showsWhatOthersDo(await servePage(page));
}, 180_000);

/** A clone of the repository, with what the steps need of it. */
async function layOutRepository(): Promise<void> {
  const client = join(folder, "realtime/client-ts");
  await mkdir(client, { recursive: true });
  await run("npm", ["pack", "--pack-destination", folder], { cwd: root, env });
  const archive = (await readdir(folder)).find((name) => name.endsWith(".tgz")) ?? "";
  await run("tar", ["-xzf", join(folder, archive), "-C", client, "--strip-components=1"]);
  const api = "examples/counter/api.ts";
  await mkdir(join(folder, "realtime/examples/counter"), { recursive: true });
  await cp(join(root, "..", api), join(folder, "realtime", api));
}

/** As an editor would do it. */
async function checkTypes(page: string): Promise<void> {
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const options = [
    "--noEmit",
    "--strict",
    "--target",
    "es2022",
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
  ];
  const checked = run(process.execPath, [tsc, ...options, "main.ts"], { cwd: page });
  expect(await checked.catch(({ stdout }) => stdout)).toMatchObject({ stdout: "" });
}

/** Serves the page that was built; returns where it is. */
async function servePage(page: string): Promise<string> {
  const port = await freePort();
  const args = ["vite", "preview", "--host", "127.0.0.1", "--port", `${port}`, "--strictPort"];
  // With its children, which it does not end itself.
  preview = spawn("npx", args, { cwd: page, env, detached: true, stdio: ["ignore", "pipe", "ignore"] });
  if (!preview.stdout) throw new Error("it has no output");
  await once(preview.stdout, "data");
  return `http://127.0.0.1:${port}`;
}

async function showsWhatOthersDo(address: string): Promise<void> {
  const complaints: string[] = [];
  const open = async (): Promise<Page> => {
    const page = await browser.newPage();
    page.on("pageerror", (error) => complaints.push(`${error}`));
    page.on("console", (message) => {
      // A page without an icon is asked for one.
      if (!message.location().url.endsWith("/favicon.ico")) complaints.push(message.text());
    });
    const socket = page.waitForEvent("websocket");
    await page.goto(address);
    // The server has let it in.
    await (await socket).waitForEvent("framereceived");
    return page;
  };
  const [one, two] = [await open(), await open()];
  await one.getByRole("button").click();
  await two.getByText("5 more: 5").waitFor();
  await one.getByText("5", { exact: true }).waitFor();
  await two.getByRole("button").click();
  await one.getByText("5 more: 10").waitFor();
  expect(await one.locator("output").textContent()).toBe("5");
  expect(await two.locator("li").allTextContents()).toEqual(["5 more: 5"]);
  expect(complaints).toEqual([]);
}
