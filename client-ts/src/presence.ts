import type { AnyClient } from "./client.js";
import { event } from "./names.js";
import { Cell, type Readable } from "./store.js";

/** Someone who is present. */
export interface Present<D> {
  readonly connection: string;
  readonly data: D;
}

/** A change of who is present in a place. */
export interface PresenceNotice<D = unknown> {
  readonly name: string;
  /** All who are here, in the first notice. */
  readonly here?: readonly Present<D>[];
  readonly joined?: readonly Present<D>[];
  readonly changed?: readonly Present<D>[];
  readonly left?: readonly string[];
}

/** The event that tells who comes and goes. */
export const PRESENCE = event<PresenceNotice>("presence");

/**
 * Follows who is present in a place: a map from connections to their data, new at each change. It listens while somebody
 * is subscribed to it.
 */
export function present<D>(client: Pick<AnyClient, "on">, place: string): Readable<ReadonlyMap<string, D>> {
  const here = new Cell<ReadonlyMap<string, D>>(new Map());
  let stop = (): void => {};
  return {
    get: () => here.get(),
    subscribe(listener) {
      if (here.isUnused) {
        stop = client.on(PRESENCE, (notice) => {
          if (notice.name === place) here.set(apply(here.get(), notice as PresenceNotice<D>));
        });
      }
      const remove = here.subscribe(listener);
      return () => {
        remove();
        if (here.isUnused) stop();
      };
    },
  };
}

function apply<D>(before: ReadonlyMap<string, D>, notice: PresenceNotice<D>): ReadonlyMap<string, D> {
  const { here, joined = [], changed = [], left = [] } = notice;
  const after = new Map(here ? [] : before);
  for (const { connection, data } of [...(here ?? []), ...joined, ...changed]) after.set(connection, data);
  for (const connection of left) after.delete(connection);
  return after;
}
