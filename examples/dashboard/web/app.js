// The page of the dashboard example: one query, one stream of server-sent events, one mutation; no framework.
//
//   Feed    the current state, then live updates from there on; reconnecting
//   Chart   one figure over two minutes
//   below   figures, alerts and the wiring of the page
//
// The types are those of the server, which writes `api.ts`. `tsc -p examples` checks the page against them, and
// `cargo xtask test --only schema` runs it; the browser sees comments.

/** @import { api, Alert, Current, Level, Sample } from "./api.ts" */
/** @import { Gap, Procedure, Subscription } from "realtime-client" */

/**
 * What can be called, by name, with the types of its input and output.
 *
 * @typedef {{
 *   "stats.current": Sides<typeof api.stats.current>,
 *   "alerts.raise": Sides<typeof api.alerts.raise>,
 * }} Procedures
 */

/**
 * @template P
 * @typedef {P extends Procedure<infer I, infer O> ? { input: I, output: O }
 *   : P extends Subscription<infer I, infer T> ? { input: I, item: T } : never} Sides
 */

/** @typedef {Sides<typeof api.stats.live>} Live */

/** @typedef {Partial<Error> & { code?: string, details?: any, retryAfterMs?: number }} Failure */

/** @typedef {Sample & { isFirst?: boolean }} Shown */

// Relative to the page: a proxy may serve it under any path.
const ENDPOINT = "__realtime/dashboard";

/** Who asks: idempotency keys belong to it. */
const PAGE = crypto.randomUUID();

const WINDOW = 120_000;
/** Samples come each second: where the next is later than this, the line is interrupted. */
const INTERRUPTED = 2_600;
const MAX_ALERTS = 20;
const MAX_TEXT = 200;
/** Something comes each second; a connection that is silent for so long is dead. */
const SILENT = 10_000;
const BACKOFF_BASE = 500;
const BACKOFF_CAP = 10_000;

/**
 * Any element, with what its kind has.
 *
 * @type {(id: string) => any}
 */
const $ = (id) => document.getElementById(id);

/**
 * Makes an element; strings become text nodes, never markup.
 *
 * @returns {any}
 */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * A call by HTTP: its data, or an Error with the server's `code` and `details`.
 *
 * @template {keyof Procedures} N
 * @param {N} path
 * @returns {Promise<Procedures[N]["output"]>}
 */
async function call(path) {
  const query = new URLSearchParams({ path });
  return answer(await fetch(`${ENDPOINT}?${query}`, { signal: AbortSignal.timeout(10_000) }));
}

/**
 * @template {keyof Procedures} N
 * @param {N} path
 * @param {Procedures[N]["input"]} input
 * @param {string} idempotencyKey
 * @returns {Promise<Procedures[N]["output"]>}
 */
async function mutate(path, input, idempotencyKey) {
  return answer(
    await fetch(ENDPOINT, {
      method: "POST",
      headers: { "content-type": "application/json", "x-page": PAGE },
      body: JSON.stringify({ path, type: "mutation", input, idempotencyKey }),
      signal: AbortSignal.timeout(10_000),
    }),
  );
}

async function answer(response) {
  const body = await response.json();
  if (body.ok) return body.data;
  throw Object.assign(new Error(body.error?.message ?? `status ${response.status}`), body.error);
}

// ---- Feed -------------------------------------------------------------------

/**
 * @typedef {{
 *   state: (name: "connecting" | "connected" | "reconnecting") => void, current: (current: Current, isAgain: boolean) => void,
 *   sample: (sample: Sample) => void, alert: (alert: Alert) => void,
 * }} Handlers
 */
class Feed {
  #handlers;
  /** @type {EventSource | null} */
  #source = null;
  /** @type {Live["input"]} */
  #position = null;
  #failures = 0;
  #retry = 0;
  #silence = 0;

  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  async start() {
    try {
      const current = await call("stats.current");
      this.#handlers.current(current, this.#position !== null);
      this.#position = current.position;
    } catch {
      this.#later(() => this.start());
      return;
    }
    this.#open();
  }

