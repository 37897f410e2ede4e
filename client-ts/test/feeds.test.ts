// Feeds of a server that is killed, whose log dies with it: `npm run server`.

import { expect, onTestFinished, test } from "vitest";
import {
  type Client,
  connect,
  describe,
  mutation,
  type Options,
  type Position,
  subscription,
  type Update,
  type Updates,
} from "../src/index.js";
import { always } from "./fallback.js";
import { start, stop } from "./servers.js";

type Change = { whole: number } | { added: number };

const changes = subscription<void, Change>("changes");
const state = subscription<void, Change>("state");
const add = mutation<number, number>("add");
const feeds = describe("feeds");

const LIVES = 20;

for (const way of ["a WebSocket", "plain HTTP"]) {
  test(`over ${LIVES} lives of its server nothing of a feed is lost unsaid, by ${way}`, async () => {
    let server = await start("feeds");
    onTestFinished(() => stop(server, "SIGKILL"));
    const options: Options = { url: `${server.origin}/__realtime/feeds`, reconnect: { baseMs: 20, maxMs: 50 } };
    await using client = connect(feeds, way === "plain HTTP" ? { ...options, fallback: always } : options);
    const readers = [changes, state].map((feed) => new Reader(client.updates(feed)));
    for (let life = 0; ; life += 1) {
      for (const reader of readers) await reader.readUntil(() => reader.lives > life);
      const { at } = await addAll(client, 5);
      for (const reader of readers) await reader.readUntil(() => reader.updates.has({ value: null, at }));
      if (life === LIVES) break;
      // Some of these run, and some are told of by the feed.
      const cutOff = Array.from({ length: 5 }, () => client.call(add, 1).catch(() => {}));
      await readers[0]?.read();
      await stop(server, "SIGKILL");
      await Promise.all(cutOff);
      server = await start("feeds", server.port);
    }
    expect(readers.map(({ diverged }) => diverged)).toEqual([LIVES, 0]);
    expect(readers.map(({ states }) => states)).toEqual([0, LIVES + 1]);
  });
}

/** One who reads a feed, and keeps books of it. */
class Reader {
  readonly updates: Updates<Change>;
  /** Logs that were begun with. */
  lives = 0;
  diverged = 0;
  states = 0;
  #last: Position | undefined;

  constructor(updates: Updates<Change>) {
    this.updates = updates;
  }

  async readUntil(isDone: () => boolean): Promise<void> {
    while (!isDone()) await this.read();
  }

  async read(): Promise<void> {
    const { value: update } = await this.updates.next();
    this.#take(update);
  }

  #take(update: Update<Change>): void {
    const last = this.#last;
    if (update.type === "begun") {
      if (update.resumed === false) expect(update.position.epoch).not.toBe(last?.epoch);
      if (update.position.epoch !== last?.epoch) this.lives += 1;
      if (update.resumed) expect(update.position).toEqual(last);
      this.#last = update.position;
    } else if (update.type === "gap") {
      expect(update).toEqual({ type: "gap", count: 0, cause: "diverged" });
      this.diverged += 1;
    } else {
      const isState = "whole" in update.value;
      if (isState) this.states += 1;
      const offset = Number(last?.offset) + (isState ? 0 : 1);
      expect(update.position).toEqual({ epoch: last?.epoch, offset });
      this.#last = update.position;
    }
  }
}

async function addAll(client: Client, count: number) {
  const written = await Promise.all(Array.from({ length: count }, () => client.callWritten(add, 1)));
  return written.reduce((a, b) => (Number(a.at[0]?.offset) > Number(b.at[0]?.offset) ? a : b));
}
