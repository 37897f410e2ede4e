use crate::{connection_id::ConnectionId, names::Event};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, marker::PhantomData};

/// A place where clients are present, each with data of type `P`: a chat room, a document that is open.
///
/// A client that enters receives the list of clients that are present, then a [`PRESENCE`] event whenever one enters,
/// changes its data or leaves, a lost connection included. The list does not have the client itself; the event that it has
/// joined follows, and tells it its own entry. A [`PresentList`](crate::PresentList) keeps the list.
///
/// By default presence is per connection: a user with two pages open is present twice. See
/// [`by_principal`](Self::by_principal).
///
/// With a broker it is that of all nodes.
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
    by_principal: bool,
    data: PhantomData<fn(P) -> P>,
}

impl<P> Presence<P> {
    /// Creates a place with a name known at compile time.
    pub const fn fixed(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), by_principal: false, data: PhantomData }
    }

    /// Creates a place with a name chosen at run time: 1 to 256 bytes without control characters, as for a `Topic`. A
    /// place and a topic of the same name are unrelated.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), by_principal: false, data: PhantomData }
    }

    /// Counts users instead of connections: a `Principal` is present once, from its first connection that enters until its last
    /// has left, with a broker on all nodes. Its entry has the id of the connection with which it came, even after that one
    /// has left, and the data that was last set by any of them: of those that were set on several nodes, by one on a node where
    /// the user still is. Clients without a principal cannot enter.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::Presence;
    ///
    /// const ONLINE: Presence<String> = Presence::fixed("online").by_principal();
    /// ```
    #[must_use = "the changed place is returned"]
    pub const fn by_principal(mut self) -> Self {
        self.by_principal = true;
        self
    }

    /// Returns true if users are counted instead of connections.
    pub const fn is_by_principal(&self) -> bool {
        self.by_principal
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<P> Clone for Presence<P> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), by_principal: self.by_principal, data: PhantomData }
    }
}

impl<P> fmt::Debug for Presence<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presence({:?})", self.name)
    }
}

/// A connection that is present in a place, or a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Present_of_{P}"))]
#[non_exhaustive]
pub struct Present<P> {
    /// The connection; of a user, the one with which it came. Nodes may have different ones for one user.
    pub connection: ConnectionId,
    /// The data with which it entered, or its last change.
    pub data: P,
}

impl<P> Present<P> {
    /// Creates an entry for a connection with its data.
    pub fn new(connection: ConnectionId, data: P) -> Self {
        Self { connection, data }
    }
}

/// The event that reports clients entering, changing and leaving.
pub const PRESENCE: Event<PresenceNotice> = Event::new("presence");

/// A change of presence in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PresenceNotice {
    /// The place's name.
    pub name: String,
    /// All clients that are present; only in the first notice to a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<Vec<Present<serde_json::Value>>>,
    /// Clients that entered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Present<serde_json::Value>>,
    /// Clients whose data changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Present<serde_json::Value>>,
    /// Clients that left. One that left by itself is told so, with its own id, and is told no more of the place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<ConnectionId>,
}

impl PresenceNotice {
    /// Creates a notice without changes.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}
