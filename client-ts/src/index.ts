export type { Reconnect } from "./backoff.js";
export { type AnyClient, type CallOptions, type Client, type ConnectOptions, connect } from "./client.js";
export type {
  Dial,
  DialRequest,
  Environment,
  Feature,
  PageSignal,
  Probe,
  Socket,
  SocketEvents,
} from "./environment.js";
export { type Code, type ErrorOptions, RealtimeError, Unauthorized } from "./error.js";
export {
  type Arguments,
  type Ask,
  ask,
  describe,
  type Endpoint,
  type Event,
  event,
  mutation,
  type Place,
  type Procedure,
  type ProcedureOptions,
  place,
  query,
  type Subscription,
  subscription,
} from "./names.js";
export type { Begun } from "./operations.js";
export type { Fallback, Options } from "./options.js";
export { type Members, PRESENCE, type PresenceNotice, type Present, present } from "./presence.js";
export type { OfflineQueue } from "./queue.js";
export { isTemporary, type Refusal } from "./refusal.js";
export { type Cause, describeCause, type State } from "./state.js";
export type { Readable } from "./store.js";
export type { SubscribeHandlers, SubscribeOptions, Update, Updates, Written } from "./updates.js";
export type { Appended, Gap, Position, TopicGap } from "./wire.js";
