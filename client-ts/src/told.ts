import type { AnswerLink, Answers } from "./answers.js";
import { noSuchProcedure, type RealtimeError } from "./error.js";
import type { Presence } from "./presence.js";
import { Listeners } from "./store.js";
import {
  decodeError,
  encode,
  gapOf,
  type Incoming,
  type Position,
  positionOf,
  type TopicGap,
  text,
} from "./wire.js";

/** Parts that a client makes from its start. Each puts itself here where a page loads it. */
export const parts: { Presence?: typeof Presence } = {};

/** A message of the handler. */
export interface Message {
  readonly value: unknown;
  readonly position: Position | undefined;
}

/** The part of the application that is told what the server sends by itself. */
export class Told {
  readonly messages = new Listeners<Message>();
  /** Messages of a topic that the connection did not get. */
  readonly gaps = new Listeners<TopicGap>();
  readonly complaints = new Listeners<RealtimeError>();
  readonly events = new Map<unknown, Listeners<unknown>>();
  presence = parts.Presence && new parts.Presence();
  /** Once the application answers something. */
  answers: Answers | undefined;
  readonly #link: AnswerLink;

  constructor(link: AnswerLink) {
    this.#link = link;
  }

  /** Tells a frame that came on this connection. Returns false if it is none of these. */
  take(frame: Incoming, connection: string): boolean {
    const { type, id, data = null, value = null } = frame;
    const isOfNoOperation = typeof id !== "string";
    if (type === "message") this.messages.tell({ value, position: positionOf(frame) });
    else if (type === "event") this.#takeEvent(frame.name, data, connection);
    else if (type === "call") this.answers ? this.answers.start(frame) : this.#refuse(id);
    else if (type === "cancel") this.answers?.cancel(id);
    else if (type === "gap" && isOfNoOperation) this.gaps.tell({ ...gapOf(frame), topic: text(frame.topic) });
    else if (type === "error" && isOfNoOperation) this.complain(decodeError(frame.error));
    else return false;
    return true;
  }

  complain(error: RealtimeError): void {
    if (this.complaints.size === 0) console.warn(`the server complains: ${error.code}: ${error.message}`);
    this.complaints.tell(error);
  }

  /** The connection is gone. */
  lose(): void {
    this.answers?.drop();
    this.presence?.lose();
  }

  #refuse(id: unknown): void {
    const { code, message } = noSuchProcedure();
    this.#link.reply(encode("error", { id, error: { code, message } }));
  }

  #takeEvent(name: unknown, data: unknown, connection: string): void {
    // The list first: a listener finds it changed.
    this.presence?.take(name, data, connection);
    this.events.get(name)?.tell(data);
  }
}
