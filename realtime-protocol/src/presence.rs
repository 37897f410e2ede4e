use crate::{connection_id::ConnectionId, names::Event};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, marker::PhantomData};

/// A place where clients are present, each with data of type `P`: who is in a room, who looks at a document.
///
/// Who enters is sent the list of those who are here, and from then on a [`PRESENCE`]
/// event whenever someone comes, changes or goes, in whatever way it goes. Connections are told apart, so a user with two
/// pages is here twice.
///
/// What is known is what happens on this node.
///
/// # Examples
///
/// ```
/// use realtime_core::{Call, Presence, Result};
///
/// async fn join(call: Call<()>, (room, name): (String, String)) -> Result<usize> {
///     let here = Presence::new(format!("room:{room}"));
///     call.connection()?.enter(&here, &name)?;
///     Ok(call.realtime().present(&here).len())
/// }
/// ```
pub struct Presence<P> {
    name: Cow<'static, str>,
    data: PhantomData<fn(P) -> P>,
}

impl<P> Presence<P> {
    /// A place whose name is known when the code is compiled.
    pub const fn fixed(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), data: PhantomData }
    }

    /// A place whose name is made as it goes. A name has 1 to 256 bytes and no control characters, as that of a
    /// `Topic`; places and topics of one name have nothing to do with each other.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), data: PhantomData }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<P> Clone for Presence<P> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), data: PhantomData }
    }
}

impl<P> fmt::Debug for Presence<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presence({:?})", self.name)
    }
}

/// Someone who is present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Present_of_{P}"))]
#[non_exhaustive]
pub struct Present<P> {
    /// The connection.
    pub connection: ConnectionId,
    /// What it said of itself.
    pub data: P,
}

impl<P> Present<P> {
    /// A connection, and what it said of itself.
    pub fn new(connection: ConnectionId, data: P) -> Self {
        Self { connection, data }
    }
}

/// The event that tells who comes and goes.
pub const PRESENCE: Event<PresenceNotice> = Event::new("presence");

/// What happened in a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PresenceNotice {
    /// The place's name.
    pub name: String,
    /// All who are here; only in the first notice that a client is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<Vec<Present<serde_json::Value>>>,
    /// Those who came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Present<serde_json::Value>>,
    /// Those whose data is another now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Present<serde_json::Value>>,
    /// Those who went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<ConnectionId>,
}

impl PresenceNotice {
    /// A notice about a place, in which nothing has happened yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}
