import { useContext, useEffect, useMemo, useRef, useState } from "react";
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
import { Context, useLatest } from "./hooks.js";
import { identify } from "./registry.js";
import { Shared, useShared } from "./shared.js";

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

  const open = (input: I) => new SharedSession<I, C, S>(endpoint, input, latest.current);
  const find = (id: string | undefined) => registry.get<SharedSession<I, C, S>>(id);
  const state = useShared<SessionState<S>>(registry, id, () => open(input as I), NOTHING);
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
          () => open(input),
          () => {},
        );
        choose({ id: chosen, wanted });
        held.current?.();
        held.current = release;
        return find(chosen)?.open() ?? Promise.resolve();
      },
      send: (message: C) => {
        const session = find(id);
        if (!session) throw new RealtimeError("FAILED_PRECONDITION", "there is no session: connect first");
        session.send(message);
      },
      close: (code?: number, reason?: string) => find(id)?.close(code, reason) ?? Promise.resolve(),
    }),
    [registry, id, wanted],
  );
  return { ...state, ...actions };
}

class SharedSession<I, C, S> extends Shared<SessionState<S>> {
  readonly #make: () => Client<I, C, S>;
  readonly #keep: number;
  #client: Client<I, C, S>;

  constructor(endpoint: Endpoint<I, C, S>, input: I, { keep = KEPT, ...options }: UseSessionOptions) {
    super(NOTHING);
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
        this.show({ status: state.status, isOpen: state.status === "open", ...errorOf(state) });
    });
    client.onMessage((message) => this.#take(message));
    client.onError((error) => this.show({ error }));
    client.open().catch((error) => this.show({ error }));
  }

  stop(): void {
    this.#client.close();
  }

  /** Resolves when there is a connection. One that was closed is made anew. */
  open(): Promise<void> {
    if (this.#client.state.get().status === "closed") {
      this.#client = this.#make();
      this.show({ ...NOTHING });
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
    this.show({ lastMessage: message, messages });
  }
}

function errorOf(state: State): Partial<SessionState<never>> {
  if (state.status === "open") return { error: undefined };
  if (state.status === "closed" && state.cause.type !== "local")
    return { error: lost(describeCause(state.cause)) };
  return state.status === "reconnecting" ? { error: lost(describeCause(state.cause)) } : {};
}

function letGo(held: { current: (() => void) | undefined }): void {
  held.current?.();
  held.current = undefined;
}

const NOTHING = { status: "idle", isOpen: false, lastMessage: undefined, messages: [], error: undefined } as const;

/** More than a screen shows. */
const KEPT = 100;
