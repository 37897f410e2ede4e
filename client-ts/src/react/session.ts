import { useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { lost } from "../error.js";
import {
  type Client,
  connect,
  describeCause,
  type Endpoint,
  type Options,
  RealtimeError,
  type State,
} from "../index.js";
import { Listeners } from "../store.js";
import { Context, useLatest } from "./hooks.js";
import { identify, type Registry, type Shared } from "./registry.js";

/** The state of a session. */
export interface SessionState<S> {
  readonly status: State["status"];
  readonly isOpen: boolean;
  readonly lastMessage: S | undefined;
  /** The newest messages, 100 by default. */
  readonly messages: readonly S[];
  /** The last error that the server reported, or the reason why there is no connection. An open one begins without. */
  readonly error: RealtimeError | undefined;
}

/** A session of a component with a handler of messages. */
export interface Session<I, C, S> extends SessionState<S> {
  /** Connects with this input, in place of the one that the component has. Resolves when the session is open. */
  readonly connect: (input: I) => Promise<void>;
  /** Sends a message: at once, or when there is a connection. */
  readonly send: (message: C) => void;
  /** Ends the session, for all components that share it. It does not connect again by itself. */
  readonly close: (code?: number, reason?: string) => Promise<void>;
}

/** Options of `useSession`. */
export interface UseSessionOptions extends Options {
  /** The number of messages to keep. */
  keep?: number;
}

/**
 * A session with a handler of messages. It connects, and connects again whenever the connection is lost. Components with
 * the same input share it, another input is another connection, and it ends when the last component has gone. With
 * `null` as its input it waits for `connect`.
 */
export function useSession<I, C, S>(
  endpoint: Endpoint<I, C, S>,
  ...[input, options]: undefined extends I
    ? [input?: I | null, options?: UseSessionOptions]
    : [input: I | null, options?: UseSessionOptions]
): Session<I, C, S> {
  const { options: given, sessions: registry } = useContext(Context);
  const latest = useLatest({ ...given, ...options });
  const wanted = input === null ? undefined : identify(endpoint.id, input);
  // What `connect` asked for counts until the component asks for something else.
  const [chosen, choose] = useState<{ id: string; wanted: string | undefined }>();
  const id = chosen && chosen.wanted === wanted ? chosen.id : wanted;
  // The session that `connect` has opened runs until the component uses it.
  const held = useRef<() => void>(undefined);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the id stands for the endpoint and the input.
  const listen = useCallback(
    (listener: () => void) => {
      if (id === undefined) return () => {};
      return registry.use(id, () => new SharedSession<I, C, S>(endpoint, input as I, latest.current), listener);
    },
    [registry, id],
  );
  const state = useSyncExternalStore(
    listen,
    () => find<I, C, S>(registry, id)?.shown ?? NOTHING,
    () => NOTHING,
  );
  useEffect(() => {
    if (chosen && chosen.id === id) letGo(held);
  }, [chosen, id]);
  useEffect(() => () => letGo(held), []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the id stands for the endpoint.
  const actions = useMemo(
    () => ({
      connect: (input: I) => {
        const chosen = identify(endpoint.id, input);
        const release = registry.use(
          chosen,
          () => new SharedSession<I, C, S>(endpoint, input, latest.current),
          () => {},
        );
        choose({ id: chosen, wanted });
        held.current?.();
        held.current = release;
        return find<I, C, S>(registry, chosen)?.open() ?? Promise.resolve();
      },
      send: (message: C) => {
        const session = find<I, C, S>(registry, id);
        if (!session) throw new RealtimeError("FAILED_PRECONDITION", "there is no session: connect first");
        session.send(message);
      },
      close: (code?: number, reason?: string) =>
        find<I, C, S>(registry, id)?.close(code, reason) ?? Promise.resolve(),
    }),
    [registry, id, wanted],
  );
  return { ...state, ...actions };
}

class SharedSession<I, C, S> implements Shared {
  shown: SessionState<S> = NOTHING;
  readonly #make: () => Client<I, C, S>;
  readonly #keep: number;
  readonly #listeners = new Listeners<undefined>();
  #client: Client<I, C, S>;

  constructor(endpoint: Endpoint<I, C, S>, input: I, { keep = KEPT, ...options }: UseSessionOptions) {
    this.#keep = keep;
    this.#make = () => {
      const client = connect<unknown, C, S>(endpoint as Endpoint<unknown, C, S>, { ...options, input });
      return client as unknown as Client<I, C, S>;
    };
    this.#client = this.#make();
  }

  start(): void {
    const client = this.#client;
    client.state.subscribe((state) => {
      if (client === this.#client)
        this.#show({ status: state.status, isOpen: state.status === "open", ...errorOf(state) });
    });
    client.onMessage((message) => this.#take(message));
    client.onError((error) => this.#show({ error }));
    client.open().catch((error) => this.#show({ error }));
  }

  stop(): void {
    this.#client.close();
  }

  listen(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Resolves when there is a connection. One that was closed is made anew. */
  open(): Promise<void> {
    if (this.#client.state.get().status === "closed") {
      this.#client = this.#make();
      this.#show({ ...NOTHING });
      this.start();
    }
    return this.#client.open();
  }

  send(message: C): void {
    this.#client.send(message);
  }

  close(code?: number, reason?: string): Promise<void> {
    return this.#client.close(code, reason);
  }

  #take(message: S): void {
    const messages = [...this.shown.messages, message].slice(-this.#keep);
    this.#show({ lastMessage: message, messages });
  }

  #show(change: Partial<SessionState<S>>): void {
    this.shown = { ...this.shown, ...change };
    this.#listeners.tell(undefined);
  }
}

function errorOf(state: State): Partial<SessionState<never>> {
  if (state.status === "open") return { error: undefined };
  return state.status === "reconnecting" ? { error: lost(describeCause(state.cause)) } : {};
}

function letGo(held: { current: (() => void) | undefined }): void {
  held.current?.();
  held.current = undefined;
}

function find<I, C, S>(registry: Registry, id: string | undefined): SharedSession<I, C, S> | undefined {
  return id === undefined ? undefined : registry.get(id);
}

const NOTHING = { status: "idle", isOpen: false, lastMessage: undefined, messages: [], error: undefined } as const;

/** More than a screen shows. */
const KEPT = 100;