  #open() {
    // A source that loses its connection asks again with the last id that it saw, which goes first.
    const input = JSON.stringify(this.#position);
    const source = new EventSource(`${ENDPOINT}?${new URLSearchParams({ path: "stats.live", input })}`);
    source.addEventListener("open", () => this.#opened());
    source.addEventListener("message", (event) => this.#update(event));
    source.addEventListener("gap", (event) => this.#skipped(JSON.parse(event.data)));
    source.addEventListener("error", () => this.#lost());
    this.#source = source;
    this.#watch();
  }

  #opened() {
    this.#failures = 0;
    this.#watch();
    this.#handlers.state("connected");
  }

  #update(event) {
    this.#watch();
    // The offset stays text: a number would not hold all that there may be.
    const [, epoch, offset, proof] = /^(.+):(\d+)(?:~(.+))?$/.exec(event.lastEventId) ?? [];
    const position = { epoch, offset, proof };
    const seen = this.#position;
    if (seen && seen.epoch === position.epoch && BigInt(position.offset) <= BigInt(seen.offset)) return;
    this.#position = position;
    /** @type {Live["item"]} */
    const update = JSON.parse(event.data);
    if (update.type === "sample") this.#handlers.sample(update);
    else if (update.type === "alert") this.#handlers.alert(update);
  }

  /**
   * Where the page was away for longer than updates are kept, the line is interrupted. After a restart nothing goes on from
   * the position: the state is loaded again.
   *
   * @param {Gap} gap
   */
  #skipped({ cause }) {
    if (cause !== "diverged") return;
    this.#source?.close();
    clearTimeout(this.#silence);
    this.start();
  }

  #lost() {
    this.#handlers.state("reconnecting");
    // Otherwise it tries again by itself. A proxy before a server that restarts says 502, which is final to it.
    if (this.#source?.readyState === EventSource.CLOSED) this.#reopen();
  }

  #watch() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.#handlers.state("reconnecting");
      this.#reopen();
    }, SILENT);
  }

  #reopen() {
    this.#source?.close();
    clearTimeout(this.#silence);
    this.#later(() => this.#open());
  }

  /** Anywhere between now and the ceiling, so that many pages do not come back at once. */
  #later(what) {
    const ceiling = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** this.#failures);
    this.#failures += 1;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(what, Math.random() * ceiling);
  }
}

// ---- Chart ------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/**
 * The smallest of 1, 2 and 5 times a power of ten by which four steps reach the value.
 *
 * @param {number} max
 */
function step(max) {
  const least = Math.max(max, 4) / 4;
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5].map((factor) => factor * power).find((candidate) => candidate >= least) ?? 10 * power;
}

/** Above the lines: a row for words, and one for flags. */
const TOP = 32;
const BOTTOM = 24;

class Chart {
  /** @type {Shown[]} */
  #samples = [];
  /** @type {{ at: number, level: Level | "restart" }[]} */
  #marks = [];
  #figure = FIGURES[0];
  #cursor = null;
  /**
   * Where a time is, as last drawn.
   *
   * @type {((at: number) => number) | null}
   */
  #x = null;

