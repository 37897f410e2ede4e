import { type PointerEvent, type ReactNode, useEffect, useMemo, useRef } from "react";
import type { AnyClient } from "realtime-client";
import { useClient } from "realtime-client/react";
import { api, type Point } from "./api.js";
import { usePeople } from "./People.js";

/** Shows where the pointers of others are, and tells them where this one is. */
export function Cursors({ children }: { children: ReactNode }) {
  const client = useClient();
  const area = useRef<HTMLDivElement>(null);
  const pointer = useMemo(() => new Pointer(client), [client]);
  useEffect(() => () => pointer.stop(), [pointer]);
  const move = ({ clientX, clientY }: PointerEvent) => {
    const box = area.current?.getBoundingClientRect();
    if (box) pointer.tell({ x: (clientX - box.left) / box.width, y: (clientY - box.top) / box.height });
  };
  return (
    <div className="cursors" ref={area} onPointerMove={move} onPointerLeave={() => pointer.tell(null)}>
      {children}
      <Others />
    </div>
  );
}

/** Apart, so that the cards are not rendered again whenever somebody moves. */
function Others() {
  const { people, me } = usePeople();
  return [...people].map(([id, { name, hue, at }]) => {
    if (!at || id === me) return null;
    const style = { "--hue": hue, left: `${at.x * 100}%`, top: `${at.y * 100}%` } as React.CSSProperties;
    return (
      <div key={id} className="cursor" style={style} aria-hidden="true" data-testid="cursor">
        <svg viewBox="0 0 16 16" width="16" height="16">
          <title>{name}</title>
          <path d="M1 1l5 13 2-6 6-2z" />
        </svg>
        <span>{name}</span>
      </div>
    );
  });
}

/** Tells the newest place only, at most twenty times a second. */
class Pointer {
  readonly #client: AnyClient;
  #latest: Point | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(client: AnyClient) {
    this.#client = client;
  }

  tell(at: Point | null): void {
    this.#latest = at;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // Where it was while there was no connection does not matter.
      if (this.#client.state.get().status === "open") this.#client.emit(api.point, this.#latest);
    }, 50);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
