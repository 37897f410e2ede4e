//! RFC 6455 for the server role, without IO: bytes in, events out, and the other way round.
//!
//! Nothing here reads a socket, waits or knows of a session. [`Decoder`] turns any split of a
//! peer's bytes into the same [`Event`]s; [`Frame`] is one encoded frame, made once and shared by
//! all who are sent it; `handshake` decides whether a request may become a WebSocket. Compression
//! (RFC 7692) is behind the feature `deflate`.

mod close;
mod decoder;
#[cfg_attr(not(feature = "deflate"), path = "no_deflate.rs")]
mod deflate;
mod frame;
pub(crate) mod handshake;
#[cfg(feature = "deflate")]
mod inflate;
mod mask;

pub use close::{Close, CloseCode, Initiator};
pub use decoder::{DecodeError, Decoder, Event, Limits};
pub use deflate::PerMessageDeflate;
pub(crate) use frame::{Draft, compose};
pub use frame::{Frame, Opcode};
pub use handshake::accept_key;
pub use mask::apply_mask;

use std::borrow::Cow;

/// The payload of one WebSocket message, borrowed from the read buffer where it arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// A text message: UTF-8, checked.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
}

impl Data<'_> {
    /// The payload's bytes, text or not.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// What kind of message this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }
}

/// The two kinds of WebSocket messages (RFC 6455, section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}
