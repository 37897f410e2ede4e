import { useState } from "react";
import { useClient, useConnection, useQuery, useReadable } from "realtime-client/react";
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
      <Outdated />
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

/** Shown where the server has other types than those that this page was built with. */
function Outdated() {
  const isOutdated = useReadable(useClient().outdated);
  return (
    <p className="outdated" role="status" data-testid="outdated">
      {isOutdated && (
        <>
          A new version is there:{" "}
          <button type="button" onClick={() => location.reload()}>
            reload
          </button>
        </>
      )}
    </p>
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
