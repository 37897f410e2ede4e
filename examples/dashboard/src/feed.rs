use realtime_core::{Gap, Position};
use std::collections::VecDeque;

/// The last values of a sequence, with consecutive offsets from 1.
#[derive(Debug)]
pub(crate) struct Feed<T> {
    epoch: String,
    kept: VecDeque<T>,
    limit: usize,
    last: u64,
}

impl<T: Clone> Feed<T> {
    /// Creates an empty sequence that keeps the last `limit` values. The epoch must be different after each restart.
    pub(crate) fn new(epoch: String, limit: usize) -> Self {
        Self { epoch, kept: VecDeque::new(), limit, last: 0 }
    }

    pub(crate) fn push(&mut self, value: T) {
        self.kept.push_back(value);
        if self.kept.len() > self.limit {
            self.kept.pop_front();
        }
        self.last += 1;
    }

    /// Returns the position of the newest value.
    pub(crate) fn position(&self) -> Position {
        Position::new(self.epoch.clone(), self.last)
    }

    /// Returns the first value after a position, with its own position and the gap in between, if any.
    pub(crate) fn after(&self, position: &Position) -> Option<(T, Position, Option<Gap>)> {
        let first = self.last + 1 - self.kept.len() as u64;
        let (next, gap) = if position.epoch != self.epoch || position.offset > self.last {
            (first, Some(Gap::new(0, "restart")))
        } else if position.offset + 1 < first {
            let missing = first - 1 - position.offset;
            (first, Some(Gap::new(missing, "expired").with_range(position.offset + 1, first - 1)))
        } else {
            (position.offset + 1, None)
        };
        let value = self.kept.get((next - first) as usize)?.clone();
        Some((value, Position::new(self.epoch.clone(), next), gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(values: u64) -> Feed<u64> {
        let mut feed = Feed::new("b".into(), 3);
        (1..=values).for_each(|value| feed.push(value));
        feed
    }

    fn after(feed: &Feed<u64>, epoch: &str, offset: u64) -> Option<(u64, u64, Option<Gap>)> {
        let (value, position, gap) = feed.after(&Position::new(epoch, offset))?;
        assert_eq!(position.epoch, "b");
        Some((value, position.offset, gap))
    }

    #[test]
    fn the_value_after_a_position_is_the_next_one() {
        let feed = feed(5);
        assert_eq!(after(&feed, "b", 2), Some((3, 3, None)));
        assert_eq!(after(&feed, "b", 4), Some((5, 5, None)));
        assert_eq!(after(&feed, "b", 5), None);
        assert_eq!(feed.position(), Position::new("b", 5));
    }

    #[test]
    fn what_is_no_longer_kept_is_a_gap() {
        let gap = Gap::new(2, "expired").with_range(1, 2);
        assert_eq!(after(&feed(5), "b", 0), Some((3, 3, Some(gap))));
    }

    #[test]
    fn another_life_begins_with_what_is_kept() {
        let gap = Some(Gap::new(0, "restart"));
        assert_eq!(after(&feed(5), "a", 4), Some((3, 3, gap.clone())));
        assert_eq!(after(&feed(2), "b", 9), Some((1, 1, gap)));
        assert_eq!(after(&feed(0), "a", 4), None);
    }
}
