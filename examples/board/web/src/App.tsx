import { useState } from "react";
import { useConnection, usePresent, useQuery } from "realtime-client/react";
import { Activity } from "./Activity.js";
import { AddCard } from "./AddCard.js";
import { api, type Person } from "./api.js";
import { Columns } from "./Columns.js";
import { Cursors } from "./Cursors.js";
import { Question } from "./Question.js";

export function App() {
  const connection = useConnection();
  const people = usePresent<Person>("board");
  const current = useQuery(api.board.current, undefined);
  const [news, tell] = useState("");
  const me = connection.status === "open" ? connection.connection : "";
  return (
    <>
      <header>
        <h1>Board</h1>
        <People people={people} me={me} />
        <p className={`badge ${connection.status}`} data-testid="status" role="status">
          {LABELS[connection.status]}
        </p>
      </header>
      <main>
        <Cursors people={people} me={me}>
          {current.data ? (
            <Columns loaded={current.data} tell={tell} />
          ) : (
            <p className="empty">The board is loading…</p>
          )}
        </Cursors>
        <aside>
          <AddCard tell={tell} />
          <Activity />
        </aside>
      </main>
      <p className="news" role="status" data-testid="news">
        {news}
      </p>
      <Question />
    </>
  );
}

function People({ people, me }: { people: ReadonlyMap<string, Person>; me: string }) {
  return (
    <ul className="people" aria-label="Here now" data-testid="people">
      {[...people].map(([id, { name, hue }]) => (
        <li key={id} style={{ "--hue": hue } as React.CSSProperties} title={id === me ? `${name} (you)` : name}>
          <span aria-hidden="true">{name[0]}</span>
          <span className="hidden">{id === me ? `${name}, you` : name}</span>
        </li>
      ))}
    </ul>
  );
}

const LABELS = {
  idle: "Idle",
  connecting: "Connecting",
  open: "Live",
  reconnecting: "Reconnecting",
  closed: "Closed",
};
