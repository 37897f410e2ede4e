#![doc = include_str!("../README.md")]

mod activity;
mod backoff;
mod builder;
mod call;
mod client;
mod connect;
mod dial;
mod drive;
mod error;
mod followed;
mod handlers;
mod handshake;
mod headers;
mod mailbox;
mod messages;
mod refusal;
mod serving;
mod session;
mod shared;
mod state;
mod task;
#[cfg(feature = "rustls")]
mod tls;
mod updates;
mod url;
mod wire;
mod within;

pub use backoff::Reconnect;
pub use builder::ClientBuilder;
pub use call::{CallOptions, PendingCall, Written};
pub use client::Client;
pub use error::{ClientError, Result};
pub use followed::{Followed, FollowedMessage};
pub use messages::Messages;
pub use realtime_protocol::{
    Appended, Code, Error, Event, Gap, PRESENCE, Position, Presence, PresenceNotice, Present, PresentList,
    Procedure, Subscription, client::Format,
};
pub use refusal::Refusal;
pub use session::OfflineQueue;
pub use state::{Cause, State, States};
pub use updates::{Update, Updates};
