use crate::item::offset;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The policy for messages of type `T` to a client that falls behind.
///
/// A client is behind when the subscription's share of its outbox is full, or when it grants credit and none is left.
/// Dropped messages are reported in a [`Gap`].
pub struct Overflow<T>(#[doc(hidden)] pub Policy<T>);

/// The kinds of [`Overflow`].
#[derive(Debug)]
pub enum Policy<T> {
    /// Stop polling the stream.
    Block,
    /// Queue this many of the newest messages.
    DropOldest(usize),
    /// Queue the newest message of each key.
    Conflate(fn(&T) -> String),
    /// End the subscription, or close the member of a topic.
    Close,
}

impl<T> Overflow<T> {
    /// Stops polling the stream until the client has caught up. For subscriptions: on a topic, whose publisher never
    /// waits, it is the same as [`close`](Self::close).
    pub const fn block() -> Self {
        Self(Policy::Block)
    }

    /// Queues the newest `count` messages (at least one) and drops older ones.
    pub const fn drop_oldest(count: usize) -> Self {
        Self(Policy::DropOldest(if count == 0 { 1 } else { count }))
    }

    /// Queues only the newest message of each key. With more than 1024 keys the oldest message is dropped.
    pub const fn conflate(key: fn(&T) -> String) -> Self {
        Self(Policy::Conflate(key))
    }

    /// Ends the subscription with `RESOURCE_EXHAUSTED`, or closes a member of a topic with 1013.
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

/// A run of messages that were not sent to a client, reported at their place in the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Gap {
    /// The number of missing messages; 0 if it is not known.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Count"))]
    pub count: u64,
    /// The offset of the first missing message, if messages have offsets.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "offset::option")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::Offset>"))]
    pub from: Option<u64>,
    /// The offset of the last missing message, if messages have offsets.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "offset::option")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::Offset>"))]
    pub to: Option<u64>,
    /// The cause: `overflow` if the client fell behind, or an application-defined word.
    #[serde(default)]
    pub cause: String,
}

impl Gap {
    /// Creates a gap of `count` messages.
    pub fn new(count: u64, cause: impl Into<String>) -> Self {
        Self { count, cause: cause.into(), ..Self::default() }
    }

    /// Adds the offsets of the first and last missing message.
    #[must_use = "the gap with its offsets is returned"]
    pub fn with_range(mut self, from: u64, to: u64) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }
}
