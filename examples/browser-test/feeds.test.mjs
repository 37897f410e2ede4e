// Pages that miss a part of the chat's messages, which are a feed, and come back: each has every message once, in order.
// See `harness.mjs` for its usage; it needs a prefix, because the proxy cuts the connections of one page.

import { DESKTOP, PHONE, check, cut, eventually, id, mend, openWindow, origin, run, same, setServerIsDown } from "./harness.mjs";

/** A browser waits 3 s before it asks again for server-sent events, and the page up to 10 s. */
const COMES_BACK_WITHIN = 15_000;

const join = (page, name) => page.goto(`${origin}/?${new URLSearchParams({ room: "rust", name })}`);

const state = (page, expected, within) =>
  eventually("connection state", () => id(page, "state").getAttribute("data-state"), (seen) => seen === expected, within);

const texts = (page) => id(page, "message").evaluateAll((nodes) => nodes.map((node) => node.querySelector(".text").textContent));

const heard = (page) => page.evaluate(() => window.heard);

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => `number ${from + at}`);

async function say(page, from, to) {
  for (const text of numbers(from, to)) {
    await id(page, "composer").fill(text);
    await id(page, "send-button").click();
    await eventually(text, () => texts(page), (all) => all.filter((seen) => seen === text).length === 1);
  }
}

const seesAll = (page, to) =>
  eventually("all messages once, in order", () => texts(page), (all) => same("texts", all, numbers(1, to)) ?? true, COMES_BACK_WITHIN);

const hearsAll = (page, to) =>
  eventually("all events once, in order", () => heard(page), (all) => same("events", all, numbers(1, to)) ?? true, COMES_BACK_WITHIN);

async function test() {
  const ann = await openWindow("Ann", PHONE);
  const bob = await openWindow("Bob", DESKTOP);

  await check("a page by WebSocket and one by server-sent events are told the same", async () => {
    await join(ann, "Ann");
    await join(bob, "Bob");
    await state(ann, "connected");
    await state(bob, "connected");
    await bob.evaluate(() => {
      window.heard = [];
      window.source = new EventSource("__realtime/chat?room=rust&name=Eve");
      window.source.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (event.type === "said") window.heard.push(event.message.text);
      };
    });
    await eventually("the EventSource", () => bob.evaluate(() => window.source.readyState), (ready) => ready === 1);
    await say(bob, 1, 3);
    await seesAll(ann, 3);
    await hearsAll(bob, 3);
  });

  await check("an EventSource whose connection was cut goes on behind its last id", async () => {
    setServerIsDown(true);
    cut("name=Eve");
    await eventually("the EventSource", () => bob.evaluate(() => window.source.readyState), (ready) => ready === 0);
    await say(bob, 4, 6);
    mend();
    await hearsAll(bob, 6);
    setServerIsDown(false);
    await say(bob, 7, 7);
    await hearsAll(bob, 7);
  });

  await check("a page whose WebSocket was cut goes on behind its position", async () => {
    setServerIsDown(true);
    cut('"name":"Ann"');
    await state(ann, "reconnecting");
    await say(bob, 8, 10);
    mend();
    await state(ann, "connected", COMES_BACK_WITHIN);
    setServerIsDown(false);
    await seesAll(ann, 10);
  });

  await check("a page that was asleep has what was said meanwhile", async () => {
    const devtools = await ann.context().newCDPSession(ann);
    await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
    await say(bob, 11, 13);
    await devtools.send("Page.setWebLifecycleState", { state: "active" });
    await seesAll(ann, 13);
  });

  await check("a page that is loaded again has each message once", async () => {
    await ann.reload();
    await state(ann, "connected");
    await seesAll(ann, 13);
    await say(bob, 14, 15);
    await seesAll(ann, 15);
    await hearsAll(bob, 15);
  });
}

await run(test);
