// The page of the chat example: the TypeScript client, and no framework.
//
//   Room        one visit to one room: people, messages, the outbox, commands
//   below       the join screen, the address bar and the wiring of the page
//
// The client connects, connects again and asks for signs of life; the page knows where it is in the messages of the room.
// Whatever comes from other people is put on the page as text nodes, and as links to http and https.
//
// The types are those of the server, which writes `api.ts`. `tsc -p examples` checks the page against them, and
// `cargo xtask test --only schema` runs it; the browser sees comments, and the names in `realtime.js`.

import { PRESENCE, api, connect, describeCause, endpoint } from "./realtime.js";

/** @import { Event, Join, Person, Position, Posted, Presence, Say } from "./api.ts" */
/** @import { Cause, Client, PresenceNotice, RealtimeError, State, TopicGap } from "realtime-client" */

/** @typedef {Client<Join, Say, Event>} Connection */

// Relative to the page: a proxy may serve it under any path.
const ENDPOINT = "__realtime/chat";
/** The time that the server may take for an answer, or for the echo of a message. */
const ANSWER_WITHIN = 10_000;

const MAX_TEXT = 2000;
const COUNT_FROM = 1800;
const MAX_WAITING = 50;
const MAX_SHOWN = 500;
const GROUP_WITHIN = 5 * 60_000;
const TYPING_REPEAT = 3_000;
const TYPING_IDLE = 4_000;
const TYPING_EXPIRES = 8_000;

/** Any element, with what its kind has.
 * @type {(id: string) => any} */
const $ = (id) => document.getElementById(id);

/**
 * Makes an element; strings become text nodes, never markup.
 *
 * @returns {any}
 */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** What looks like a link in a text, without the marks that end a sentence. */
const LINK = /\bhttps?:\/\/[^\s<>"“”]*[^\s<>"“”.,;:!?'’)\]}]/gi;

/**
 * Returns a text as nodes, its links among them.
 *
 * @returns {(string | HTMLAnchorElement)[]}
 */
function linked(text) {
  const nodes = [];
  let end = 0;
  for (const { 0: link, index } of text.matchAll(LINK)) {
    nodes.push(text.slice(end, index), make("a", { href: link, target: "_blank", rel: "noopener noreferrer nofollow" }, link));
    end = index + link.length;
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== "");
}

/**
 * Storage that is allowed to be missing (private windows, blocked cookies).
 *
 * @typedef {"localStorage" | "sessionStorage"} Area
 */
const store = {
  /** @param {Area} area */
  read(area, key) {
    try {
      return JSON.parse(window[area].getItem(`chat.${key}`) ?? "null");
    } catch {
      return null;
    }
  },
  /** @param {Area} area */
  write(area, key, value) {
    try {
      if (value === null) window[area].removeItem(`chat.${key}`);
      else window[area].setItem(`chat.${key}`, JSON.stringify(value));
    } catch {
      // The page works without it.
    }
  },
};

// ---- Connection ---------------------------------------------------------------

/**
 * What the page shows of the connection.
 *
 * @typedef {{ name: "connecting" | "connected" | "reconnecting" | "offline", retryAt?: number, refusal?: string }} Shown
 */

/** The browser says there is no network (which says nothing about a server on this machine). */
const isOffline = () =>
  !navigator.onLine && !/^(localhost|127\.|\[::1\])/.test(location.hostname);

/**
 * Nothing may wait in the client: the page itself keeps messages until the server has echoed them, and knows from the history
 * which of them have arrived.
 *
 * @param {() => Join} input
 * @returns {Connection}
 */
const dial = (input) => connect(endpoint, { url: ENDPOINT, input, offlineQueue: { whenFull: "off" } });

/**
 * Why the client does not come back.
 *
 * @param {Cause} cause
 * @param {string} lastError
 */
function refusalOf(cause, lastError) {
  if (cause.type !== "closed") return sentence(describeCause(cause));
  return `${sentence(cause.reason || lastError || "no reason given")} (code ${cause.code})`;
}

// ---- Small parts of the page --------------------------------------------------

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long" });
const longAgo = new Intl.DateTimeFormat([], { day: "numeric", month: "long", year: "numeric" });
const moment = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });

function dayName(at) {
  const day = new Date(at).toDateString();
  const date = new Date();
  if (day === date.toDateString()) return "Today";
  date.setDate(date.getDate() - 1);
  if (day === date.toDateString()) return "Yesterday";
  return (Date.now() - at < 180 * 24 * 3_600_000 ? calendar : longAgo).format(at);
}

/** A stable colour for a name. */
function hue(name) {
  let hash = 2166136261;
  for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0), 16777619);
  // Steps of the golden angle keep similar names apart.
  return Math.round(((hash >>> 8) * 137.508) % 360);
}

