import { guard, report } from "../error.js";
import type { AnyClient, Appended, Gap, Position, Subscription } from "../index.js";
import { isBehind } from "../updates.js";
import { Shared } from "./shared.js";

/** The state of a subscription. */
export interface LiveState<D> {
  /**
   * `idle`: it is not subscribed. `pending`: nothing has come. `live`, and `stale` while there is no connection.
   * `complete` and `failed`: it is over.
   */
  readonly status: "idle" | "pending" | "live" | "stale" | "complete" | "failed";
  /** The latest item, or what `reduce` made of all. */
  readonly data: D | undefined;
  readonly error: unknown;
  /** The last gap: items are missing, until `restart`. */
  readonly gap: Gap | undefined;
  /** The position of the last item, or that at which a feed began. */
  readonly position: Position | undefined;
}

/** Options that turn items into data. */
export interface LiveOptions<T, D> {
  /** The data before the first item. */
  initial?: D;
  /** The position of `initial`: the subscription goes on behind it. */
  after?: Position;
  /** Adds an item to the data. By default the item takes their place. If it throws, the subscription has failed. */
  reduce?: (data: D, item: T) => D;
}

/** A change that lies on top of the data until the server has confirmed it. */
export interface Patch<D> {
  apply(data: D): D;
  /** Returns true if the data have it already. */
  until?(data: D): boolean;
}

/** Takes a change away: at once, or when the subscription has come to what the call wrote. */
export type Unpatch = (wrote?: readonly Appended[]) => void;

/** One subscription of any number of components. */
export class Live<T, D> extends Shared<LiveState<D>> {
  readonly #client: AnyClient;
  readonly #subscription: Subscription<unknown, T>;
  readonly #input: unknown;
  readonly #options: { readonly current: LiveOptions<T, D> };
  /** The changes on top of the data, each with the entry that confirms it once that is known. */
  readonly #patches = new Map<Patch<D>, Appended | undefined>();
  /** The name of the feed, once it has begun. */
  #topic: string | undefined;
  #state: LiveState<D>;
  #stop = (): void => {};
  #stopWatching = (): void => {};
  #timer: ReturnType<typeof setTimeout> | undefined;
  #shownAt = Number.NEGATIVE_INFINITY;

  constructor(
    client: AnyClient,
    subscription: Subscription<unknown, T>,
    input: unknown,
    options: { readonly current: LiveOptions<T, D> },
  ) {
    const state = beginning("pending", options.current);
    super(state);
    this.#state = state;
    this.#client = client;
    this.#subscription = subscription;
    this.#input = input;
    this.#options = options;
  }

  start(): void {
    this.restart();
    this.#stopWatching = this.#client.state.subscribe(({ status }) => {
      if (status === "open" && this.#state.status === "stale") this.#change({ status: "live" });
      if (status !== "open" && this.#state.status === "live") this.#change({ status: "stale" });
    });
  }

  stop(): void {
    this.#stop();
    this.#stopWatching();
    clearTimeout(this.#timer);
  }

  /** Begins again with the initial data, as after a gap. */
  restart(): void {
    this.#stop();
    const { after } = this.#options.current;
    this.#change(beginning("pending", this.#options.current));
    this.#stop = this.#client.subscribe(this.#subscription, this.#input, {
      ...(after && { after }),
      onData: (item, position) => this.#take(item, position),
      onGap: (gap, position) => this.#change({ gap, position }),
      onBegin: ({ topic, resumed }, position) => {
        this.#topic = topic;
        this.#change({ position, ...(resumed && { status: this.#connected }) });
      },
      onError: (error) => this.#change({ status: "failed", error }),
      onComplete: () => this.#change({ status: "complete" }),
    });
  }

  /** Puts a change on top of the data; returns what takes it away. */
  patch(patch: Patch<D>): Unpatch {
    this.#patches.set(patch, undefined);
    this.#show();
    return (wrote = []) => {
      if (!this.#patches.has(patch)) return;
      const at = wrote.find(({ topic }) => topic === this.#topic);
      if (at && this.#awaits(at)) this.#patches.set(patch, at);
      else {
        this.#patches.delete(patch);
        this.#show();
      }
    };
  }

  get #connected(): "live" | "stale" {
    return this.#client.state.get().status === "open" ? "live" : "stale";
  }

  /** It may still bring this entry: it is in the same log, before it. */
  #awaits(at: Appended): boolean {
    const { position, status } = this.#state;
    return status !== "failed" && status !== "complete" && position?.epoch === at.epoch && !isBehind(position, at);
  }

  #take(item: T, position: Position | undefined): void {
    const { reduce } = this.#options.current;
    let data: D;
    try {
      data = reduce ? reduce(this.#state.data as D, item) : (item as unknown as D);
    } catch (error) {
      return this.#fail(error);
    }
    for (const [patch] of this.#patches) {
      if (guard("`until` of an optimistic change", () => patch.until?.(data) ?? false) !== false)
        this.#patches.delete(patch);
    }
    this.#change({ status: this.#connected, data, position: position ?? this.#state.position });
  }

  /** Data without this item would be wrong: nothing more is added to them. */
  #fail(error: unknown): void {
    report("reduce", error);
    this.#stop();
    this.#change({ status: "failed", error });
  }

  #change(change: Partial<LiveState<D>>): void {
    this.#state = { ...this.#state, ...change };
    for (const [patch, at] of this.#patches) {
      if (at && !this.#awaits(at)) this.#patches.delete(patch);
    }
    if (this.#timer !== undefined) return;
    const wait = this.#shownAt + FRAME - performance.now();
    if (wait <= 0) return this.#show();
    this.#timer = setTimeout(() => this.#show(), wait);
  }

  #show(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#shownAt = performance.now();
    let { data } = this.#state;
    for (const [patch] of this.#patches) {
      if (data === undefined) break;
      const patched = guard("an optimistic change", () => ({ data: patch.apply(data as D) }));
      if (patched) data = patched.data;
      else this.#patches.delete(patch);
    }
    this.show({ ...this.#state, data });
  }
}

/** The state of a subscription that has brought nothing. */
export function beginning<D>(status: "idle" | "pending", { initial, after }: LiveOptions<never, D>): LiveState<D> {
  return { status, data: initial, error: undefined, gap: undefined, position: after };
}

/** A component is not rendered more often, however fast items come. */
const FRAME = 16;
