#![doc = include_str!("../README.md")]

pub mod protocol;
pub mod validate;
pub mod websocket;

mod answer;
mod broker;
mod chunks;
mod config;
mod connection;
mod context;
mod cors;
mod endpoint;
mod error;
mod events;
mod function;
mod handler;
mod head;
mod hub;
mod input;
mod item;
mod message;
mod middleware;
mod mount;
mod names;
mod origins;
mod overflow;
mod peer;
mod presence;
mod proxies;
mod rate_limit;
mod realtime;
mod reject;
mod runtime;
mod session;
mod spare;
mod sync;
mod text;
mod topic;
mod transport;
mod upgrade;
mod whole;

pub use async_trait::async_trait;
pub use broker::{Broker, MemoryBroker, Publication};
#[cfg(feature = "deflate")]
pub use config::Deflate;
pub use config::{Config, Rate, Rates};
pub use connection::{AnyConnection, Audience, Connection, SendError};
pub use context::Context;
pub use cors::Cors;
pub use endpoint::{Call, Endpoint, Guard};
pub use error::{Code, Error, Result};
pub use function::{FnConnection, Function, handler_fn};
pub use handler::Handler;
pub use hub::{Drained, Principal};
pub use ipnet::IpNet;
pub use item::{IntoItem, Item, Position};
pub use message::Message;
pub use middleware::{Accepted, Middleware, Next};
pub use mount::{IntoMount, Mount};
pub use names::{Event, Procedure, Subscription};
pub use origins::Origins;
pub use overflow::{Gap, Overflow};
pub use peer::PrivatePeers;
pub use presence::{PRESENCE, Presence, PresenceNotice, Present};
pub use proxies::ForwardingHeader;
pub use rate_limit::RateLimit;
pub use realtime::{Builder, Realtime, Stats};
pub use reject::Reject;
pub use session::ConnectionId;
pub use topic::Topic;
pub use websocket::{Close, CloseCode, Initiator};

/// For the authors of adapters: what they bring, and what they are given.
pub mod raw {
    pub use crate::{
        answer::Answer,
        chunks::Chunks,
        context::RequestHead,
        events::EventStream,
        hub::TICK,
        item::Offset,
        runtime::{BoxFuture, Runtime},
        transport::{SendQueue, Transport},
        upgrade::{ConnectionPermit, Upgrade},
    };
}
