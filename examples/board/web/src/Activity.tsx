import { useEffect, useReducer } from "react";
import type { Gap } from "realtime-client";
import { useClient } from "realtime-client/react";
import { api, type Entry } from "./api.js";

/** The deeds of all, newest first. Where entries are missing the table says so, in their place. */
export function Activity() {
  const client = useClient();
  const [rows, add] = useReducer(push, []);
  useEffect(
    () =>
      client.subscribe(api.board.activity, undefined, {
        onData: (entry) => add({ entry }),
        onGap: (gap) => add({ gap }),
      }),
    [client],
  );
  return (
    <section className="panel" aria-labelledby="activity">
      <h2 id="activity">Activity</h2>
      <table data-testid="activity">
        <thead className="hidden">
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Who</th>
            <th scope="col">What</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ key, entry, gap }) => (
            <tr key={key} className={gap && "gap"}>
              {entry && (
                <>
                  <td>{new Date(entry.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}</td>
                  <th scope="row">{entry.who}</th>
                  <td>{entry.what}</td>
                </>
              )}
              {gap && <td colSpan={3}>{wordsOf(gap)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length === 0 && <p className="empty">Nothing has happened</p>}
    </section>
  );
}

interface Row {
  readonly key: number;
  readonly entry?: Entry;
  readonly gap?: Gap;
}

function push(rows: readonly Row[], row: Omit<Row, "key">): readonly Row[] {
  return [{ ...row, key: (rows[0]?.key ?? 0) + 1 }, ...rows].slice(0, SHOWN);
}

function wordsOf({ count, cause }: Gap): string {
  const missing =
    count === 0
      ? "Entries may be missing here"
      : count === 1
        ? "1 entry is missing here"
        : `${count} entries are missing here`;
  return cause === "diverged" ? `${missing}: the server was restarted` : missing;
}

const SHOWN = 12;
