// Drives the chat example; see `harness.mjs` for its usage.

import { DESKTOP, PHONE, check, eventually, fits, id, killServer, openWindow, origin, run, same, screenshot, setServerIsDown, startServer } from "./harness.mjs";

const RECONNECT_WITHIN = 12_000;

// ---- The page ------------------------------------------------------------------

async function joinByForm(page, name, room) {
  await page.goto(origin);
  await id(page, "name-input").fill(name);
  await id(page, "room-input").fill(room);
  await id(page, "join-button").click();
}

const joinByAddress = (page, name, room) => page.goto(`${origin}/?${new URLSearchParams({ room, name })}`);

const state = (page, expected, within) =>
  eventually("connection state", () => id(page, "state").getAttribute("data-state"), (seen) => seen === expected, within);

const people = (page, expected, within) =>
  eventually(
    "people",
    async () => (await page.locator('[data-testid="person"] .name').allTextContents()).sort(),
    (seen) => JSON.stringify(seen) === JSON.stringify([...expected].sort()),
    within,
  );

/** Author, text and delivery of each message, from the page's own structure. */
const messages = (page) =>
  id(page, "message").evaluateAll((nodes) =>
    nodes.map((node) => ({
      author: node.querySelector(".author").textContent,
      text: node.querySelector(".text").textContent,
      delivery: node.dataset.delivery,
    })),
  );

const sees = (page, author, text, within) =>
  eventually(
    `the message ${JSON.stringify(text)} by ${author}`,
    () => messages(page),
    (all) => all.filter((m) => m.author === author && m.text === text && m.delivery === "sent").length === 1,
    within,
  );

const notice = (page, text) =>
  eventually(`the notice ${text}`, () => id(page, "notice").allTextContents(), (all) => all.includes(text));

const typing = (page, expected) =>
  eventually("typing", () => id(page, "typing").textContent(), (text) => text === expected);

async function say(page, text) {
  await id(page, "composer").fill(text);
  await id(page, "send-button").click();
}

// ---- The test ------------------------------------------------------------------

const TRICKY = 'Is it <b>bold</b> & "quoted"? 🦀\nSecond line, <img src=x onerror="alert(1)">';

