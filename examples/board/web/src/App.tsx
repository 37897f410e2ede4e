import { useState } from "react";
import { useConnection, useQuery } from "realtime-client/react";
import { Activity } from "./Activity.js";
import { AddCard } from "./AddCard.js";
import { api } from "./api.js";
import { Columns } from "./Columns.js";
import { Cursors } from "./Cursors.js";
import { People } from "./People.js";
import { Question } from "./Question.js";

export function App() {
  const current = useQuery(api.board.current, undefined);
  const [news, tell] = useState("");
  return (
    <>
      <header>
        <h1>Board</h1>
        <People />
        <Status />
      </header>
      <main>
        <Cursors>
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

function Status() {
  const { status } = useConnection();
  return (
    <p className={`badge ${status}`} data-testid="status" role="status">
      {LABELS[status]}
    </p>
  );
}

const LABELS = {
  idle: "Idle",
  connecting: "Connecting",
  open: "Live",
  reconnecting: "Reconnecting",
  closed: "Closed",
};
