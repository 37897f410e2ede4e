#![doc = include_str!("../README.md")]

// From the top to the bottom: each may import those behind it. `cargo xtask test --only boundaries` checks it.
mod builder;
mod calls;
mod config;
mod context;
mod endpoint;
mod handler;
mod handles;
mod hub;
mod outbox;
pub mod protocol;
mod request;
mod seams;
mod session;
mod util;
pub mod websocket;

pub use async_trait::async_trait;
pub use builder::Builder;
pub use calls::Principal;
#[cfg(feature = "deflate")]
pub use config::Deflate;
pub use config::{Config, Cors, Origins, Rate, RateLimit, Rates};
pub use context::{Context, ForwardingHeader};
pub use endpoint::{Call, Endpoint, Guard};
pub use handler::{Connection, FnConnection, Function, Handler, IntoMount, Mount, handler_fn};
pub use handles::{AnyConnection, Audience, Realtime, SendError, Stats, Topic};
pub use hub::Drained;
pub use ipnet::IpNet;
pub use realtime_protocol::{
    Close, CloseCode, Code, ConnectionId, Error, Event, Gap, Initiator, IntoItem, Item, Message, Overflow,
    PRESENCE, Position, Presence, PresenceNotice, Present, Procedure, Result, Subscription, validate,
};
pub use request::{Accepted, Middleware, Next, Reject};
pub use seams::{Broker, MemoryBroker, Publication};

/// For the authors of adapters: what they bring, and what they are given.
pub mod raw {
    pub use crate::{
        context::RequestHead,
        hub::ConnectionPermit,
        request::{Answer, EventStream, Upgrade},
        seams::{BoxFuture, Runtime, SendQueue, Transport},
        util::{Chunks, TICK},
    };
    pub use realtime_protocol::Offset;
}
