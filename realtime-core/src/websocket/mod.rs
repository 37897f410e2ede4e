//! RFC 6455 for the server role, without IO: bytes in, events out, and the other way round.
//!
//! [`Decoder`] turns a peer's bytes, however split, into [`Incoming`] items; [`Frame`] is one encoded frame, made once
//! and shared by all recipients; [`PerMessageDeflate`] is RFC 7692, behind the feature `deflate`.
//!
//! May import `util` alone: nothing here knows of sessions, of `Config` or of requests and refusals. Offers of compression
//! are read from header lines.

mod decode_error;
mod decoder;
#[cfg_attr(not(feature = "deflate"), path = "no_deflate.rs")]
mod deflate;
mod frame;
mod header;
#[cfg(feature = "deflate")]
mod inflate;
mod mask;

pub use decode_error::DecodeError;
pub use decoder::{Decoder, Incoming, Limits};
#[cfg(not(feature = "deflate"))]
pub(crate) use deflate::Deflate;
#[cfg(feature = "deflate")]
pub use deflate::Deflate;
pub use deflate::PerMessageDeflate;
pub(crate) use frame::{Draft, compose, compose_unframed};
pub use frame::{Frame, Opcode};
pub use mask::apply_mask;
pub use realtime_protocol::{Close, CloseCode, Data, Initiator, Kind, accept_key};

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}
