//! The wire formats of a node: the shared ones (`realtime-protocol`), [`Plain`], server-sent events, and the registry
//! that numbers them.
//!
//! May import `websocket` and `util`.

mod events;
mod format;
mod plain;

pub(crate) use events::{END, Events, write_close, write_end, write_error, write_retry};
pub(crate) use format::{Carrier, Format, ProtocolId, Protocols};
pub use plain::Plain;
pub use realtime_protocol::format::{
    Encode, Json, MessagePack, Outgoing, Packet, Protocol, ReadWith, Value, ValueFormat, WriteWith,
};
