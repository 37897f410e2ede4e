//! The traits for adapters and brokers: a client's transport, the link to other nodes, the async runtime. The wire format
//! is a seam too, and is in `realtime-protocol`, since both ends need it.
//!
//! May import `util` and `websocket`, whose frames a [`SendQueue`] holds.

mod broker;
mod runtime;
mod send_queue;
mod transport;

pub(crate) use broker::check_top;
pub use broker::{
    Abilities, AppendError, Arrival, Body, Broker, Draft, FollowChange, Logged, MemoryBroker, Missed, Page, Proof,
    Publication, Record, Retention, Source, Untaken, Writer,
};
pub use runtime::{BoxFuture, Runtime};
pub use send_queue::SendQueue;
pub(crate) use send_queue::{put_queue, take_queue};
pub use transport::Transport;
