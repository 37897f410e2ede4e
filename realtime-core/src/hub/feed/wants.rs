//! The parts of a log before the copy that somebody waits for.

use super::{FeedState, reader::Reader, replica::Replica};
use std::{
    collections::BTreeSet,
    task::{Context, Poll},
};

/// The parts that are wanted. They go with those who want them: there are no more than followers, and requests to follow.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// The offsets behind which requests want entries, each with the number of the request.
    requested: BTreeSet<(u64, u64)>,
    /// The number of the last request.
    last: u64,
    /// Followers may wait. Each knows itself for which entries.
    by_followers: bool,
}

impl Wants {
    pub(super) fn note_follower(&mut self) {
        self.by_followers = true;
    }

    /// Forgets the requests for what was read behind an offset, and for what is here or is no more.
    pub(super) fn serve(&mut self, after: u64, lacks_behind: impl Fn(u64) -> bool) {
        self.requested.retain(|(offset, _)| *offset != after && lacks_behind(*offset));
    }

    /// Forgets all: the log is another.
    pub(super) fn clear(&mut self) {
        self.requested = BTreeSet::new();
        self.by_followers = false;
    }
}

/// A request for the entries behind an offset, until it is dropped.
#[derive(Debug)]
pub(super) struct Want<'a> {
    replica: &'a Replica,
    place: (u64, u64),
}

impl<'a> Want<'a> {
    /// Returns the request, and true if somebody has to read.
    pub(super) fn new(replica: &'a Replica, after: u64) -> (Self, bool) {
        let mut reader = replica.lock();
        reader.wants.last += 1;
        let place = (after, reader.wants.last);
        reader.wants.requested.insert(place);
        (Self { replica, place }, reader.queue_for_past())
    }

    /// Ready when the entries have been read, or are no more.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let reader = self.replica.lock();
        if !reader.wants.requested.contains(&self.place) {
            return Poll::Ready(());
        }
        self.replica.wait(reader, cx);
        Poll::Pending
    }
}

impl Drop for Want<'_> {
    fn drop(&mut self) {
        self.replica.lock().wants.requested.remove(&self.place);
    }
}

impl FeedState {
    /// Returns the lowest offset behind which somebody waits for entries before the copy.
    pub(super) fn next_wanted(&self, reader: &mut Reader) -> Option<u64> {
        let requested = reader.wants.requested.first().map(|(offset, _)| *offset);
        if !reader.wants.by_followers {
            return requested;
        }
        let mut awaited: Option<u64> = None;
        self.followers.for_each(|follower| awaited = [awaited, follower.awaited()].into_iter().flatten().min());
        reader.wants.by_followers = awaited.is_some();
        [requested, awaited].into_iter().flatten().min()
    }
}
