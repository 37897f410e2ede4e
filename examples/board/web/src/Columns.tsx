import { type DragEvent, useEffect, useRef, useState } from "react";
import { useMutation, useSubscription } from "realtime-client/react";
import { api, type Card, type Column, type Current, type MoveInput } from "./api.js";
import { apply, COLUMNS, isMoved, move, movesOf, type Way } from "./moves.js";
import { wordsOf } from "./words.js";

/** The cards: as they were loaded, with all that has happened since, and what this page has just done on top. */
export function Columns({ loaded, tell }: { loaded: Current; tell: (news: string) => void }) {
  const { epoch, offset } = loaded.position;
  const board = useSubscription(api.board.changes, undefined, {
    initial: loaded.cards as readonly Card[],
    after: loaded.position,
    reduce: apply,
    // What was loaded again after a reconnection is the beginning of another one.
    key: `${epoch}:${offset}`,
  });
  const moving = useMutation(api.cards.move, { optimistic: [board, move], until: isMoved });
  const clearing = useMutation(api.cards.clear);
  const cards = board.data ?? [];

  const onMove = (card: Card, input: MoveInput) => {
    tell(`Moved “${card.title}” ${input.column === card.column ? "" : `to ${titleOf(input.column)}`}`);
    moving.call(input).catch((error) => tell(`“${card.title}” could not be moved: ${wordsOf(error)}`));
  };
  const onClear = () => {
    clearing.call().then(
      (count) => tell(`${count} removed`),
      (error) => tell(wordsOf(error)),
    );
  };
  return (
    <div className="columns" data-testid="board" data-status={board.status}>
      {COLUMNS.map(({ id, title }) => (
        <ColumnOf key={id} id={id} title={title} cards={cards} onMove={onMove}>
          {id === "done" && (
            <button type="button" className="quiet" onClick={onClear} disabled={clearing.isPending}>
              Clear
            </button>
          )}
        </ColumnOf>
      ))}
    </div>
  );
}

interface ColumnProps {
  id: Column;
  title: string;
  cards: readonly Card[];
  onMove: (card: Card, input: MoveInput) => void;
  children: React.ReactNode;
}

function ColumnOf({ id, title, cards, onMove, children }: ColumnProps) {
  const [isTarget, setTarget] = useState(false);
  const list = cards.filter(({ column }) => column === id);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setTarget(false);
    const card = cards.find((card) => `${card.id}` === event.dataTransfer.getData("text/plain"));
    const under = (event.target as Element).closest<HTMLElement>("[data-card]")?.dataset.card;
    if (card && `${card.id}` !== under)
      onMove(card, { id: card.id, column: id, before: under ? Number(under) : null });
  };
  return (
    <section
      aria-labelledby={`column-${id}`}
      className={isTarget ? "column target" : "column"}
      data-testid={id}
      onDragOver={(event) => {
        event.preventDefault();
        setTarget(true);
      }}
      onDragLeave={() => setTarget(false)}
      onDrop={drop}
    >
      <div className="head">
        <h2 id={`column-${id}`}>
          {title} <span className="count">{list.length}</span>
        </h2>
        {children}
      </div>
      <ul>
        {list.map((card) => (
          <CardOf key={card.id} card={card} ways={movesOf(cards, card)} onMove={onMove} />
        ))}
      </ul>
      {list.length === 0 && <p className="empty">No cards</p>}
    </section>
  );
}

interface CardProps {
  card: Card;
  ways: readonly Way[];
  onMove: (card: Card, input: MoveInput) => void;
}

/** The card and button that have the focus: they keep it when the card is in another column. */
let focused: { id: number; way: Way["name"] } | undefined;

function CardOf({ card, ways, onMove }: CardProps) {
  const item = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (focused?.id !== card.id) return;
    const wanted = item.current?.querySelector<HTMLButtonElement>(`[data-way=${focused.way}]:not(:disabled)`);
    (wanted ?? item.current?.querySelector<HTMLButtonElement>("button:not(:disabled)"))?.focus();
    focused = undefined;
  }, [card]);
  return (
    <li
      ref={item}
      className="card"
      data-card={card.id}
      draggable
      onDragStart={(event) => event.dataTransfer.setData("text/plain", `${card.id}`)}
    >
      <p>{card.title}</p>
      <div className="foot">
        <span className="effort">
          {card.points}
          <span className="hidden"> points</span>
        </span>
        {ways.map(({ name, sign, label, input }) => (
          <button
            key={name}
            type="button"
            data-way={name}
            disabled={!input}
            aria-label={label && `Move “${card.title}” ${label}`}
            onClick={() => {
              if (!input) return;
              focused = { id: card.id, way: name };
              onMove(card, input);
            }}
          >
            {sign}
          </button>
        ))}
      </div>
    </li>
  );
}

function titleOf(column: Column): string {
  return COLUMNS.find(({ id }) => id === column)?.title ?? column;
}
