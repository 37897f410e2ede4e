//! What applications hold: the registry of their node, a client, a topic.
//!
//! May import `hub` and what is beneath it.

mod connection;
mod realtime;
mod send_error;
mod topic;

pub use connection::{AnyConnection, Audience};
pub use realtime::{Realtime, Stats};
pub use send_error::SendError;
pub use topic::Topic;
