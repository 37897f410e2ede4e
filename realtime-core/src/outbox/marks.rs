use super::queued::Queued;
use crate::seams::SendQueue;
use std::{collections::VecDeque, ops::Range};

/// A topic, as a hash of its name: two with one hash are too unlikely to matter.
pub(crate) type Tag = u64;

/// The frames of topics among the bytes of an outbox, so that those of one topic can be taken back.
///
/// A position counts all bytes that were ever queued. Bytes before `taken` are with the driver, and those behind it are
/// in the outbox.
#[derive(Debug)]
pub(super) struct Marks {
    list: VecDeque<Mark>,
    taken: u64,
    /// Ranges to remove from what the driver has, before it writes more.
    cuts: Vec<Range<u64>>,
}

/// Adjacent frames of one topic.
#[derive(Debug)]
struct Mark {
    topic: Tag,
    at: Range<u64>,
}

impl Marks {
    /// Creates marks for an outbox of which so many bytes are in flight.
    pub(super) fn new(in_flight: usize) -> Self {
        Self { list: VecDeque::new(), taken: in_flight as u64, cuts: Vec::new() }
    }

    /// Marks a frame that is queued behind `queued` bytes.
    #[inline]
    pub(super) fn add(&mut self, topic: Tag, queued: usize, bytes: usize) {
        let start = self.taken + queued as u64;
        let end = start + bytes as u64;
        match self.list.back_mut() {
            Some(last) if last.topic == topic && last.at.end == start && queued > 0 => last.at.end = end,
            _ => self.list.push_back(Mark { topic, at: start..end }),
        }
    }

    /// Notes that the driver takes all `queued` bytes, behind the `unbegun` ones that it has.
    pub(super) fn take(&mut self, queued: usize, unbegun: usize) {
        let begun = self.taken.saturating_sub(unbegun as u64);
        self.taken += queued as u64;
        while self.list.front().is_some_and(|mark| mark.at.end <= begun) {
            self.list.pop_front();
        }
        if self.list.is_empty() && self.list.capacity() > KEPT_MARKS {
            self.list = VecDeque::new();
        }
    }

    /// Returns true if the driver may have frames of this topic.
    pub(super) fn has_taken(&self, topic: Tag) -> bool {
        self.list.iter().any(|mark| mark.topic == topic && mark.at.end <= self.taken)
    }

    /// Removes the frames of a topic from `queued`; those that the driver has are removed by
    /// [`cut_taken`](Self::cut_taken).
    pub(super) fn cut(&mut self, topic: Tag, queued: &mut Queued) {
        let (taken, mut removed) = (self.taken, 0);
        let mut ranges = Vec::new();
        for mut mark in std::mem::take(&mut self.list) {
            if mark.topic != topic {
                mark.at = mark.at.start - removed..mark.at.end - removed;
                self.list.push_back(mark);
            } else if mark.at.end <= taken {
                self.cuts.push(mark.at);
            } else {
                removed += mark.at.end - mark.at.start;
                ranges.push((mark.at.start - taken) as usize..(mark.at.end - taken) as usize);
            }
        }
        if !ranges.is_empty() {
            queued.cut(&ranges);
        }
    }

    /// Removes from the driver's frames what was cut and is not begun to be written.
    pub(super) fn cut_taken(&mut self, queue: &mut SendQueue) {
        if self.cuts.is_empty() {
            return;
        }
        let begun = self.taken.saturating_sub(queue.unbegun() as u64);
        let mut cuts = std::mem::take(&mut self.cuts);
        cuts.sort_unstable_by_key(|cut| cut.start);
        // Of a mark whose first frames are begun, the others are left.
        let cuts: Vec<_> = cuts.into_iter().map(|cut| cut.start.max(begun)..cut.end.max(begun)).collect();
        let ranges = cuts.iter().map(|cut| (cut.start - begun) as usize..(cut.end - begun) as usize);
        queue.cut(&ranges.filter(|range| !range.is_empty()).collect::<Vec<_>>());
        // Positions count from the end of what is taken.
        for mark in self.list.iter_mut().filter(|mark| mark.at.end <= self.taken) {
            let behind = cuts.iter().filter(|cut| cut.start >= mark.at.end).map(|cut| cut.end - cut.start);
            let moved: u64 = behind.sum();
            mark.at = mark.at.start + moved..mark.at.end + moved;
        }
    }
}

/// A list that a burst has grown beyond this is freed when it is empty.
const KEPT_MARKS: usize = 16;
