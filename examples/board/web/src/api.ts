// The types and names of the server, in the form of those that realtime-schema generates.
import { ask, describe, event, mutation, query, subscription } from "realtime-client";

/** The input of `ADD`. */
export type Add = { points: number; title: string };

/** A card. */
export type Card = { column: Column; id: number; points: number; title: string };

/** An item of `CHANGES`. */
export type Change = ({ type: "added" } & Card) | ({ type: "moved" } & Move) | { type: "removed"; id: number };

/** A column of the board. */
export type Column = "todo" | "doing" | "done";

/** The state of the board. */
export type Current = { cards: Card[]; position: Position };

/** An item of `ACTIVITY`. */
export type Entry = { at: number; what: string; who: string };

/** The input of `MOVE`. */
export type Move = { before: number | null; column: Column; id: number };

/** The input of `MOVE`. */
export type MoveInput = { before?: number | null; column: Column; id: number };

/** Somebody who looks at the board. */
export type Person = { at: Point | null; hue: number; name: string };

/** A place on the page, in parts of the board's width and height. */
export type Point = { x: number; y: number };

/** The place of an item in a source that can be resumed. */
export type Position = { epoch: string; offset: number | string };

/** The data of each client that is present, by place. */
export type Presence = {
  board: Person;
};

export const api = {
  board: {
    activity: subscription<void, Entry>("board.activity"),
    changes: subscription<void, Change>("board.changes"),
    current: query<void, Current>("board.current"),
  },
  cards: {
    add: mutation<Add, Card>("cards.add"),
    clear: mutation<void, number>("cards.clear"),
    move: mutation<MoveInput, null>("cards.move"),
  },
  confirm: ask<string, boolean>("confirm"),
  point: event<Point | null>("point"),
} as const;

export const endpoint = describe<void, never, never>("board");
