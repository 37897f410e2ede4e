//! RFC 6455 for the server role, without IO: bytes in, events out, and the other way round.
//!
//! Nothing here reads a socket, waits or knows of a session. [`Decoder`] turns any split of a
//! peer's bytes into the same [`Event`]s; [`Frame`] is one encoded frame, made once and shared by
//! all who are sent it; `handshake` decides whether a request may become a WebSocket. Compression
//! (RFC 7692) is behind the feature `deflate`.

mod decoder;
#[cfg_attr(not(feature = "deflate"), path = "no_deflate.rs")]
mod deflate;
mod frame;
pub(crate) mod handshake;
mod mask;

pub use decoder::{DecodeError, Decoder, Event, Limits};
pub use deflate::PerMessageDeflate;
pub(crate) use frame::{Draft, compose};
pub use frame::{Frame, Opcode};
pub use handshake::accept_key;
pub use mask::apply_mask;

pub use realtime_protocol::{Close, CloseCode, Data, Initiator, Kind};

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}
