import type { Driver } from "./driver.js";
import { Inbox } from "./inbox.js";
import { Stream } from "./operations.js";
import { type Gap, type Position, toJson } from "./wire.js";

/** How a subscription is made. */
export interface SubscribeOptions {
  /** Goes on behind this position. */
  after?: Position;
  /** Ends it. */
  signal?: AbortSignal;
}

/** What is done with what a subscription brings. */
export interface SubscribeHandlers<T> extends SubscribeOptions {
  /** Called for each item. While the promise that it returns is pending the next waits, and of more than 64 the server. */
  onData(value: T, position: Position | undefined): unknown;
  /** Called where items are missing, or may be. */
  onGap?(gap: Gap): void;
  /** Called when it has failed; nothing follows. Without it the error is logged. */
  onError?(error: unknown): void;
  /** Called when the server has ended it; nothing follows. */
  onComplete?(): void;
}

/** One subscription of the session. */
export interface Feed {
  readonly inbox: Inbox;
  /** Nobody reads it any more. */
  drop(): void;
}

/** Begins a subscription. Throws if its input cannot be written, or the client is closed. */
export function openFeed(
  driver: Driver,
  name: string,
  input: unknown,
  after: Position | undefined,
  onNews: (inbox: Inbox) => void,
): Feed {
  const json = toJson(name, input ?? null);
  const inbox: Inbox = new Inbox(() => driver.change((session) => session.grant(id)));
  inbox.onNews = () => onNews(inbox);
  const id: number = driver.change((session) => session.subscribe(new Stream(name, json, after, inbox)));
  return { inbox, drop: () => driver.change((session) => session.drop(id)) };
}
