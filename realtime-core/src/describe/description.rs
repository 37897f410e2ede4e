//! The seam to `realtime-schema`: the names of a registry, and how the schemas of their types are made.

use super::Side;
use std::{fmt, panic::Location, time::Duration};

/// One name of a server, and how the schemas of its types are made.
///
/// A registry is a list of these. Several stand for an id: one for each name, and three for a handler of messages.
/// The [`Kind`] decides which sides a name has. A side that is missing was registered without a schema, and is an error.
///
/// # Examples
///
/// ```
/// use realtime_core::schema::{Description, Kind};
/// use std::time::Duration;
///
/// let add = Description {
///     sent: Some(|generator| generator.subschema_for::<(i64, i64)>()),
///     received: Some(|generator| generator.subschema_for::<i64>()),
///     ..Description::new("api", "add", Kind::Mutation { time_limit: Duration::from_secs(30) })
/// };
/// assert_eq!(add.name, "add");
/// ```
#[derive(Clone)]
pub struct Description {
    /// The id that the name belongs to.
    pub id: String,
    /// The name on the wire, dots included; empty for the types of a handler.
    pub name: String,
    /// The kind of thing that has this name.
    pub kind: Kind,
    /// The type that clients send.
    pub sent: Option<Side>,
    /// The type that clients receive.
    pub received: Option<Side>,
    /// The type of the progress reports of a procedure, which clients receive.
    pub progress: Option<Side>,
    /// The place in the source where the name was registered.
    pub at: Option<&'static Location<'static>>,
}

/// The kinds of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A procedure that changes something: its input is sent, its output received.
    Mutation {
        /// The time a call may take.
        time_limit: Duration,
    },
    /// A procedure that changes nothing: its input is sent, its output received.
    Query {
        /// The time a call may take.
        time_limit: Duration,
    },
    /// A subscription: its input is sent, its items are received.
    Subscription,
    /// An event that clients send.
    ClientEvent,
    /// An event that the server sends.
    ServerEvent,
    /// A procedure that the server calls on clients: its input is received, its output sent.
    Ask {
        /// The time a call may take.
        time_limit: Duration,
    },
    /// A place where clients are present: the data of each is received.
    Presence,
    /// The input of a handler, sent in the URL.
    Input,
    /// The messages to a handler, which clients send.
    ClientMessage,
    /// The messages of a handler, which clients receive.
    ServerMessage,
}

impl Description {
    /// A name without schemas.
    pub fn new(id: impl Into<String>, name: impl Into<String>, kind: Kind) -> Self {
        Self { id: id.into(), name: name.into(), kind, sent: None, received: None, progress: None, at: None }
    }

    /// Returns true if no side that its kind has is missing.
    pub fn is_complete(&self) -> bool {
        (self.sent.is_some() || !self.kind.is_sent()) && (self.received.is_some() || !self.kind.is_received())
    }
}

impl Kind {
    fn is_sent(self) -> bool {
        !matches!(self, Self::ServerEvent | Self::Presence | Self::ServerMessage)
    }

    fn is_received(self) -> bool {
        !matches!(self, Self::ClientEvent | Self::Input | Self::ClientMessage)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Input => write!(f, "input of {}", self.id)?,
            Kind::ClientMessage => write!(f, "client messages of {}", self.id)?,
            Kind::ServerMessage => write!(f, "server messages of {}", self.id)?,
            _ => write!(f, "{}/{}", self.id, self.name)?,
        }
        self.at.map_or(Ok(()), |at| write!(f, " ({at})"))
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("complete", &self.is_complete())
            .finish_non_exhaustive()
    }
}
