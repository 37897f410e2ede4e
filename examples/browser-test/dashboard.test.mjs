// Drives the dashboard example; see `harness.mjs` for its usage.

import { DESKTOP, PHONE, check, eventually, id, killServer, openWindow, origin, run, same, screenshot, setServerIsDown, startServer } from "./harness.mjs";

/** A browser waits 3 s before it asks again for server-sent events. */
const RECONNECT_WITHIN = 12_000;

const NARROW = { ...PHONE, viewport: { width: 400, height: 860 } };

const state = (page, expected, within) =>
  eventually("connection state", () => id(page, "state").getAttribute("data-state"), (seen) => seen === expected, within);

const figure = async (page, name) => Number((await id(page, `figure-${name}`).locator(".value").textContent()).replace(",", ""));

/** The places of all samples in the chart, from left to right as they were drawn. */
const places = (page) =>
  id(page, "series").evaluateAll((lines) =>
    lines.flatMap((line) => [...line.getAttribute("d").matchAll(/[ML]([\d.]+),/g)].map((match) => Number(match[1]))),
  );

const alerts = (page) =>
  id(page, "alert").evaluateAll((items) => items.map((item) => [item.dataset.level, item.querySelector(".what").textContent]));

async function raise(page, level, text) {
  await id(page, "alert-level").selectOption(level);
  await id(page, "alert-text").fill(text);
  await id(page, "raise-button").click();
}

async function test() {
  const ann = await openWindow("Ann", NARROW);
  const bob = await openWindow("Bob", DESKTOP);
  /** The header of each stream that was asked for. */
  const resumed = [];
  ann.on("request", async (request) => {
    if (request.url().includes("stats.live")) resumed.push((await request.allHeaders())["last-event-id"] ?? null);
  });

  await check("figures come by themselves, and the chart grows", async () => {
    await ann.goto(origin);
    await bob.goto(origin);
    await state(ann, "connected");
    await state(bob, "connected");
    const before = (await places(ann)).length;
    await eventually("samples", () => places(ann), (all) => all.length >= before + 2);
    await eventually("calls", () => figure(ann, "calls"), (calls) => calls > 0);
    await eventually("connections", () => figure(bob, "connections"), (connections) => connections >= 3);
  });

  await check("a figure that is chosen is what the chart shows", async () => {
    await id(bob, "figure-connections").click();
    same("title", await bob.locator("#chart-title").textContent(), "Open connections");
    same("pressed", await id(bob, "figure-connections").getAttribute("aria-pressed"), "true");
  });

  await check("an alert shows up on all pages, as text", async () => {
    await raise(ann, "warning", "The <b>honey</b> is nearly sold out, somebody should order more of it");
    await raise(bob, "critical", "Fire in aisle 3");
    const expected = [
      ["critical", "Fire in aisle 3"],
      ["warning", "The <b>honey</b> is nearly sold out, somebody should order more of it"],
    ];
    for (const page of [ann, bob]) {
      await eventually("alerts", () => alerts(page), (seen) => JSON.stringify(seen) === JSON.stringify(expected));
      await eventually("marks", () => id(page, "mark").count(), (count) => count === 2);
    }
    same("the input", await id(ann, "alert-text").inputValue(), "");
  });

  await check("the longest level is not cut on phones", async () => {
    for (const width of [320, 390, 400, 430]) {
      await ann.setViewportSize({ width, height: 860 });
      // The arrow beside the text takes some 20 px.
      const [room, needed] = await id(ann, "alert-level").evaluate((select) => {
        const style = getComputedStyle(select);
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.font = style.font;
        const text = canvas.measureText("Warning").width;
        return [select.clientWidth, text + parseFloat(style.paddingLeft) + parseFloat(style.paddingRight) + 20];
      });
      if (room < needed) throw new Error(`at ${width} px there are ${room} px for ${needed}`);
      const wide = await ann.evaluate(() => document.documentElement.scrollWidth);
      if (wide > width) throw new Error(`at ${width} px the page is ${wide} px wide`);
    }
    await ann.setViewportSize(NARROW.viewport);
  });

  await check("an alert without words is not raised", async () => {
    await raise(ann, "info", "   ");
    same("problem", await id(ann, "problem").textContent(), "Please say what is the matter.");
    same("alerts", (await alerts(ann)).length, 2);
    await id(ann, "alert-text").fill("");
    same("problem is gone", await id(ann, "problem").isHidden(), true);
  });

  await check("a page that is opened later shows what was before", async () => {
    const cleo = await openWindow("Cleo", { ...DESKTOP, colorScheme: "light" });
    await cleo.goto(origin);
    await state(cleo, "connected");
    same("alerts", (await alerts(cleo)).length, 2);
    same("samples", (await places(cleo)).length >= 3, true);
    await cleo.locator("#chart").focus();
    await cleo.keyboard.press("ArrowLeft");
    same("what the cursor says", /^[\d.,]+ at /.test(await cleo.locator("#tip").textContent()), true);
    await screenshot(cleo, "desktop-light");
    await cleo.context().close();
  });

  await check("nothing sticks out of a narrow window", async () => {
    const excess = await ann.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    same("pixels", excess, 0);
    await screenshot(ann, "phone-light");
    await screenshot(bob, "desktop-dark");
  });

  let before;
  await check("the server dies: the pages show it, and keep what they have", async () => {
    setServerIsDown(true);
    await killServer();
    await state(ann, "reconnecting");
    await state(bob, "reconnecting");
    before = (await places(ann)).length;
    same("samples are kept", before > 3, true);
    await raise(ann, "info", "Anybody there?");
    await eventually("problem", () => id(ann, "problem").textContent(), (text) => text.startsWith("The server cannot be reached"));
    same("the input", await id(ann, "alert-text").inputValue(), "Anybody there?");
    await screenshot(ann, "reconnecting-phone-light");
  });

  await check("the server is back: the chart goes on, and no sample is there twice", async () => {
    await startServer();
    await state(ann, "connected", RECONNECT_WITHIN);
    await state(bob, "connected", RECONNECT_WITHIN);
    setServerIsDown(false);
    await eventually("samples", () => places(ann), (all) => all.length >= before + 3);
    await eventually("marks", () => id(ann, "mark").count(), (count) => count === 3);
    const all = await places(ann);
    same("in order", all.every((place, index) => index === 0 || place > all[index - 1]), true);
    same("alerts", (await alerts(ann)).length, 2);
    same("asked after the last id", [resumed[0], /^[0-9a-f]+:\d+$/.test(resumed.find(Boolean))], [null, true]);
  });

  await check("what could not be sent is sent again by hand", async () => {
    await id(ann, "raise-button").click();
    await eventually("alerts", () => alerts(bob), (seen) => seen[0][1] === "Anybody there?");
    await eventually("alerts", () => alerts(ann), (seen) => seen.length === 3);
    await screenshot(bob, "restarted-desktop-dark");
  });

  await check("a server that says goodbye and comes back is found again", async () => {
    setServerIsDown(true);
    await killServer("SIGINT");
    await state(ann, "reconnecting");
    const kept = (await places(ann)).length;
    await startServer();
    await state(ann, "connected", RECONNECT_WITHIN);
    await state(bob, "connected", RECONNECT_WITHIN);
    setServerIsDown(false);
    await eventually("samples", () => places(ann), (all) => all.length >= kept + 2);
    const all = await places(ann);
    same("in order", all.every((place, index) => index === 0 || place > all[index - 1]), true);
  });
}

await run(test);