async function test() {
  const ann = await openWindow("Ann", PHONE);
  const bob = await openWindow("Bob", DESKTOP);

  await check("the join screen offers rooms", async () => {
    await ann.goto(origin);
    await id(ann, "join-button").waitFor();
    same("rooms", await id(ann, "room-suggestion").allTextContents(), ["general", "rust", "random"]);
    await id(ann, "room-suggestion").filter({ hasText: "rust" }).click();
    same("room", await id(ann, "room-input").inputValue(), "rust");
    await fits(ann);
    await screenshot(ann, "join-phone-light");
    await bob.goto(origin);
    await id(bob, "name-input").fill("Bob");
    await screenshot(bob, "join-desktop-dark");
  });

  await check("Ann and Bob join from the join screen", async () => {
    await joinByForm(ann, "Ann", "general");
    await state(ann, "connected");
    await joinByForm(bob, "Bob", "general");
    await state(bob, "connected");
    same("the address", new URL(bob.url()).search, "?room=general");
  });

  await check("each sees the other", async () => {
    await people(ann, ["Ann", "Bob"]);
    await people(bob, ["Ann", "Bob"]);
    await notice(ann, "Bob joined");
  });

  await check("Bob sees Ann typing, and stop", async () => {
    await id(ann, "composer").pressSequentially("Hi Bob");
    await typing(bob, "Ann is typing…");
    same("typing, at Ann's", await id(ann, "typing").textContent(), "");
    await id(ann, "composer").fill("");
    await typing(bob, "");
  });

  await check("Ann's message reaches both, and her typing ends", async () => {
    await id(ann, "composer").pressSequentially("Hi Bob, is the new room ready?");
    await typing(bob, "Ann is typing…");
    await id(ann, "send-button").click();
    await sees(bob, "Ann", "Hi Bob, is the new room ready?");
    await sees(ann, "You", "Hi Bob, is the new room ready?");
    await typing(bob, "");
    same("composer", await id(ann, "composer").inputValue(), "");
  });

  await check("Bob's answer is shown literally; Enter sends, Shift+Enter does not", async () => {
    const composer = id(bob, "composer");
    const [first, second] = TRICKY.split("\n");
    await composer.pressSequentially(first);
    await composer.press("Shift+Enter");
    await composer.pressSequentially(second);
    same("composer", await composer.inputValue(), TRICKY);
    await composer.press("Enter");
    for (const [page, author] of [[ann, "Bob"], [bob, "You"]]) {
      await sees(page, author, TRICKY);
      const lines = await page.locator(".text").last().evaluate((text) => ({
        markup: text.querySelectorAll("*").length,
        shown: text.innerText,
      }));
      same("as shown", lines, { markup: 0, shown: TRICKY });
    }
  });

  await check("a window in another room sees none of it", async () => {
    const dora = await openWindow("Dora", DESKTOP);
    await joinByAddress(dora, "Dora", "random");
    await state(dora, "connected");
    await say(ann, "This stays in general");
    await sees(bob, "Ann", "This stays in general");
    await say(dora, "Hello, random");
    await sees(dora, "You", "Hello, random");
    await people(dora, ["Dora"]);
    same("messages in random", (await messages(dora)).map((m) => m.text), ["Hello, random"]);
    same("notices in random", await id(dora, "notice").allTextContents(), []);
    same("Dora's words in general", (await messages(ann)).some((m) => m.text === "Hello, random"), false);
    await dora.context().close();
  });

  const cleo = await openWindow("Cleo", { ...DESKTOP, colorScheme: "light" });
  await check("a newcomer gets the history", async () => {
    await joinByAddress(cleo, "Cleo", "general");
    await state(cleo, "connected");
    await people(cleo, ["Ann", "Bob", "Cleo"]);
    await eventually("history", () => messages(cleo), (all) => all.length >= 3);
    same("history", (await messages(cleo)).map((m) => [m.author, m.text]), [
      ["Ann", "Hi Bob, is the new room ready?"],
      ["Bob", TRICKY],
      ["Ann", "This stays in general"],
    ]);
    await notice(ann, "Cleo joined");
    await notice(bob, "Cleo joined");
  });

  await check("two people typing are both named", async () => {
    await say(bob, "Yes, since this morning.");
    await say(bob, "Presence, typing and history are in. Reconnecting is next.");
    await say(cleo, "Morning! I just read up on it, looks good.");
    await sees(ann, "Cleo", "Morning! I just read up on it, looks good.");
    await id(ann, "composer").pressSequentially("Then let us see it live");
    await typing(bob, "Ann is typing…");
    await typing(cleo, "Ann is typing…");
    await fits(bob);
    await fits(cleo);
    await screenshot(bob, "chat-desktop-dark");
    await screenshot(cleo, "chat-desktop-light");
    await id(ann, "composer").fill("");
    await typing(cleo, "");
    await id(bob, "composer").pressSequentially("On");
    await typing(ann, "Bob is typing…");
    await id(cleo, "composer").pressSequentially("And");
    await typing(ann, "Bob and Cleo are typing…");
    await fits(ann);
    await screenshot(ann, "chat-phone-light");
    await id(bob, "composer").fill("");
    await id(cleo, "composer").fill("");
    await typing(ann, "");
  });

  await check("a topic that Ann sets is seen on all pages", async () => {
    await id(ann, "composer").pressSequentially("/to");
    same("commands", await id(ann, "commands").getByRole("button").allTextContents(), ["/topic textsay what the room is about"]);
    await id(ann, "composer").press("Tab");
    await id(ann, "composer").pressSequentially("Release on Friday");
    same("typing, at Bob's", await id(bob, "typing").textContent(), "");
    await id(ann, "send-button").click();
    for (const page of [ann, bob, cleo]) {
      await eventually("topic", () => id(page, "topic").textContent(), (text) => text === "Release on Friday");
      await notice(page, "Ann set the topic: Release on Friday");
    }
    same("composer", await id(ann, "composer").inputValue(), "");
    await fits(ann);
  });

  await check("a bad command shows its error at the input, and keeps what was written", async () => {
    const before = (await messages(bob)).length;
    for (const [command, problem] of [
      ["/frobnicate", "There is no command /frobnicate"],
      ["/roll 1", "A die has 2 to 1000 sides, and not 1"],
      ["/roll six", "“six” is no number of sides"],
      [`/nick ${"x".repeat(33)}`, "The name has 33 characters, and 32 are allowed"],
    ]) {
      await say(ann, command);
      await eventually("problem", () => id(ann, "problem").textContent(), (text) => text === problem);
      same("composer", await id(ann, "composer").inputValue(), command);
    }
    await fits(ann);
    await screenshot(ann, "command-error-phone-light");
    await id(ann, "composer").fill("");
    same("problem is gone", await id(ann, "problem").isHidden(), true);
    same("messages", (await messages(bob)).length, before);
  });

  await check("who is here, a die, and another name", async () => {
    await say(bob, "/who");
    await notice(bob, "Here: Ann, Bob, Cleo");
    await say(bob, "/roll 2");
    await eventually("the die", () => id(ann, "notice").allTextContents(), (all) => all.some((text) => /^Bob rolled [12] of 2$/.test(text)));
    await say(bob, "/nick Robert");
    for (const page of [ann, bob, cleo]) {
      await notice(page, "Bob is now Robert");
      await people(page, ["Ann", "Cleo", "Robert"]);
    }
    await id(bob, "composer").fill("/");
    await eventually("commands", () => id(bob, "commands").getByRole("button").count(), (count) => count === 4);
    await fits(bob);
    await screenshot(bob, "commands-desktop-dark");
    await say(bob, "//who is a command");
    await sees(ann, "Robert", "/who is a command");
    await say(bob, "/nick Bob");
    await people(ann, ["Ann", "Bob", "Cleo"]);
    same("Bob's own message, from before", (await messages(bob)).filter((m) => m.author === "You").at(-1).text, "/who is a command");
  });

  await check("Cleo leaves: a notice, and presence shrinks", async () => {
    await cleo.context().close();
    for (const page of [ann, bob]) {
      await notice(page, "Cleo left");
      await people(page, ["Ann", "Bob"]);
    }
  });

  await check("an EventSource is told what is said, and is gone when it closes", async () => {
    await bob.evaluate(() => {
      window.heard = [];
      window.source = new EventSource("__realtime/chat?room=general&name=Eve");
      window.source.onmessage = (event) => window.heard.push(JSON.parse(event.data));
    });
    await people(ann, ["Ann", "Bob", "Eve"]);
    await say(ann, "Heard over events?");
    await eventually(
      "what the EventSource hears",
      () => bob.evaluate(() => window.heard.filter((heard) => heard.type === "said").map((heard) => heard.message.text)),
      (texts) => texts.includes("Heard over events?"),
    );
    same("its state", await bob.evaluate(() => window.source.readyState), 1);
    await bob.evaluate(() => window.source.close());
    await notice(ann, "Eve left");
    await people(ann, ["Ann", "Bob"]);
    await sees(bob, "Ann", "Heard over events?");
  });

  await check("a link in a message is a link, and only to the web", async () => {
    const text = "See https://example.com/a_(b)?c=<d>, or (http://localhost:1/x). Not javascript:alert(1) or ahttps://no.";
    await id(bob, "composer").fill(text);
    await id(bob, "composer").press("Enter");
    for (const [page, author] of [[ann, "Bob"], [bob, "You"]]) {
      await sees(page, author, text);
      const links = await page.locator(".text").last().locator("a").evaluateAll((all) =>
        all.map((link) => [link.getAttribute("href"), link.textContent, link.rel, link.target]),
      );
      const link = (href) => [href, href, "noopener noreferrer nofollow", "_blank"];
      same("links", links, [link("https://example.com/a_(b)?c="), link("http://localhost:1/x")]);
    }
  });

  await check("a text over the limit cannot be sent, and is not cut", async () => {
    await id(ann, "composer").fill("é".repeat(2001));
    same("send is off", await id(ann, "send-button").isDisabled(), true);
    await id(ann, "composer").press("Enter");
    same("length", (await id(ann, "composer").inputValue()).length, 2001);
    await id(ann, "composer").fill("");
  });

  let before;
  await check("the server dies: both pages show it", async () => {
    before = await messages(bob);
    setServerIsDown(true);
    await killServer();
    await state(ann, "reconnecting");
    await state(bob, "reconnecting");
  });

  await check("what is written meanwhile waits visibly", async () => {
    await say(ann, "Written while the server was down");
    await say(ann, "And another one");
    same("Ann's last messages", (await messages(ann)).slice(-2).map((m) => [m.text, m.delivery]), [
      ["Written while the server was down", "waiting"],
      ["And another one", "waiting"],
    ]);
    await id(ann, "banner").waitFor();
    await id(bob, "banner").waitFor();
    await screenshot(ann, "reconnecting-phone-light");
    await screenshot(bob, "reconnecting-desktop-dark");
  });

  await check("the server is back: both reconnect by themselves", async () => {
    await startServer();
    await state(ann, "connected", RECONNECT_WITHIN);
    await state(bob, "connected", RECONNECT_WITHIN);
    setServerIsDown(false);
    await people(ann, ["Ann", "Bob"]);
    await people(bob, ["Ann", "Bob"]);
  });

  await check("the pages say where the restart is, once", async () => {
    const words = "Messages may be missing here: the server was restarted";
    for (const page of [ann, bob]) {
      await notice(page, words);
      same("notices", (await id(page, "notice").allTextContents()).filter((text) => text === words).length, 1);
    }
  });

  await check("what waited is sent, once and in order; nothing is doubled", async () => {
    await sees(bob, "Ann", "And another one");
    await sees(ann, "You", "And another one");
    same("Bob's messages", (await messages(bob)).map((m) => m.text), [
      ...before.map((m) => m.text),
      "Written while the server was down",
      "And another one",
    ]);
  });

  await check("messages go through again, both ways", async () => {
    await say(bob, "Welcome back");
    await sees(ann, "Bob", "Welcome back");
    await say(ann, "As if nothing had happened");
    await sees(bob, "Ann", "As if nothing had happened");
  });

  await check("a reload rejoins with the history; leaving goes to the join screen", async () => {
    await bob.reload();
    await state(bob, "connected");
    await sees(bob, "You", "Welcome back");
    await id(bob, "leave-button").click();
    same("remembered name", await id(bob, "name-input").inputValue(), "Bob");
    await people(ann, ["Ann"]);
  });

  await scriptedServer();
}

