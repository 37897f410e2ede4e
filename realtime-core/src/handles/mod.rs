//! The handles that applications hold: the registry of their node, a client, a topic.
//!
//! May import `hub` and the layers beneath it.

mod audience;
mod connection;
mod realtime;
mod send_error;
mod topic;

pub use audience::Audience;
pub use connection::AnyConnection;
pub use realtime::{Realtime, Stats};
pub use send_error::SendError;
pub use topic::Topic;
