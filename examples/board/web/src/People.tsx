import { useConnection, usePresent } from "realtime-client/react";
import { places } from "./api.js";

/** Those who look at the board, and which of them this page is. */
export function usePeople() {
  const connection = useConnection();
  const people = usePresent(places.board);
  return { people, me: connection.status === "open" ? connection.connection : undefined };
}

export function People() {
  const { people, me } = usePeople();
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