  constructor() {
    new ResizeObserver(() => this.#draw()).observe($("plot"));
    const chart = $("chart");
    chart.addEventListener("pointermove", (event) => this.#point(event));
    chart.addEventListener("pointerdown", (event) => this.#point(event));
    chart.addEventListener("pointerleave", () => this.#aim(null));
    chart.addEventListener("blur", () => this.#aim(null));
    chart.addEventListener("keydown", (event) => this.#key(event));
  }

  show(figure) {
    this.#figure = figure;
    $("chart-title").textContent = figure.label;
    this.#draw();
  }

  /** @param {Sample[]} samples */
  reset(samples) {
    this.#samples = samples;
    this.#draw();
  }

  /** @param {Shown} sample */
  add(sample) {
    this.#samples.push(sample);
    this.#draw();
  }

  /**
   * @param {number} at
   * @param {Level | "restart"} level
   */
  mark(at, level) {
    this.#marks.push({ at, level });
    this.#draw();
  }

  #draw() {
    const samples = this.#samples;
    const last = samples.at(-1);
    $("waiting").hidden = Boolean(last);
    const { width, height } = $("plot").getBoundingClientRect();
    if (!last || !width) return;
    while (samples[0].at < last.at - WINDOW) samples.shift();
    // Soon after its start a server would have nearly nothing to show in the whole of it.
    const span = Math.min(WINDOW, Math.max(30_000, Math.ceil((last.at - samples[0].at) / 10_000) * 10_000));
    const begin = last.at - span;
    $("span").textContent = `Last ${span === WINDOW ? "two minutes" : `${span / 1000} seconds`}`;
    this.#marks = this.#marks.filter(({ at }) => at >= begin);

    const of = this.#figure.of;
    const values = samples.map(of);
    const by = step(Math.max(...values));
    const steps = Math.max(1, Math.ceil(Math.max(...values) / by));
    const left = 12 + 7 * format(by * steps).length;
    const x = (at) => left + ((Math.min(at, last.at) - begin) / span) * (width - left - 6);
    const y = (value) => height - BOTTOM - (value / (by * steps)) * (height - TOP - BOTTOM);
    const nodes = [];

    for (let i = 0; i <= steps; i += 1) {
      const at = y(i * by);
      nodes.push(draw("line", { class: "rule", x1: left, x2: width, y1: at, y2: at }));
      nodes.push(draw("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, format(i * by)));
    }
    for (const { ago, anchor } of [{ ago: span, anchor: "start" }, { ago: span / 2, anchor: "middle" }, { ago: 0, anchor: "end" }]) {
      nodes.push(draw("text", { x: x(last.at - ago), y: height - 4, "text-anchor": anchor }, agoText(ago)));
    }
    for (const { at, level } of this.#marks) {
      const mark = draw("g", { "data-testid": "mark", "data-level": level });
      const words = level === "restart";
      mark.append(draw("line", { class: "mark", x1: x(at), x2: x(at), y1: words ? 14 : TOP - 6, y2: y(0) }));
      if (words) mark.append(draw("text", { x: x(at), y: 10, "text-anchor": "middle" }, "restart"));
      else mark.append(draw("circle", { class: "flag", cx: x(at), cy: TOP - 8, r: 4.5 }));
      nodes.push(mark);
    }
    for (const run of runs(samples)) {
      const line = run.map((sample) => `${x(sample.at).toFixed(1)},${y(of(sample)).toFixed(1)}`);
      const [from, to] = [x(run[0].at), x(run.at(-1).at)].map((at) => at.toFixed(1));
      nodes.push(draw("path", { class: "area", d: `M${from},${y(0)}L${line.join("L")}L${to},${y(0)}Z` }));
      nodes.push(draw("path", { class: "series", "data-testid": "series", d: `M${line.join("L")}` }));
    }

    const aimed = samples.find(({ at }) => at === this.#cursor);
    if (aimed) nodes.push(draw("line", { class: "cursor", x1: x(aimed.at), x2: x(aimed.at), y1: TOP, y2: y(0) }));
    const dotted = aimed ?? last;
    nodes.push(draw("circle", { class: "dot", cx: x(dotted.at), cy: y(of(dotted)), r: 5 }));
    this.#tip(aimed, x, width);

    const chart = $("chart");
    chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    chart.replaceChildren(...nodes);
    const [least, most] = [Math.min(...values), Math.max(...values)].map(format);
    $("chart-summary").textContent = `Now ${format(of(last))}; between ${least} and ${most} in this time.`;
    this.#x = x;
  }

  #tip(sample, x, width) {
    const tip = $("tip");
    tip.hidden = !sample;
    if (!sample) return;
    tip.replaceChildren(make("b", {}, format(this.#figure.of(sample))), ` at ${clock.format(sample.at)}`);
    const place = Math.min(Math.max(0, x(sample.at) - tip.offsetWidth / 2), width - tip.offsetWidth);
    tip.style.translate = `${place}px 0`;
  }

  #point(event) {
    const x = this.#x;
    if (!x) return;
    const at = event.clientX - $("chart").getBoundingClientRect().left;
    const distance = (sample) => Math.abs(x(sample.at) - at);
    this.#aim(this.#samples.reduce((best, sample) => (distance(sample) < distance(best) ? sample : best)));
  }

  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || this.#samples.length === 0) return;
    event.preventDefault();
    const index = this.#samples.findIndex(({ at }) => at === this.#cursor);
    const next = index < 0 ? this.#samples.length - 1 : index + by;
    this.#aim(this.#samples[Math.min(Math.max(0, next), this.#samples.length - 1)]);
  }

  #aim(sample) {
    this.#cursor = sample?.at ?? null;
    this.#draw();
  }
}

function agoText(ago) {
  if (ago === 0) return "now";
  return ago % 60_000 === 0 ? `${ago / 60_000} min ago` : `${ago / 1000} s ago`;
}

/**
 * The samples in pieces without an interruption.
 *
 * @param {Shown[]} samples
 */
function runs(samples) {
  const pieces = [];
  let before = -Infinity;
  for (const sample of samples) {
    if (sample.isFirst || sample.at - before > INTERRUPTED) pieces.push([]);
    pieces.at(-1).push(sample);
    before = sample.at;
  }
  return pieces;
}

// ---- Figures ----------------------------------------------------------------

const clock = new Intl.DateTimeFormat([], { timeStyle: "medium" });
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const large = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const format = (value) => (value < 100 ? number : large).format(value);

/** @type {{ id: string, label: string, of: (sample: Sample) => number, value?: any, button?: any }[]} */
const FIGURES = [
  { id: "calls", label: "Calls per second", of: (sample) => sample.callsPerSecond },
  { id: "messages", label: "Messages per second", of: (sample) => sample.messagesPerSecond },
  { id: "connections", label: "Open connections", of: (sample) => sample.connections },
];

const chart = new Chart();

for (const figure of FIGURES) {
  figure.value = make("span", { className: "value" }, "–");
  figure.button = make(
    "button",
    { type: "button", className: "figure" },
    make("span", { className: "label" }, figure.label),
    figure.value,
  );
  figure.button.dataset.testid = `figure-${figure.id}`;
  figure.button.addEventListener("click", () => choose(figure));
  $("figures").append(figure.button);
}

function choose(chosen) {
  for (const figure of FIGURES) figure.button.setAttribute("aria-pressed", String(figure === chosen));
  chart.show(chosen);
}

/** @param {Sample} [sample] */
function showFigures(sample) {
  for (const figure of FIGURES) figure.value.textContent = sample ? format(figure.of(sample)) : "–";
}

// ---- Alerts -----------------------------------------------------------------

/** @type {Record<Level, string>} */
const LEVELS = { info: "Info", warning: "Warning", critical: "Critical" };

/**
 * @param {Alert} alert
 * @param {boolean} fresh
 */
function showAlert(alert, fresh) {
  const item = make(
    "li",
    { className: fresh ? "fresh" : "" },
    make("span", { className: "level" }, LEVELS[alert.level] ?? alert.level),
    make("span", { className: "what", dir: "auto" }, alert.text),
    make("time", { dateTime: new Date(alert.at).toISOString() }, clock.format(alert.at)),
  );
  Object.assign(item.dataset, { testid: "alert", level: alert.level });
  const list = $("alerts");
  list.prepend(item);
  while (list.children.length > MAX_ALERTS) list.lastChild.remove();
  list.hidden = false;
  $("none").hidden = true;
  chart.mark(alert.at, alert.level);
}

/** The same text is the same alert, however often it is sent: an answer may be lost on its way. */
/** @type {any} */
let draft = {};

$("raise").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [text, level] = [$("text").value, $("level").value];
  const length = [...text.trim()].length;
  if (length === 0) return complain("Please say what is the matter.");
  if (length > MAX_TEXT) return complain(`That has ${length} characters, and ${MAX_TEXT} are allowed.`);
  if (draft.text !== text || draft.level !== level) draft = { text, level, key: crypto.randomUUID() };
  $("raise-button").disabled = true;
  try {
    await mutate("alerts.raise", { text, level }, draft.key);
    draft = {};
    $("text").value = "";
    complain("");
  } catch (error) {
    complain(explain(/** @type {Failure} */ (error)));
  }
  $("raise-button").disabled = false;
  $("text").focus();
});

$("text").addEventListener("input", () => complain(""));

function complain(problem) {
  $("problem").textContent = problem;
  $("problem").hidden = !problem;
  $("text").setAttribute("aria-invalid", String(Boolean(problem)));
}

/** @param {Failure} error */
function explain(error) {
  const field = error.code === "INVALID_ARGUMENT" && error.details?.[0];
  if (field) return `The ${field.path} ${field.message}.`;
  if (error.code === "RESOURCE_EXHAUSTED") {
    return `That is too many alerts: try again in ${Math.max(1, Math.ceil((error.retryAfterMs ?? 0) / 1000))} s.`;
  }
  if (!error.code || typeof error.code !== "string") return "The server cannot be reached. The text stays here.";
  return error.message;
}

// ---- The page ---------------------------------------------------------------

let restarted = false;

choose(FIGURES[0]);
new Feed({
  state(name) {
    $("state").dataset.state = name;
    const text = { connecting: "Connecting…", connected: "Connected", reconnecting: "Reconnecting…" }[name];
    if ($("state-text").textContent !== text) $("state-text").textContent = text;
    $("page").toggleAttribute("data-away", name === "reconnecting");
  },
  current({ samples, alerts }, isAgain) {
    restarted = isAgain;
    if (isAgain) for (const sample of samples) this.sample(sample);
    else chart.reset(samples);
    if (samples.length > 0) showFigures(samples.at(-1));
    for (const alert of alerts) showAlert(alert, isAgain);
  },
  sample(sample) {
    if (restarted) chart.mark(sample.at, "restart");
    chart.add({ ...sample, isFirst: restarted });
    restarted = false;
    showFigures(sample);
  },
  alert: (alert) => showAlert(alert, true),
}).start();
