// Drives the chat on three nodes; see `harness.mjs` for its usage. A node is killed by the page of the nodes, and nothing is
// missing in the chat.

import { DESKTOP, PHONE, check, eventually, fits, id, killServer, openWindow, origin, output, run, same, screenshot, setServerIsDown } from "./harness.mjs";

const ROOM = "nodes";
const COMES_BACK_WITHIN = 15_000;

const join = (page, name) => page.goto(`${origin}/?${new URLSearchParams({ room: ROOM, name })}`);

const state = (page, expected) =>
  eventually("connection state", () => id(page, "state").getAttribute("data-state"), (seen) => seen === expected, COMES_BACK_WITHIN);

async function say(page, text) {
  await id(page, "composer").fill(text);
  await id(page, "send-button").click();
}

/** The texts of the messages, in the page's order. */
const texts = (page) =>
  id(page, "message").evaluateAll((nodes) =>
    nodes.filter((node) => node.dataset.delivery === "sent").map((node) => node.querySelector(".text").textContent),
  );

const seesAll = (page, expected) =>
  eventually("the messages", () => texts(page), (seen) => JSON.stringify(seen) === JSON.stringify(expected), COMES_BACK_WITHIN);

/** The people that a page shows, whatever node they are on. */
const people = (page, expected) =>
  eventually(
    "the people",
    async () => (await page.locator('[data-testid="person"] .name').allTextContents()).sort(),
    (seen) => JSON.stringify(seen) === JSON.stringify(expected),
    COMES_BACK_WITHIN,
  );

/** What the nodes say of themselves. */
const all = (nodes) => nodes.evaluate(async () => (await fetch("nodes")).json());

/** The numbers of the nodes that have clients. */
const used = async (nodes) => (await all(nodes)).filter(({ status }) => status?.connections > 0).map(({ number }) => number);

async function test() {
  const address = /nodes is at (\S+)/.exec(output())?.[1];
  if (!address) throw new Error("the example does not say where the nodes are");
  const nodes = await openWindow("nodes", DESKTOP, [new URL(address).host]);
  await nodes.goto(address);
  const [ann, bob] = [await openWindow("Ann", DESKTOP), await openWindow("Bob", PHONE)];
  const said = [];

  await check("three nodes are ready", async () => {
    await eventually(
      "the states",
      () => nodes.locator(".state").allTextContents(),
      (seen) => JSON.stringify(seen) === JSON.stringify(["ready", "ready", "ready"]),
    );
    await fits(nodes);
  });

  await check("two pages on two nodes see each other's messages", async () => {
    await join(ann, "Ann");
    await state(ann, "connected");
    // From then on the balancer knows it.
    await eventually("the node with a client", () => used(nodes), (seen) => seen.length === 1);
    await join(bob, "Bob");
    await state(bob, "connected");
    for (const [page, text] of [[ann, "hello"], [bob, "hello to you"]]) {
      await say(page, text);
      said.push(text);
      await Promise.all([seesAll(ann, said), seesAll(bob, said)]);
    }
    await eventually("the nodes with clients", () => used(nodes), (seen) => seen.length === 2);
    await Promise.all([people(ann, ["Ann", "Bob"]), people(bob, ["Ann", "Bob"])]);
    await screenshot(ann, "chat");
    await screenshot(nodes, "nodes");
  });

  await check("who comes is told of on all nodes", () =>
    eventually("the notice", () => id(ann, "notice").allTextContents(), (seen) => seen.some((text) => text.includes("Bob"))));

  await check("a node is killed under its page, and nothing is missing", async () => {
    for (let round = 0; round < 3; round += 1) {
      setServerIsDown(true);
      const [number] = await used(nodes);
      const { starts } = (await all(nodes)).find((node) => node.number === number);
      await nodes.getByRole("button", { name: `Kill node ${number}` }).click();
      await eventually("the node that is down", () => all(nodes), (seen) => seen.some((node) => node.number === number && !node.status));
      if (round === 0) await screenshot(nodes, "node-down");
      for (const [page, text] of [[ann, `Ann, round ${round}`], [bob, `Bob, round ${round}`]]) {
        await state(page, "connected");
        await say(page, text);
        said.push(text);
        await Promise.all([seesAll(ann, said), seesAll(bob, said)]);
      }
      // Those of the node that is gone are shown until the others have not heard it for five seconds.
      await Promise.all([people(ann, ["Ann", "Bob"]), people(bob, ["Ann", "Bob"])]);
      if (round === 0) await screenshot(ann, "chat-after-kill");
      await eventually(
        "the node that is back",
        () => all(nodes),
        (seen) => seen.every((node) => node.status?.ready && (node.number !== number || node.starts === starts + 1)),
        COMES_BACK_WITHIN,
      );
      setServerIsDown(false);
    }
  });

  await check("a page that is loaded again has all of it", async () => {
    await bob.reload();
    await state(bob, "connected");
    await seesAll(bob, said);
    await Promise.all([people(ann, ["Ann", "Bob"]), people(bob, ["Ann", "Bob"])]);
    same("how many", said.length, 8);
  });

  await check("the page of the nodes fits a phone", async () => {
    await nodes.setViewportSize(PHONE.viewport);
    await screenshot(nodes, "nodes-phone");
    const excess = await nodes.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    same("what sticks out", excess, 0);
  });

  await check("the example ends when it is told to", () => killServer("SIGTERM"));
}

await run(test);