/** What the page does with frames a well-behaved server hardly ever sends: the server is played here. */
async function scriptedServer() {
  const page = await openWindow("Eve", PHONE);
  let dials = 0;
  let socket = null;
  let eve = null;
  let silent = false;
  let asked = null;
  const log = [];
  const pings = [];
  const said = [];
  const send = (frame) => socket.send(JSON.stringify(frame));
  const value = (content) => send({ type: "message", value: content });
  const refuse = () => send({ type: "error", error: { code: "INVALID_ARGUMENT", message: "That is too fast." } });
  const message = (text) => ({ person: eve, text, at: 1763722800000 + said.length });
  const tell = (offset) => send({ type: "message", value: { type: "said", message: log[offset - 1] }, topic: "chat:general", epoch: "e", offset });
  const accept = (text) => tell(log.push(message(text)));
  let answer = refuse;
  await page.routeWebSocket("**/__realtime/chat?*", (route) => {
    dials += 1;
    socket = route;
    asked = JSON.parse(new URL(route.url()).searchParams.get("input"));
    eve = { id: `e${dials}`, name: "Eve" };
    route.onMessage((text) => {
      const frame = JSON.parse(text);
      if (frame.type === "ping") {
        pings.push(frame);
        if (!silent) send({ type: "pong" });
      } else if (frame.value?.type === "say") {
        said.push(frame.value.text);
        answer(frame.value.text);
      }
    });
    send({ type: "welcome", connection: eve.id, heartbeatMs: 1_000, extra: true });
    const after = asked.after ?? { epoch: "e", offset: 0 };
    value({ type: "present", you: eve, topic: "", after, newest: { epoch: "e", offset: log.length } });
    send({ type: "event", name: "presence", data: { name: "chat:general", here: [] } });
    send({ type: "event", name: "presence", data: { name: "chat:general", joined: [{ connection: eve.id, data: eve.name }] } });
    for (let offset = Number(after.offset) + 1; offset <= log.length; offset += 1) tell(offset);
    value({ type: "something new" });
    send({ type: "something new" });
  });
  await page.clock.install();
  await joinByAddress(page, "Eve", "general");
  await state(page, "connected");

  await check("a server error is a toast, and the message is marked as not sent", async () => {
    await say(page, "Too fast");
    await eventually("toast", () => id(page, "toast").textContent(), (text) => text.includes("That is too fast."));
    same("visible", await id(page, "toast").isVisible(), true);
    same("delivery", (await messages(page)).map((m) => m.delivery), ["failed"]);
    await screenshot(page, "toast-phone-light");
    await id(page, "discard").click();
    same("messages", await messages(page), []);
  });

  await check("a message lost with the connection is sent again only if the history lacks it", async () => {
    const shown = () => messages(page).then((all) => all.map((m) => [m.text, m.delivery]));
    const reached = (count) => eventually("said", () => said.length, (seen) => seen === count);
    said.length = 0;
    answer = (text) => {
      // Two connections break during the send: one after the server received the message, one before.
      if (said.length === 1) log.push(message(text));
      if (said.length <= 2) socket.close({ code: 1011, reason: "oops" });
      else accept(text);
    };
    await say(page, "It arrived");
    await reached(1);
    await page.clock.runFor(1_000);
    await sees(page, "You", "It arrived");
    await say(page, "It did not");
    await reached(2);
    for (let second = 0; second < 3; second += 1) await page.clock.runFor(1_000);
    await sees(page, "You", "It did not");
    same("said", said, ["It arrived", "It did not", "It did not"]);
    same("shown", await shown(), [["It arrived", "sent"], ["It did not", "sent"]]);
    same("where it asked to go on", asked.after, { epoch: "e", offset: 1 });
    await page.clock.runFor(6_000);
    dials = 1;
  });

  await check("what the server keeps no longer is a gap in its place", async () => {
    send({ type: "gap", topic: "chat:general", count: 3, from: log.length + 1, to: log.length + 3, cause: "retention" });
    for (let missing = 0; missing < 3; missing += 1) log.push(null);
    accept("After the gap");
    await sees(page, "You", "After the gap");
    const list = await page.locator("#messages > li:not(.day)").evaluateAll((nodes) => nodes.slice(-2).map((node) => node.textContent));
    same("the gap", [list[0], list[1].endsWith("After the gap")], ["3 messages are missing here", true]);
  });

  await check("the heartbeat notices a silent server and reconnects", async () => {
    // In steps, so that replies arrive in between.
    pings.length = 0;
    for (let second = 0; second < 15; second += 1) await page.clock.runFor(1_000);
    same("pings", pings.length >= 10, true);
    same("dials while the server answers", dials, 1);
    silent = true;
    for (let second = 0; second < 13; second += 1) await page.clock.runFor(1_000);
    await eventually("dials", () => dials, (count) => count === 2);
    silent = false;
    await state(page, "connected");
  });

  await check("close code 1008 ends it, with the reason shown; the button joins again", async () => {
    await socket.close({ code: 1008, reason: "the name is taken" });
    await state(page, "offline");
    await eventually("banner", () => id(page, "banner").textContent(), (text) => text.includes("The name is taken (code 1008)"));
    await page.clock.runFor(60_000);
    same("dials", dials, 2);
    await screenshot(page, "refused-phone-light");
    await id(page, "banner-action").click();
    await state(page, "connected");
    same("dials", dials, 3);
  });

  await check("close code 4001 ends it, close code 1011 does not", async () => {
    await socket.close({ code: 1011, reason: "oops" });
    await eventually("dials", () => page.clock.runFor(1_000).then(() => dials), (count) => count === 4);
    await state(page, "connected");
    await socket.close({ code: 4001, reason: "removed from the room" });
    await state(page, "offline");
    await eventually("banner", () => id(page, "banner").textContent(), (text) => text.includes("Removed from the room (code 4001)"));
  });
  await page.context().close();
}

await run(test);
