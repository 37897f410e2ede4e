//! A chat with rooms, presence and typing.
//!
//! [`Chat`] is the whole logic, independent of a framework; each main in `src/bin` mounts it on one. Messages go
//! through its handler, and commands are procedures under the same id. `tests` runs it in memory.

mod chat;
mod commands;
mod page;

pub use chat::{Chat, Event, Join, Person, Posted, Say};
pub use commands::{
    MEMBERS, RENAME, RENAMED, ROLL, ROLLED, Renamed, Rolled, SET_TOPIC, TOPIC_CHANGED, TopicChanged,
};
pub use example_address::{address, bound};
pub use page::{Site, asset};

use realtime_core::{Handler, Realtime, RealtimeBuilder};
use std::net::SocketAddr;

/// Builds the registry that all mains serve.
pub fn realtime() -> Realtime {
    builder().build()
}

/// Returns the registry before it is built, for a node that has a broker.
pub fn builder() -> RealtimeBuilder {
    let chat = Chat::default();
    Realtime::builder().handler("chat", chat.clone().described()).endpoint("chat", chat.endpoint())
}

/// Prints the address at which the chat is, and sets up logging.
pub fn announce(address: SocketAddr) {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    example_address::announce("The chat", format_args!("http://{address}"));
}
