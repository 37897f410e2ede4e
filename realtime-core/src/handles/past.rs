use super::{Feed, Realtime};
use realtime_protocol::{Error, Item, Position, Result};
use serde::de::DeserializeOwned;
use std::fmt;

/// The past of a feed; `last` says how much of it.
#[must_use = "nothing is read before `last`"]
pub struct Past<'a, T> {
    realtime: Realtime,
    feed: &'a Feed<T>,
}

impl<'a, T> Past<'a, T> {
    pub(super) fn new(realtime: Realtime, feed: &'a Feed<T>) -> Self {
        Self { realtime, feed }
    }

    /// Returns the newest `count` entries, or as many as are kept.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if an entry does not parse as `T`, and those of [`Realtime::position`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn last(self, count: usize) -> Result<History<T>>
    where
        T: DeserializeOwned,
    {
        let newest = self.realtime.0.newest_of(self.feed.name(), self.feed.log(), count).await?;
        let items = newest.entries.iter().map(|entry| {
            let value = serde_json::from_slice(entry.value.json()).map_err(Error::internal)?;
            Ok(Item::new(value).with_position(entry.position.clone()))
        });
        let items = items.collect::<Result<Vec<_>>>()?;
        Ok(History { whole: newest.begin.offset == 0, items, begin: newest.begin, end: newest.end })
    }
}

impl<T> fmt::Debug for Past<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Past").field("feed", &self.feed).finish_non_exhaustive()
    }
}

/// A part of the log of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct History<T> {
    /// The entries with their positions, oldest first.
    pub items: Vec<Item<T>>,
    /// The position before the first of them: who follows from here gets them again.
    pub begin: Position,
    /// The position of the newest entry: who follows from here gets what comes after.
    pub end: Position,
    /// Nothing was appended to this log before the items.
    pub whole: bool,
}
