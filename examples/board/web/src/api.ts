// The types and names of the server, as `realtime-schema` writes them.

import { ask, describe, event, mutation, type Position, query, subscription } from "realtime-client";

export type Add = { title: string; points: number };
export type Card = { id: number; title: string; points: number; column: Column };
export type Change = ({ type: "added" } & Card) | ({ type: "moved" } & Move) | { type: "removed"; id: number };
export type Column = "todo" | "doing" | "done";
export type Current = { cards: Card[]; position: Position };
export type Entry = { at: number; who: string; what: string };
export type Move = { id: number; column: Column; before: number | null };
export type MoveInput = { id: number; column: Column; before?: number | null };
export type Person = { name: string; hue: number; at: Point | null };
export type Point = { x: number; y: number };

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
