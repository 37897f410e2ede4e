//! The handles that applications hold: the registry of their node, a client, a topic, a feed.
//!
//! May import `calls` and the layers beneath it.

mod any_topic;
mod audience;
mod connection;
mod feed;
mod feed_updates;
mod join;
mod memory;
mod past;
mod realtime;
mod recipients;
mod send_error;
mod time;
mod topic;

pub use any_topic::AnyTopic;
pub use audience::Audience;
pub use connection::AnyConnection;
pub use feed::{Feed, Follow};
pub use feed_updates::{Begun, FeedUpdate, FeedUpdates};
pub use join::Join;
pub use memory::Memory;
pub use past::{History, Past};
pub use realtime::{Realtime, Stats};
pub use recipients::Recipients;
pub use send_error::SendError;
pub use time::{Interval, Sleep};
pub use topic::Topic;
