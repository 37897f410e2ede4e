import type { AnyClient } from "./client.js";
import { event, type Place } from "./names.js";
import { Cell, type Readable } from "./store.js";
import { parts } from "./told.js";

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

/** The data of each connection in a place. */
export type Members<D = unknown> = ReadonlyMap<string, D>;

/**
 * The clients in a place: a map from connections to their data, new at each change. Empty where the server has sent no list
 * of the place; without a connection, and until the server sends the list again, the last one. One list is kept for all
 * who look at a place, so that it does not matter when they begin.
 *
 * Only a page that imports this loads it. Import it before the client is made, not in a part that is loaded later: what
 * the server has sent before is known from the next connection on.
 */
export function present<D>(client: AnyClient, place: Place<D> | string): Readable<Members<D>> {
  const driver = client["~driver"];
  driver.told.presence ??= new Presence();
  return driver.told.presence.of(nameOf(place), () => driver.start()) as Readable<Members<D>>;
}

/** Returns the name of a place, which may be its name. */
export function nameOf(place: Place<unknown> | string): string {
  return typeof place === "string" ? place : place.name;
}

/**
 * The lists of all places of which the server tells this client. A list is kept from its first notice on, as the server
 * sends it only once: whoever looks at it later finds it whole.
 */
export class Presence {
  readonly #places = new Map<string, List>();

  /** Applies a notice. An event of the application's that has the same name, and another form, is passed over. */
  take(event: unknown, data: unknown, connection: string): void {
    if (event !== PRESENCE.name) return;
    const notice = data as Partial<PresenceNotice> | null;
    if (typeof notice?.name !== "string") return;
    const isFirst = Array.isArray(notice.here);
    const place = isFirst ? this.#open(notice.name) : this.#places.get(notice.name);
    if (!place || !(isFirst || place.isCurrent)) return;
    place.isCurrent = !listOf(notice.left).includes(connection);
    place.members.set(place.isCurrent ? apply(place.members.get(), notice) : NOBODY);
    this.#tidy(notice.name, place);
  }

  /** The list of a place. `start` is called before it is listened to. */
  of(name: string, start: () => void): Readable<Members> {
    return {
      get: () => this.#places.get(name)?.members.get() ?? NOBODY,
      subscribe: (listener) => {
        start();
        const place = this.#open(name);
        const stop = place.members.subscribe(listener);
        return () => {
          stop();
          this.#tidy(name, place);
        };
      },
    };
  }

  /** The connection is gone, and with it all that the server told of: what somebody looks at is shown until it is told anew. */
  lose(): void {
    for (const [name, place] of [...this.#places]) {
      place.isCurrent = false;
      this.#tidy(name, place);
    }
  }

  get size(): number {
    return this.#places.size;
  }

  #open(name: string): List {
    const place = this.#places.get(name) ?? { members: new Cell(NOBODY), isCurrent: false };
    this.#places.set(name, place);
    return place;
  }

  /** Drops what is of no more use: this list, or the oldest that nobody looks at where there are too many. */
  #tidy(name: string, place: List): void {
    if (!place.isCurrent && place.members.isUnused && this.#places.get(name) === place) this.#places.delete(name);
    if (this.#places.size <= PLACES) return;
    for (const [name, { members }] of this.#places) {
      if (members.isUnused) {
        this.#places.delete(name);
        return;
      }
    }
  }
}

parts.Presence = Presence;

interface List {
  readonly members: Cell<Members>;
  /** The client is told of changes: its first notice came on the present connection. */
  isCurrent: boolean;
}

function apply(before: Members, { here, joined, changed, left }: Partial<PresenceNotice>): Members {
  const after = new Map(here ? [] : before);
  for (const entered of [here, joined, changed].flatMap(listOf)) after.set(entered.connection, entered.data);
  for (const connection of listOf(left)) after.delete(connection);
  return after;
}

function listOf<T>(list: readonly T[] | undefined): readonly T[] {
  return Array.isArray(list) ? list.filter((entry) => entry !== null) : [];
}

const NOBODY: Members = new Map();

/** The server's default limit of topics for each connection, of which a place is one; its lists have 1 MiB at most. */
const PLACES = 256;
