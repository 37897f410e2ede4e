use futures_util::{Stream, stream};
use realtime_core::{Gap, Item, Position};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// A sequence of values that subscriptions follow, and resume from any position whose successors are kept. Clones share
/// it.
#[derive(Debug)]
pub(crate) struct Feed<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    epoch: String,
    limit: usize,
    kept: Mutex<Kept<T>>,
    /// The offset of the last value. Subscriptions wait for it to change.
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept<T> {
    values: VecDeque<T>,
    last: u64,
}

impl<T: Clone + Send + 'static> Feed<T> {
    /// Creates an empty sequence that keeps the last `limit` values. The epoch must be different after each restart.
    pub(crate) fn new(epoch: &str, limit: usize) -> Self {
        let kept = Mutex::new(Kept { values: VecDeque::new(), last: 0 });
        Self(Arc::new(Shared { epoch: epoch.to_owned(), limit, kept, last: watch::Sender::new(0) }))
    }

    pub(crate) fn push(&self, value: T) {
        let mut kept = self.kept();
        kept.values.push_back(value);
        if kept.values.len() > self.0.limit {
            kept.values.pop_front();
        }
        kept.last += 1;
        let last = kept.last;
        drop(kept);
        self.0.last.send_replace(last);
    }

    /// Returns the position of the newest value.
    pub(crate) fn position(&self) -> Position {
        Position::new(self.0.epoch.clone(), self.kept().last)
    }

    /// Returns the position before all values that are kept.
    pub(crate) fn start(&self) -> Position {
        let kept = self.kept();
        Position::new(self.0.epoch.clone(), kept.last - kept.values.len() as u64)
    }

    /// Yields the values after a position, with a gap where some are not kept.
    pub(crate) fn after(&self, position: Position) -> impl Stream<Item = Item<T>> + Send + use<T> {
        let feed = Self(Arc::clone(&self.0));
        let updates = feed.0.last.subscribe();
        stream::unfold((feed, updates, position), |(feed, mut updates, position)| async move {
            loop {
                updates.mark_unchanged();
                if let Some(item) = feed.next(&position) {
                    let position = item.position.clone()?;
                    return Some((item, (feed, updates, position)));
                }
                // Never fails: the sender belongs to the feed, which this stream holds.
                updates.changed().await.ok()?;
            }
        })
    }

    /// Returns the first value after a position.
    fn next(&self, position: &Position) -> Option<Item<T>> {
        let kept = self.kept();
        let first = kept.last + 1 - kept.values.len() as u64;
        let (offset, gap) = if position.epoch != self.0.epoch || position.offset > kept.last {
            (first, Some(Gap::new(0, "restart")))
        } else if position.offset + 1 < first {
            (first, Some(Gap::new(first - 1 - position.offset, "expired")))
        } else {
            (position.offset + 1, None)
        };
        let value = kept.values.get((offset - first) as usize)?.clone();
        let item = Item::new(value).with_position(Position::new(self.0.epoch.clone(), offset));
        Some(if let Some(gap) = gap { item.with_gap(gap) } else { item })
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(feed: &Feed<u32>, epoch: &str, offset: u64) -> Option<(u32, Option<u64>)> {
        let item = feed.next(&Position::new(epoch, offset))?;
        Some((item.value, item.after.map(|gap| gap.count)))
    }

    #[test]
    fn what_is_no_longer_kept_is_a_gap() {
        let feed = Feed::new("a", 3);
        (1..=5).for_each(|value| feed.push(value));
        assert_eq!(next(&feed, "a", 2), Some((3, None)));
        assert_eq!(next(&feed, "a", 5), None);
        assert_eq!(next(&feed, "a", 0), Some((3, Some(2))));
        assert_eq!(next(&feed, "another life", 4), Some((3, Some(0))));
        assert_eq!(next(&feed, &feed.start().epoch, feed.start().offset), Some((3, None)));
    }
}