function avatar(name) {
  const [initial = "?"] = name.trim();
  const element = make("span", { class: "avatar", "aria-hidden": "true" }, initial.toUpperCase());
  element.style.setProperty("--hue", hue(name));
  return element;
}

/** "Ann is typing…", "Ann and Bob are typing…" */
function typingSentence(names) {
  if (names.length === 0) return "";
  if (names.length === 1) return `${names[0]} is typing…`;
  if (names.length > 3) return "Several people are typing…";
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)} are typing…`;
}

/** "the name is taken" as the start of a sentence. */
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Characters as people count them in a limit: code points, not UTF-16 units. */
const lengthOf = (text) => [...text].length;

const sameText = (a, b) => a.replaceAll("\r\n", "\n").trim() === b.replaceAll("\r\n", "\n").trim();

const toast = {
  timer: 0,
  show(text) {
    $("toast-text").textContent = text;
    $("toast").hidden = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.hide(), 7_000);
  },
  hide() {
    clearTimeout(this.timer);
    $("toast").hidden = true;
  },
};

function announce(text) {
  $("announcer").textContent = text;
}

// ---- Commands -----------------------------------------------------------------

/**
 * What may follow a slash: `run` calls a procedure, and gives what is to be said about it, if anything.
 *
 * @type {Record<string, { about: string, usage?: string, run: (connection: Connection, text: string) => Promise<string> }>}
 */
const COMMANDS = {
  who: {
    about: "who is here",
    async run(connection) {
      const people = await connection.call(api.members, undefined, LIMIT);
      return `Here: ${people.map(({ name }) => name).join(", ")}`;
    },
  },
  nick: {
    about: "take another name",
    usage: "name",
    run: (connection, text) => connection.call(api.rename, text, LIMIT).then(() => ""),
  },
  topic: {
    about: "say what the room is about",
    usage: "text",
    run: (connection, text) => connection.call(api.set_topic, text, LIMIT).then(() => ""),
  },
  roll: {
    about: "throw a die",
    usage: "sides",
    async run(connection, text) {
      const sides = text === "" ? 6 : Number(text);
      if (!Number.isInteger(sides) || sides < 0) throw new Error(`“${text}” is no number of sides`);
      await connection.call(api.roll, sides, LIMIT);
      return "";
    },
  },
};

const LIMIT = { timeoutMs: ANSWER_WITHIN };

/** Two slashes are for a message that begins with one. */
const isCommand = (text) => text.startsWith("/") && !text.startsWith("//");

// ---- Room ---------------------------------------------------------------------

/** One visit to one room, over as many connections as it takes. */
class Room {
  /** Messages and notices with the server's blessing, in order. */
  #entries = [];
  /** Own messages the server has not confirmed: waiting, sending or failed. Shown after the entries. */
  #outbox = [];
  /** @type {any} */
  #sending = null;
  /**
   * Where this page is in the messages of the room: what is behind it has not come.
   *
   * @type {Position | null}
   */
  #position = null;
  /** The offset of the newest message when the room was joined: up to there it is the history. */
  #newest = 0n;
  /** Whether the history has been shown before: what comes then is news. */
  #returning = false;
  /** @type {Map<string, Person>} */
  #people = new Map();
  #typing = new Map();
  /** @type {Person | null} */
  #you = null;
  /** The ids of this page's connections: a message by one of them is an own message. */
  #mine = new Set(store.read("sessionStorage", "connections") ?? []);
  /** The names that this page had. */
  #names = new Set(store.read("sessionStorage", "names") ?? []);
  /** @type {Connection} */
  #connection;
  /** @type {Shown} */
  #state = { name: "connecting" };
  #everTried = false;
  /** What the server has said was wrong, on this connection. */
  #lastError = "";
  #joined = false;
  #clockTimer = 0;
  #bannerTimer = 0;
  #sentTyping = 0;
  #idleTimer = 0;
  #unread = 0;
  #missed = 0;
  #stick = true;
  #events = new AbortController();
  #sizes = new ResizeObserver(() => this.#keepAtEnd());

  constructor(room, name) {
    this.room = room;
    this.name = name;
    this.#connection = this.#connect();
  }

  get unsent() {
    return this.#outbox.length;
  }

  enter() {
    $("room-title").textContent = this.room;
    $("me-name").textContent = this.name;
    $("messages").replaceChildren();
    $("empty").hidden = true;
    this.#renderTopic("");

    const options = { signal: this.#events.signal };
    $("scroller").addEventListener("scroll", () => this.#scrolled(), { ...options, passive: true });
    $("composer").addEventListener("input", () => this.#edited(), options);
    $("composer").addEventListener("keydown", (event) => this.#key(event), options);
    $("composer-form").addEventListener("submit", (event) => this.#submit(event), options);
    $("jump").addEventListener("click", () => this.#jump(), options);
    $("banner-action").addEventListener("click", () => this.#bannerAction(), options);
    document.addEventListener("visibilitychange", () => this.#seen(), options);
    this.#sizes.observe($("scroller"));

    this.#renderPeople();
    this.#renderTyping();
    this.#renderCount();
    this.#renderCommands();
    this.#complain("");
    this.#fitComposer();
    this.#open();
  }

  leave() {
    this.#connection.close(1000, "left");
    this.#events.abort();
    this.#sizes.disconnect();
    for (const timer of [this.#bannerTimer, this.#idleTimer]) clearTimeout(timer);
    clearInterval(this.#clockTimer);
    for (const { timer } of this.#typing.values()) clearTimeout(timer);
    for (const entry of this.#outbox) clearTimeout(entry.timer);
    $("jump").hidden = true;
    $("banner").hidden = true;
    document.title = "Chat";
  }

  // -- connection --

  #connect() {
    const connection = dial(() => ({ room: this.room, name: this.name, after: this.#position }));
    connection.onMessage((value, position) => this.#received(value, position));
    connection.onGap((gap) => this.#skipped(gap));
    connection.onError((error) => this.#failed(error));
    connection.on(PRESENCE, (notice) => this.#peopleChanged(/** @type {PresenceNotice<Presence["chat"]>} */ (notice)));
    connection.on(api.renamed, ({ person, before }) => this.#renamed(person, before));
    connection.on(api.topic_changed, ({ person, topic }) => {
      this.#renderTopic(topic);
      this.#notice(person, topic ? `set the topic: ${topic}` : "removed the topic");
    });
    connection.on(api.rolled, ({ person, result, sides }) => this.#notice(person, `rolled ${result} of ${sides}`));
    return connection;
  }

  #open() {
    const connection = this.#connection;
    connection.state.subscribe((state) => {
      if (connection === this.#connection && !this.#events.signal.aborted) this.#connectionChanged(state);
    });
  }

  /** @param {State} state */
  #connectionChanged(state) {
    // The welcome is not enough: the room counts as joined once its state has arrived.
    if (state.status === "idle" || state.status === "open") {
      this.#joined = false;
      return;
    }
    if (this.#joined || this.#sending) this.#disconnected();
    this.#show(this.#shown(state));
    if (state.status === "connecting") this.#lastError = "";
  }

  /**
   * @param {State} state
   * @returns {Shown}
   */
  #shown(state) {
    if (state.status === "closed") return { name: "offline", refusal: refusalOf(state.cause, this.#lastError) };
    if (state.status === "reconnecting") {
      return { name: isOffline() ? "offline" : "reconnecting", retryAt: performance.now() + state.afterMs };
    }
    const name = this.#everTried ? "reconnecting" : "connecting";
    this.#everTried = true;
    return { name };
  }

  #disconnected() {
    this.#joined = false;
    clearTimeout(this.#idleTimer);
    this.#sentTyping = 0;
    for (const { timer } of this.#typing.values()) clearTimeout(timer);
    this.#typing.clear();
    this.#renderTyping();
    // Only what comes after reconnecting shows whether the server received it.
    if (this.#sending) this.#setDelivery(this.#sending, "waiting");
    this.#sending = null;
  }

  #show(state) {
    const before = this.#state.name;
    this.#state = state;
    clearInterval(this.#clockTimer);
    if (state.retryAt) this.#clockTimer = setInterval(() => this.#renderState(), 250);
    this.#renderState();
    if (before !== state.name) {
      announce(
        {
          connecting: "",
          connected: before === "connecting" ? "" : "Connected again.",
          reconnecting: "Connection lost. Reconnecting.",
          offline: state.refusal ? "Disconnected." : "No network.",
        }[state.name],
      );
    }

    // A hiccup of less than a second needs no banner.
    if (state.name === "connecting" || state.name === "connected") {
      clearTimeout(this.#bannerTimer);
      this.#bannerTimer = 0;
      this.#renderBanner();
    } else if (state.refusal || !$("banner").hidden) {
      this.#renderBanner();
    } else {
      this.#bannerTimer ||= setTimeout(() => this.#renderBanner(), 900);
    }
  }

  #renderState() {
    const { name, retryAt } = this.#state;
    const seconds = retryAt ? Math.ceil((retryAt - performance.now()) / 1000) : 0;
    const text = {
      connecting: "Connecting…",
      connected: "Connected",
      reconnecting: seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting…",
      offline: "Offline",
    }[name];
    $("state").dataset.state = name;
    if ($("state-text").textContent !== text) $("state-text").textContent = text;
    $("chat").toggleAttribute("data-away", name === "reconnecting" || name === "offline");
  }

  #renderBanner() {
    const { name, refusal } = this.#state;
    const visible = name === "reconnecting" || name === "offline";
    $("banner").hidden = !visible;
    if (!visible) return;
    $("banner").dataset.tone = refusal ? "bad" : "wait";
    $("banner-title").textContent = refusal
      ? "Disconnected by the server"
      : name === "offline"
        ? "No network"
        : "Connection lost";
    $("banner-text").textContent = refusal
      ? refusal
      : "What you write now is sent as soon as the room is reached again.";
    $("banner-action").textContent = refusal ? "Join again" : "Try now";
  }

  #bannerAction() {
    if (this.#state.refusal) {
      this.#connection = this.#connect();
      this.#open();
    } else {
      this.#connection.open();
    }
    $("composer").focus();
  }

  // -- messages from the server --

  /**
   * @param {Event} value
   * @param {Position | undefined} position
   */
  #received(value, position) {
    switch (value.type) {
      case "present":
        this.#follow(value.after, value.newest);
        this.#present(value.you, value.topic);
        break;
      case "said":
        this.#said(value.message, position);
        break;
      case "typing":
        if (value.active) this.#startedTyping(value.person);
        else this.#stoppedTyping(value.person.id);
        break;
    }
  }

  /**
   * Applies what has changed among the people in the room, on whatever node. Who comes back by another connection is no news: the
   * one before may be known for some seconds after its node is gone.
   *
   * @param {PresenceNotice<Presence["chat"]>} notice
   */
  #peopleChanged({ here, joined = [], changed = [], left = [] }) {
    if (here) this.#people.clear();
    for (const { connection: id, data: name } of [...(here ?? []), ...changed]) this.#people.set(id, { id, name });
    for (const { connection: id, data: name } of joined) {
      if (!this.#isHere(name)) this.#notice({ name }, "joined");
      this.#people.set(id, { id, name });
    }
    for (const id of left) {
      const person = this.#people.get(id);
      this.#people.delete(id);
      this.#stoppedTyping(id);
      if (person && !this.#isHere(person.name)) this.#notice(person, "left");
    }
    this.#renderPeople();
  }

  /** @param {string} name */
  #isHere(name) {
    return name === this.#you?.name || [...this.#people.values()].some((person) => person.name === name);
  }

  /**
   * @param {Person} person
   * @param {string} before
   */
  #renamed(person, before) {
    this.#people.set(person.id, person);
    this.#renderPeople();
    if (this.#typing.has(person.id)) this.#startedTyping(person);
    this.#notice({ name: before }, `is now ${person.name}`);
    if (person.id !== this.#you?.id) return;
    this.#remember(person);
    this.name = person.name;
    store.write("localStorage", "name", person.name);
    store.write("sessionStorage", "visit", { room: this.room, name: person.name });
  }

  /**
   * Who this page is now; what was said under its ids and names is its own.
   *
   * @param {Person} you
   */
  #remember(you) {
    this.#you = you;
    this.#mine.add(you.id);
    this.#names.add(you.name);
    store.write("sessionStorage", "connections", [...this.#mine].slice(-20));
    store.write("sessionStorage", "names", [...this.#names].slice(-20));
    $("me-name").textContent = you.name;
  }

  #renderTopic(topic) {
    $("topic").textContent = topic;
    $("topic").title = topic;
    $("topic").hidden = !topic;
  }

  /**
   * @param {Person} you
   * @param {string} topic
   */
  #present(you, topic) {
    this.#remember(you);
    this.#renderTopic(topic);
    // The list of all follows.
    this.#people = new Map([[you.id, you]]);
    this.#joined = true;
    this.#renderPeople();
    this.#show({ name: "connected" });
    this.#sendNext();
  }

  /**
   * The messages behind `after` follow, those up to `newest` at once.
   *
   * @param {Position} after
   * @param {Position} newest
   */
  #follow(after, newest) {
    this.#returning = this.#position !== null;
    if (this.#position && this.#position.epoch !== after.epoch) {
      this.#remark("Messages may be missing here: the server was restarted");
    }
    this.#position = after;
    this.#newest = BigInt(newest.offset);
    if (this.#returning) return;
    // Older messages are not news: a screen reader would read all of them.
    $("scroller").setAttribute("aria-live", "off");
    setTimeout(() => $("scroller").setAttribute("aria-live", "polite"), 500);
    $("empty").hidden = !this.#hasHistory() || this.#entries.length + this.#outbox.length > 0;
  }

  /** Whether all has come that was there when the room was joined. */
  #hasHistory() {
    return this.#position !== null && BigInt(this.#position.offset) >= this.#newest;
  }

  /** @param {TopicGap} gap */
  #skipped({ count, to }) {
    const missing = count === 0 ? "Messages may be missing here" : `${count} ${count === 1 ? "message is" : "messages are"} missing here`;
    this.#remark(missing);
    if (this.#position && to !== undefined) this.#position = { epoch: this.#position.epoch, offset: to };
    this.#sendNext();
  }

  /**
   * @param {Posted} message
   * @param {Position | undefined} position
   */
  #said(message, position) {
    const isNews = this.#returning || this.#hasHistory();
    this.#position = position ?? this.#position;
    this.#stoppedTyping(message.person.id);
    const entry = this.#add(message);
    if (isNews && !entry.own) this.#arrived();
    this.#layout(isNews ? entry : null);
    this.#sendNext();
  }

  /** @param {RealtimeError} error */
  #failed(error) {
    this.#lastError = error.message || error.code;
    toast.show(this.#lastError);
    if (this.#sending) {
      this.#setDelivery(this.#sending, "failed");
      this.#sending = null;
      this.#layout();
      this.#sendNext();
    }
  }

  // -- people --

  #renderPeople() {
    const people = [...this.#people.values()].sort(
      (a, b) => Number(b.id === this.#you?.id) - Number(a.id === this.#you?.id) || a.name.localeCompare(b.name),
    );
    $("people").replaceChildren(
      ...people.map((person) => {
        const who = make("span", { class: "who" }, make("bdi", { class: "name" }, person.name));
        if (person.id === this.#you?.id) who.append(make("span", { class: "you" }, "you"));
        return make("li", { data: { testid: "person", id: person.id } }, avatar(person.name), who);
      }),
    );
    $("people-count").textContent = people.length || "";
  }

  /** @param {Person} person */
  #startedTyping(person) {
    clearTimeout(this.#typing.get(person.id)?.timer);
    const timer = setTimeout(() => this.#stoppedTyping(person.id), TYPING_EXPIRES);
    this.#typing.set(person.id, { person, timer });
    this.#renderTyping();
  }

  #stoppedTyping(id) {
    if (!this.#typing.has(id)) return;
    clearTimeout(this.#typing.get(id).timer);
    this.#typing.delete(id);
    this.#renderTyping();
  }

  #renderTyping() {
    $("typing-text").textContent = typingSentence(
      [...this.#typing.values()].map(({ person }) => person.name),
    );
    $("typing").toggleAttribute("data-idle", this.#typing.size === 0);
  }

  // -- messages --

  /** @param {Person} person */
  #isMine(person) {
    // Compares the name too: a restarted server may give the same ids to other people.
    return (
      person.id === this.#you?.id ||
      (this.#mine.has(person.id) && this.#names.has(person.name))
    );
  }

  /**
   * Adds a message of the server. Does not lay out.
   *
   * @param {Posted} message
   */
  #add(message) {
    const own = this.#isMine(message.person);
    let entry = own ? this.#confirm(message.text) : null;
    const wasShown = entry !== null;
    entry ??= { kind: "message" };
    Object.assign(entry, { own, name: message.person.name, person: message.person.id });
    Object.assign(entry, { text: message.text, at: message.at });
    if (wasShown) {
      this.#setDelivery(entry, "sent");
      entry.node.querySelector(".text").replaceChildren(...linked(message.text));
      this.#stamp(entry);
    } else {
      this.#build(entry);
    }
    this.#entries.push(entry);
    $("empty").hidden = true;
    return entry;
  }

  /** Takes the message with this text out of the outbox, if it is one that was sent from here. */
  #confirm(text) {
    const matches = (entry) => entry?.attempted && sameText(entry.text, text);
    const entry = matches(this.#sending)
      ? this.#sending
      : (this.#outbox.find(matches) ?? (this.#joined ? this.#sending : null));
    if (!entry) return null;
    this.#outbox.splice(this.#outbox.indexOf(entry), 1);
    if (entry === this.#sending) this.#sending = null;
    return entry;
  }

  #build(entry) {
    entry.time = make("time");
    entry.node = make(
      "li",
      { class: entry.own ? "message own" : "message", data: { testid: "message", delivery: "sent" } },
      avatar(entry.name),
      make(
        "div",
        { class: "body" },
        make(
          "p",
          { class: "meta" },
          make("bdi", { class: "author" }, entry.own ? "You" : entry.name),
          entry.time,
        ),
        make("p", { class: "text", dir: "auto" }, ...linked(entry.text)),
      ),
    );
    entry.node.style.setProperty("--hue", hue(entry.name));
    if (entry.own) entry.node.dataset.own = "";
    this.#stamp(entry);
  }

  #stamp(entry) {
    entry.time.textContent = clock.format(entry.at);
    entry.time.dateTime = new Date(entry.at).toISOString();
    entry.node.querySelector(".text").title = moment.format(entry.at);
  }

  /** @param {Pick<Person, "name">} person */
  #notice(person, what) {
    this.#remark(make("bdi", {}, person.name), ` ${what}`);
  }

  #remark(...words) {
    const node = make("li", { class: "notice", data: { testid: "notice" }, title: moment.format(Date.now()) }, ...words);
    const entry = { kind: "notice", node };
    this.#entries.push(entry);
    $("empty").hidden = true;
    this.#layout(entry);
  }

  /** Puts the nodes into the list in order and marks groups and days. */
  #layout(/** @type {any} */ fresh = null) {
    while (this.#entries.length > MAX_SHOWN) {
      const old = this.#entries.shift();
      old.node.remove();
      old.divider?.remove();
    }

    const list = $("messages");
    const all = [...this.#entries, ...this.#outbox];
    let next = list.firstChild;
    const place = (node) => {
      if (node === next) next = node.nextSibling;
      else list.insertBefore(node, next);
    };
    let lastDay = new Date().toDateString();
    all.forEach((entry, index) => {
      if (entry.kind === "message") {
        const day = new Date(entry.at).toDateString();
        if (day !== lastDay) {
          entry.divider ??= make("li", { class: "day" });
          entry.divider.textContent = dayName(entry.at);
          place(entry.divider);
        } else {
          if (entry.divider && entry.divider === next) next = next.nextSibling;
          entry.divider?.remove();
          entry.divider = null;
        }
        lastDay = day;
        const first = entry.divider || !this.#sameGroup(all[index - 1], entry);
        entry.node.classList.toggle("first", Boolean(first));
        entry.node.classList.toggle("last", !this.#sameGroup(entry, all[index + 1]));
      }
      place(entry.node);
    });
    while (next) {
      const extra = next;
      next = next.nextSibling;
      extra.remove();
    }

    if (fresh) {
      fresh.node.classList.add("fresh");
      if (fresh.own) this.#stick = true;
    }
    this.#keepAtEnd();
  }

  #sameGroup(a, b) {
    return (
      a?.kind === "message" &&
      b?.kind === "message" &&
      a.own === b.own &&
      (a.own || a.person === b.person) &&
      b.at - a.at < GROUP_WITHIN &&
      new Date(a.at).toDateString() === new Date(b.at).toDateString()
    );
  }

  // -- reading --

  #keepAtEnd() {
    const scroller = $("scroller");
    if (this.#stick) scroller.scrollTop = scroller.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = $("scroller");
    this.#stick = scrollHeight - scrollTop - clientHeight < 60;
    if (this.#stick) {
      this.#missed = 0;
      $("jump").hidden = true;
    }
  }

  #arrived() {
    if (!this.#stick) {
      this.#missed += 1;
      $("jump-text").textContent = this.#missed === 1 ? "1 new message" : `${this.#missed} new messages`;
      $("jump").hidden = false;
    }
    if (document.hidden) this.#unread += 1;
    this.#renderTitle();
  }

  #jump() {
    this.#stick = true;
    this.#keepAtEnd();
    $("composer").focus();
  }

  #seen() {
    if (document.hidden) return;
    this.#unread = 0;
    this.#renderTitle();
  }

  #renderTitle() {
    document.title = `${this.#unread ? `(${this.#unread}) ` : ""}#${this.room}`;
  }

  // -- writing --

  #key(event) {
    if (event.key === "Tab" && !event.shiftKey && this.#completeCommand()) event.preventDefault();
    // 229: Safari ends its input methods with such an Enter.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    $("composer-form").requestSubmit();
  }

  #submit(event) {
    event.preventDefault();
    const composer = $("composer");
    let text = composer.value.replaceAll("\r\n", "\n").trim();
    if (!text || lengthOf(text) > MAX_TEXT) return;
    if (isCommand(text)) {
      this.#command(text);
      return;
    }
    if (text.startsWith("//")) text = text.slice(1);
    if (this.#outbox.length >= MAX_WAITING) {
      toast.show(`${MAX_WAITING} messages are waiting already. Your text stays in the box.`);
      return;
    }
    composer.value = "";
    this.#edited();
    composer.focus();

    const name = this.#you?.name ?? this.name;
    const entry = { kind: "message", own: true, name, text, at: Date.now(), attempted: false };
    this.#build(entry);
    this.#outbox.push(entry);
    this.#setDelivery(entry, "waiting");
    $("empty").hidden = true;
    this.#sendNext();
    this.#layout(entry);
  }

  async #command(text) {
    const [, name = "", rest = ""] = /^\/(\S*)\s*(.*)$/s.exec(text) ?? [];
    try {
      if (!Object.hasOwn(COMMANDS, name)) throw new Error(`there is no command /${name}`);
      if (!this.#joined) throw new Error("there is no connection now");
      const said = await COMMANDS[name].run(this.#connection, rest);
      if (said) this.#remark(said);
      // The text may have changed meanwhile.
      if ($("composer").value.trim() === text) $("composer").value = "";
      this.#edited();
    } catch (/** @type {any} */ error) {
      this.#complain(sentence(error.message || "the server reported an error"));
    }
    $("composer").focus();
  }

  /** Says what is wrong with what stands in the composer. */
  #complain(problem) {
    $("problem").textContent = problem;
    $("problem").hidden = !problem;
    $("composer").setAttribute("aria-invalid", String(Boolean(problem)));
  }

  /** Shows the commands that begin with what is written. */
  #renderCommands() {
    const text = $("composer").value;
    const names = /^\/\S*$/.test(text) ? Object.keys(COMMANDS).filter((name) => `/${name}`.startsWith(text)) : [];
    $("commands").replaceChildren(
      ...names.map((name) => {
        const { usage, about } = COMMANDS[name];
        const words = usage ? [`/${name} `, make("i", {}, usage)] : [`/${name}`];
        const button = make("button", { type: "button", data: { name } }, make("b", {}, ...words), make("span", {}, about));
        button.addEventListener("click", () => this.#completeCommand(name));
        return make("li", {}, button);
      }),
    );
    $("commands").hidden = names.length === 0;
  }

  /** Writes out a command, or the first of those that are shown. */
  #completeCommand(name = $("commands").querySelector("button")?.dataset.name) {
    if (name === undefined) return false;
    $("composer").value = COMMANDS[name].usage ? `/${name} ` : `/${name}`;
    this.#edited();
    $("composer").focus();
    return true;
  }

  /**
   * One at a time, in order: the next one goes out when the server has echoed the one before. After joining, the history
   * shows which of those that were not confirmed did arrive.
   */
  #sendNext() {
    if (this.#sending || !this.#joined || !this.#hasHistory()) return;
    const entry = this.#outbox.find(({ delivery }) => delivery === "waiting");
    if (!entry || !this.#send({ type: "say", text: entry.text })) return;
    this.#sending = entry;
    entry.attempted = true;
    this.#setDelivery(entry, "sending");
  }

  /**
   * Returns whether the message was handed to an open connection.
   *
   * @param {Say} say
   */
  #send(say) {
    try {
      this.#connection.send(say);
      return true;
    } catch {
      return false;
    }
  }

  #setDelivery(entry, delivery) {
    clearTimeout(entry.timer);
    entry.delivery = delivery;
    entry.node.dataset.delivery = delivery;
    delete entry.node.dataset.slow;
    entry.status?.remove();
    entry.status = null;
    if (delivery === "sent") return;

    const status = make("p", { class: "delivery" });
    if (delivery === "waiting") status.append(this.#joined ? "Waiting to be sent" : "Waiting for the connection");
    if (delivery === "sending") {
      status.append("Sending…");
      entry.timer = setTimeout(() => {
        entry.node.dataset.slow = "";
        this.#keepAtEnd();
        entry.timer = setTimeout(() => this.#unanswered(entry), ANSWER_WITHIN);
      }, 700);
    }
    if (delivery === "failed") {
      const again = make("button", { type: "button", data: { testid: "retry" } }, "Send again");
      again.addEventListener("click", () => this.#retry(entry));
      const discard = make("button", { type: "button", data: { testid: "discard" } }, "Discard");
      discard.addEventListener("click", () => this.#discard(entry));
      status.append("Not sent", again, discard);
    }
    entry.status = status;
    entry.node.querySelector(".body").append(status);
  }

  #unanswered(entry) {
    this.#setDelivery(entry, "failed");
    if (this.#sending === entry) this.#sending = null;
    this.#layout();
    this.#sendNext();
  }

  #retry(entry) {
    // At the end: later messages may have been sent meanwhile.
    this.#outbox.splice(this.#outbox.indexOf(entry), 1);
    this.#outbox.push(entry);
    this.#setDelivery(entry, "waiting");
    this.#sendNext();
    this.#layout();
    $("composer").focus();
  }

  #discard(entry) {
    this.#outbox.splice(this.#outbox.indexOf(entry), 1);
    this.#layout();
    $("composer").focus();
  }

  #edited() {
    this.#fitComposer();
    this.#renderCount();
    this.#renderCommands();
    this.#complain("");
    const text = $("composer").value.trim();
    if (!text || isCommand(text)) return this.#stopTyping();
    const now = performance.now();
    if (this.#joined && (!this.#sentTyping || now - this.#sentTyping > TYPING_REPEAT)) {
      this.#sentTyping = now;
      this.#send({ type: "typing", active: true });
    }
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.#stopTyping(), TYPING_IDLE);
  }

  #stopTyping() {
    clearTimeout(this.#idleTimer);
    if (this.#sentTyping && this.#joined) this.#send({ type: "typing", active: false });
    this.#sentTyping = 0;
  }

  #fitComposer() {
    const composer = $("composer");
    composer.style.height = "auto";
    composer.style.height = `${composer.scrollHeight}px`;
  }

  #renderCount() {
    const text = $("composer").value.trim();
    const length = lengthOf(text);
    $("counter").hidden = length < COUNT_FROM;
    $("counter").textContent = `${length} of ${MAX_TEXT}`;
    $("counter").toggleAttribute("data-over", length > MAX_TEXT);
    $("send").disabled = length === 0 || length > MAX_TEXT;
  }
}

