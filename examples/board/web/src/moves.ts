import type { Card, Change, Column, MoveInput } from "./api.js";

export const COLUMNS: readonly { readonly id: Column; readonly title: string }[] = [
  { id: "todo", title: "To do" },
  { id: "doing", title: "Doing" },
  { id: "done", title: "Done" },
];

/** Adds a change of the server's to the cards. */
export function apply(cards: readonly Card[], change: Change): readonly Card[] {
  switch (change.type) {
    case "added": {
      const { type: _, ...card } = change;
      return [...cards, card];
    }
    case "moved":
      return move(cards, change);
    case "removed":
      return cards.filter(({ id }) => id !== change.id);
  }
}

/** Moves a card, as the server does. */
export function move(cards: readonly Card[], { id, column, before }: MoveInput): readonly Card[] {
  const card = cards.find((card) => card.id === id);
  if (!card) return cards;
  const others = cards.filter((other) => other !== card);
  const place = others.findIndex((other) => other.id === before);
  return others.toSpliced(place < 0 ? others.length : place, 0, { ...card, column });
}

/** True if the cards are as a move leaves them. */
export function isMoved(cards: readonly Card[], input: MoveInput): boolean {
  const moved = move(cards, input);
  return moved.every(({ id, column }, place) => cards[place]?.id === id && cards[place].column === column);
}

/** The moves of a card by keyboard, where there is room. */
export function movesOf(cards: readonly Card[], card: Card): readonly Way[] {
  const at = COLUMNS.findIndex(({ id }) => id === card.column);
  const neighbours = cards.filter(({ column }) => column === card.column);
  const row = neighbours.indexOf(card);
  const left = COLUMNS[at - 1];
  const right = COLUMNS[at + 1];
  const above = neighbours[row - 1];
  const below = neighbours[row + 1];
  const afterBelow = neighbours[row + 2]?.id ?? null;
  const { id, column } = card;
  return [
    { name: "left", sign: "←", label: left && `to ${left.title}`, input: left && { id, column: left.id } },
    { name: "up", sign: "↑", label: "up", input: above && { id, column, before: above.id } },
    { name: "down", sign: "↓", label: "down", input: below && { id, column, before: afterBelow } },
    { name: "right", sign: "→", label: right && `to ${right.title}`, input: right && { id, column: right.id } },
  ];
}

/** One direction, without an input where there is no room. */
export interface Way {
  readonly name: "left" | "up" | "down" | "right";
  readonly sign: string;
  readonly label: string | undefined;
  readonly input: MoveInput | undefined;
}
