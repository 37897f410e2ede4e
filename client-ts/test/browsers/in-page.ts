// The page of the tests in browsers: bundled into it as `window.page`. It shows what it is told.

import { http } from "../../src/http/index.js";
import {
  ask,
  type Client,
  connect,
  describe,
  event,
  mutation,
  type Options,
  type Position,
  present,
  query,
  RealtimeError,
  type State,
  subscription,
  type Update,
} from "../../src/index.js";
import { always } from "../fallback.js";

export type Change = { readonly sum: number } | { readonly appended: number };

export interface Opened {
  /** The endpoint's URL, that of the page's host by default. */
  readonly url?: string;
  /** A refusal that the server is asked for. */
  readonly refuse?: "401" | "429" | "websocket";
  readonly token?: string;
  readonly fallback?: boolean;
}

declare global {
  interface Window {
    page: typeof import("./in-page.js");
    isKept?: boolean;
  }
}

const confirm = ask<string, boolean>("confirm");

let client: Client;
let here = 0;
const states: State[] = [];
const told: number[] = [];

/** Makes the client, and begins to connect. */
export function open({ url = "/__realtime/browsers", refuse, token, fallback }: Opened = {}): void {
  const options: Options = {
    url: refuse ? `${url}?refuse=${refuse}` : url,
    reconnect: { baseMs: 50, maxMs: 200 },
    ...(token && { token: () => token }),
    ...(fallback && { fallback: http }),
  };
  client = connect(describe("browsers"), options);
  client.state.subscribe((state) => {
    states.push(state);
    show(state.status, state);
  });
  client.on(event<number>("appended"), (number) => {
    told.push(number);
    show(`told of ${number}`);
  });
  present(client, "here").subscribe((map) => {
    here = map.size;
  });
  client.open();
}

/** The state, once it has this status. */
export function reach(status: State["status"]): Promise<State> {
  return new Promise((resolve) => {
    const stop = client.state.subscribe((state) => {
      if (state.status !== status) return;
      queueMicrotask(() => stop());
      resolve(state);
    });
  });
}

export function passed(): State["status"][] {
  return states.map(({ status }) => status);
}

/** The numbers of which the server's events told. */
export function toldOf(): number[] {
  return told;
}

/** The clients in the place of all. */
export function presentCount(): number {
  return here;
}

export function can(feature: "send" | "emit" | "answer"): boolean {
  return client.can(feature);
}

/** The double, or the code of the error. */
export async function double(number: number | string): Promise<number | string> {
  try {
    const doubled = await client.call(query<number | string, number>("double"), number);
    show(`${number} + ${number} = ${doubled}`);
    return doubled;
  } catch (error) {
    return error instanceof RealtimeError ? error.code : `${error}`;
  }
}

/** Makes clients by HTTP alone that each follow a feed; then each of them calls. */
export async function openMany(count: number): Promise<number[]> {
  const clients: Client[] = [];
  for (let number = 0; number < count; number += 1) {
    const client = connect(describe("browsers"), { fallback: always });
    clients.push(client);
    await client.updates(subscription<void, Change>("numbers")).next();
    show(`${number + 1} clients follow`);
  }
  return Promise.all(clients.map((client, number) => client.call(query<number, number>("double"), number)));
}

export async function append(number: number): Promise<void> {
  await client.call(mutation<number, null>("append"), number);
}

/** Has the server ask this page. */
export async function beAsked(question: string, answer: boolean): Promise<{ question: string; said: boolean }> {
  let asked = "";
  const stop = client.answer(confirm, (text) => {
    asked = text;
    show(`asked: ${text}`);
    return answer;
  });
  try {
    const said = await client.call(mutation<string, boolean>("ask"), question);
    return { question: asked, said };
  } finally {
    stop();
  }
}

export async function countdown(from: number): Promise<number[]> {
  const seen: number[] = [];
  for await (const update of client.updates(subscription<number, number>("countdown"), from)) {
    if (update.type === "item") seen.push(update.value);
  }
  show(`counted down from ${from}`);
  return seen;
}

/** The first updates of the feed that keeps little. */
export async function newest(count: number, after?: Position): Promise<Update<Change>[]> {
  const updates: Update<Change>[] = [];
  const newest = subscription<void, Change>("newest");
  for await (const update of client.updates(newest, undefined, after && { after })) {
    updates.push(update);
    show(update.type, update);
    if (updates.length === count) break;
  }
  return updates;
}

const followed = new Map<string, Update<Change>[]>();

/** Follows a feed until the client is closed. */
export function follow(feed: "numbers" | "sum"): void {
  read(feed).catch((error) => show(`${feed}: ${error}`));
}

async function read(feed: "numbers" | "sum"): Promise<void> {
  const updates: Update<Change>[] = [];
  followed.set(feed, updates);
  for await (const update of client.updates(subscription<void, Change>(feed))) {
    updates.push(update);
    if (update.type !== "item") show(`${feed}: ${update.type}`, update);
    await mayGoOn;
  }
}

let mayGoOn = Promise.resolve();
let goOn = (): void => {};

/** Takes nothing more of what it follows, so that it stays with the server but for a window of 64 items. */
export function pause(): void {
  mayGoOn = new Promise((resolve) => {
    goOn = resolve;
  });
}

export function resume(): void {
  goOn();
}

export function updatesOf(feed: "numbers" | "sum"): Update<Change>[] {
  return followed.get(feed) ?? [];
}

/** True if an item of the feed has this value. */
export function hasSeen(feed: "numbers" | "sum", number: number): boolean {
  return updatesOf(feed).some(
    (update) => update.type === "item" && "appended" in update.value && update.value.appended === number,
  );
}

/** The times at which the feed began. */
export function begun(feed: "numbers" | "sum"): number {
  return updatesOf(feed).filter(({ type }) => type === "begun").length;
}

export async function close(): Promise<void> {
  await client.close();
}

function show(text: string, details?: object): void {
  const line = document.createElement("li");
  const said = details ? `${text} ${JSON.stringify(details)}` : text;
  line.textContent = `${Math.round(performance.now())} ms: ${said}`;
  document.querySelector("ol")?.append(line);
}
