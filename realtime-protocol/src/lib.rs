#![doc = include_str!("../README.md")]

pub mod client;
pub mod format;
pub mod validate;

mod accept_key;
mod close;
mod connection_id;
mod error;
mod item;
mod message;
mod names;
mod overflow;
mod presence;
mod present_list;
#[cfg(feature = "schema")]
mod schema;
mod std_error;
mod text;
mod whole;

pub use accept_key::accept_key;
pub use close::{Close, CloseCode, Initiator};
pub use connection_id::ConnectionId;
pub use error::{Code, Error, Result};
pub use item::{Appended, IntoItem, Item, Offset, Position};
pub use message::{Data, Kind, Message};
pub use names::{Event, Procedure, Subscription};
pub use overflow::{Gap, Overflow};
pub use presence::{PRESENCE, Presence, PresenceNotice, Present};
pub use present_list::PresentList;

/// Items for the core and the clients alone: not part of the public interface.
#[doc(hidden)]
pub mod internal {
    #[cfg(feature = "schema")]
    pub use crate::schema::{Side, side};
    pub use crate::{
        accept_key::sha1,
        format::{Encoded, read_timeout},
        message::{is, same},
        names::check_path,
        overflow::Policy,
        text::clip,
    };
}
