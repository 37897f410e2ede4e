use crate::item::offset;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The policy for messages of type `T` to a client that does not keep up.
///
/// A client keeps up while what it is sent leaves at once: there is room for a subscription's own share of the
/// outbox, and the client has granted it credit where it grants any. What is dropped is told in a [`Gap`].
pub struct Overflow<T>(#[doc(hidden)] pub Policy<T>);

/// What an [`Overflow`] says.
#[derive(Debug)]
pub enum Policy<T> {
    /// The stream waits.
    Block,
    /// So many of the newest wait.
    DropOldest(usize),
    /// The newest of each key waits.
    Conflate(fn(&T) -> String),
    /// The subscription or the connection ends.
    Close,
}

impl<T> Overflow<T> {
    /// The stream is not asked for more until the client has caught up. For subscriptions; a topic, whose publisher
    /// waits for nobody, closes instead.
    pub const fn block() -> Self {
        Self(Policy::Block)
    }

    /// The newest `count` messages wait, at least one, and older ones are dropped.
    pub const fn drop_oldest(count: usize) -> Self {
        Self(Policy::DropOldest(if count == 0 { 1 } else { count }))
    }

    /// Of the messages with one key only the newest waits. There may be 1024 keys; beyond that the oldest message is
    /// dropped.
    pub const fn conflate(key: fn(&T) -> String) -> Self {
        Self(Policy::Conflate(key))
    }

    /// Ends the subscription with `RESOURCE_EXHAUSTED`; a member of a topic is closed with 1013.
    pub const fn close() -> Self {
        Self(Policy::Close)
    }
}

impl<T> Clone for Policy<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Policy<T> {}

impl<T> Clone for Overflow<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Overflow<T> {}

impl<T> fmt::Debug for Overflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Policy::Block => f.write_str("block"),
            Policy::DropOldest(count) => write!(f, "drop_oldest({count})"),
            Policy::Conflate(_) => f.write_str("conflate"),
            Policy::Close => f.write_str("close"),
        }
    }
}

/// Messages that a client was not sent, in their place among those that it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Gap {
    /// How many; 0 if it is not known.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Count"))]
    pub count: u64,
    /// The offset of the first, where messages have one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "offset::option")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::Offset>"))]
    pub from: Option<u64>,
    /// The offset of the last.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "offset::option")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::Offset>"))]
    pub to: Option<u64>,
    /// Why: `overflow` if the client did not keep up, or a word of the application's.
    #[serde(default)]
    pub cause: String,
}

impl Gap {
    /// So many messages are missing.
    pub fn new(count: u64, cause: impl Into<String>) -> Self {
        Self { count, cause: cause.into(), ..Self::default() }
    }

    /// Adds the offsets of the first and the last that are missing.
    #[must_use = "the gap with its offsets is returned"]
    pub fn with_range(mut self, from: u64, to: u64) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }
}
