import { toJson } from "../wire.js";
import type { Shared } from "./shared.js";

/** One of any state. */
type Resource = Shared<unknown>;

/** The resources that components share, by id. */
export class Registry {
  readonly #entries = new Map<string | undefined, { readonly shared: Resource; users: number }>();

  get<T extends Resource>(id: string | undefined): T | undefined {
    return this.#entries.get(id)?.shared as T | undefined;
  }

  /**
   * Uses what has this id, which is made if nobody does; returns what ends it. It stops one macrotask after its last user
   * has left: a component that is mounted again at once, as StrictMode does, finds it running.
   */
  use(id: string, make: () => Resource, listener: () => void): () => void {
    const entry = this.#entries.get(id) ?? this.#add(id, make());
    entry.users += 1;
    const stop = entry.shared.listen(listener);
    return () => {
      stop();
      entry.users -= 1;
      if (entry.users === 0) setTimeout(() => this.#release(id, entry));
    };
  }

  get size(): number {
    return this.#entries.size;
  }

  #add(id: string, shared: Resource) {
    const entry = { shared, users: 0 };
    this.#entries.set(id, entry);
    shared.start();
    return entry;
  }

  #release(id: string, entry: { readonly shared: Resource; readonly users: number }): void {
    if (entry.users > 0 || this.#entries.get(id) !== entry) return;
    this.#entries.delete(id);
    entry.shared.stop();
  }
}

/** The registry of a client, or of whatever else it is for. */
export function registryOf(owner: object): Registry {
  const registry = REGISTRIES.get(owner) ?? new Registry();
  REGISTRIES.set(owner, registry);
  return registry;
}

/** One text for inputs that are equal, whatever the order of their fields is. */
export function identify(name: string, input: unknown, key = ""): string {
  return toJson(name, [name, key, sorted(input)]);
}

const REGISTRIES = new WeakMap<object, Registry>();

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  // Dates and the like say themselves how they are written.
  if (typeof value !== "object" || value === null || "toJSON" in value) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, field]) => [name, sorted(field)]));
}
