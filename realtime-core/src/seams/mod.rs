//! The traits that others implement: a client's transport, the link to other nodes, the async runtime.
//!
//! May import `util` and `websocket`, whose frames a [`SendQueue`] holds.

mod broker;
mod runtime;
mod send_queue;
mod transport;

pub use broker::{Broker, MemoryBroker, Publication};
pub use runtime::{BoxFuture, Runtime};
pub use send_queue::SendQueue;
pub(crate) use send_queue::{put_queue, take_queue};
pub use transport::Transport;