// ---- Join screen and address bar ----------------------------------------------

/** @type {Room | null} */
let current = null;

/** On a touch screen, focusing a field opens a keyboard that covers what there is to read. */
const hasKeyboard = matchMedia("(hover: hover)");

const cleanName = (name) => (name ?? "").trim().replace(/\s+/g, " ");
const cleanRoom = (room) => (room ?? "").trim().replace(/^#+\s*/, "");

function showJoin({ room = "" } = {}) {
  $("chat").hidden = true;
  $("join").hidden = false;
  if (!$("name").value) $("name").value = store.read("localStorage", "name") ?? "";
  if (room) $("room").value = room;
  markSuggestion();
  if (hasKeyboard.matches) ($("name").value ? $("join-form").querySelector(".primary") : $("name")).focus();
}

function enter(room, name) {
  current?.leave();
  store.write("localStorage", "name", name);
  store.write("sessionStorage", "visit", { room, name });
  $("name").value = name;
  $("room").value = room;
  $("join").hidden = true;
  $("chat").hidden = false;
  document.title = `#${room}`;
  current = new Room(room, name);
  current.enter();
  $(hasKeyboard.matches ? "composer" : "heading").focus();
}

/** Returns false if the person wants to stay because of messages that are not sent. */
function leave() {
  if (current?.unsent && !confirm("Some messages are not sent yet. Leave the room without them?")) return false;
  current?.leave();
  current = null;
  store.write("sessionStorage", "visit", null);
  return true;
}

function markSuggestion() {
  const room = cleanRoom($("room").value);
  for (const button of $("suggestions").children) {
    button.setAttribute("aria-pressed", String(button.dataset.room === room));
  }
}

/** Shows what the address asks for: `?room=…&name=…` joins, `?room=…` offers the room. */
function route() {
  const query = new URLSearchParams(location.search);
  const room = cleanRoom(query.get("room"));
  const name = cleanName(query.get("name"));
  const visit = store.read("sessionStorage", "visit");
  if (room && name) enter(room, name);
  else if (room && visit?.room === room) enter(room, visit.name); // The page was reloaded.
  else showJoin({ room });
}

$("join-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = cleanName($("name").value);
  const room = cleanRoom($("room").value);
  for (const [id, value] of [
    ["name", name],
    ["room", room],
  ]) {
    if (value) continue;
    $(id).setCustomValidity("Please fill this in.");
    $(id).reportValidity();
    return;
  }
  // Leaves out the name: the address is an invitation to the room.
  history.pushState(null, "", `?${new URLSearchParams({ room })}`);
  enter(room, name);
});

for (const id of ["name", "room"]) {
  $(id).addEventListener("input", () => {
    $(id).setCustomValidity("");
    markSuggestion();
  });
}

for (const button of $("suggestions").children) {
  button.addEventListener("click", () => {
    $("room").value = button.dataset.room;
    $("room").setCustomValidity("");
    markSuggestion();
  });
}

$("leave").addEventListener("click", () => {
  if (!leave()) return;
  history.pushState(null, "", location.pathname);
  showJoin();
});

$("toast-close").addEventListener("click", () => toast.hide());

window.addEventListener("popstate", () => {
  if (current && !leave()) {
    history.pushState(null, "", `?${new URLSearchParams({ room: current.room })}`);
    return;
  }
  route();
});

window.addEventListener("beforeunload", (event) => {
  if (current?.unsent) event.preventDefault();
});

route();
