#![doc = include_str!("../README.md")]

// The layers, from top to bottom: each may import those beneath it. `cargo xtask test --only boundaries` reads the
// order from here.

// Builds the registry of a node.
mod builder;

// Procedures, subscriptions and events, with their types.
mod endpoint;

// Message handlers, with their types.
mod handler;

// A request and its answer: checks, middleware, upgrade, call, event stream.
mod request;

// The handles of applications: `Realtime`, `AnyConnection`, `Topic`.
mod handles;

// One client: the driver, and the calls inside it.
mod session;

// Procedures, subscriptions and events, without their types.
mod calls;

// All clients of a node: topics, presence, timers.
mod hub;

// The send queue of one client.
mod outbox;

// The bytes held for all clients, against one budget.
mod ledger;

// The settings of an application.
mod config;

// A request as plain data.
mod context;

pub mod protocol;

// The traits that others implement.
mod seams;

pub mod websocket;

// The types of what is registered.
mod describe;

// Tools that know nothing of realtime.
mod util;

pub use async_trait::async_trait;
pub use builder::RealtimeBuilder;
pub use calls::{Answered, NextCall};
#[cfg(feature = "deflate")]
pub use config::Deflate;
pub use config::{Config, Cors, Origins, Rate, RateLimit, Rates};
pub use context::{Context, ForwardingHeader, Principal, PrivatePeers};
#[cfg(feature = "schema")]
pub use describe::Described;
pub use describe::{Bare, Gives, Takes};
pub use endpoint::{Around, Call, Connected, Endpoint, Guard};
pub use handler::{Connection, FnConnection, Function, Handler, IntoMount, Mount, handler_fn};
pub use handles::{
    AnyConnection, AnyTopic, Audience, Begun, Feed, FeedUpdate, FeedUpdates, Follow, History, Interval, Join,
    Memory, Past, Realtime, Recipients, SendError, Sleep, Stats, Topic,
};
pub use hub::{Drained, Log, Readiness, ShardReadiness, ShardState};
pub use ipnet::IpNet;
pub use realtime_protocol::{
    Appended, Close, CloseCode, Code, ConnectionId, Error, Event, Gap, Initiator, IntoItem, Item, Message,
    Overflow, PRESENCE, Position, Presence, PresenceNotice, Present, PresentList, Procedure, Result, Subscription,
    validate,
};
pub use request::{Accepted, Middleware, Next, Reject};
pub use seams::{AppendError, Broker, MemoryBroker};

/// The API for `realtime-schema`: the names of a registry, and the schemas of their types.
#[cfg(feature = "schema")]
pub mod schema {
    #[doc(inline)]
    pub use crate::describe::Side;
    pub use crate::describe::{Description, Kind};
}

/// The API for authors of brokers: what passes over the link between nodes.
pub mod broker {
    pub use crate::seams::{
        Abilities, AppendError, Arrival, Body, Broker, Draft, FollowChange, Logged, MemoryBroker, Missed, Page,
        Proof, Publication, Record, Retention, Source, Untaken, Writer,
    };
}

/// The API for adapter authors: the traits to implement, and the types to use.
pub mod raw {
    pub use crate::{
        context::{Ending, RequestHead},
        hub::ConnectionPermit,
        request::{Answer, EventStream, Route, Upgrade, error_response},
        seams::{BoxFuture, Runtime, SendQueue, Transport},
        util::{Chunks, TICK, register_waker},
    };
    pub use realtime_protocol::Offset;
}
