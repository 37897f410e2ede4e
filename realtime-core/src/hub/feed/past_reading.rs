//! Reading what followers want of a log that is older than the copy of it. What is read is held for a while, so that all who
//! come back at about the same place are served by one page.

use super::{
    FeedState,
    entry::{Entry, Form, FormKind, Stored},
    past::PastPart,
    replica::Means,
    state::frame_of,
    tail::{Slot, Standing},
    wants::Want,
};
use crate::{
    hub::{Hub, members::Effects},
    seams::{Page, Proof, Record},
    util::{TICK, sync::Mutex},
};
use realtime_protocol::{Error, Position, Result};
use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Weak},
    time::Duration,
};

/// The feeds of which something older than their copy was read, with the tick of that.
#[derive(Debug, Default)]
pub(super) struct PastReads(Mutex<VecDeque<(u32, Weak<FeedState>)>>);

/// The time for which it is held: those who wait for it come at once.
const HELD: u32 = (Duration::from_secs(2).as_millis() / TICK.as_millis()) as u32;

impl PastReads {
    pub(super) fn note(&self, feed: &Arc<FeedState>, now: u32) {
        self.0.lock().push_back((now, Arc::downgrade(feed)));
    }

    /// Drops what has been held for long enough.
    pub(super) fn expire(&self, now: u32) {
        let Some(until) = now.checked_sub(HELD) else { return };
        let over: Vec<_> = {
            let mut reads = self.0.lock();
            let count = reads.iter().take_while(|(read, _)| *read <= until).count();
            reads.drain(..count).collect()
        };
        over.iter().filter_map(|(_, feed)| feed.upgrade()).for_each(|feed| feed.expire_past(until));
    }
}

impl Hub {
    /// Has the entries read that are older than the copy and for which a follower waits; it is woken then.
    pub(super) fn read_past(self: &Arc<Self>, feed: &Arc<FeedState>) {
        let Some(replica) = &feed.replica else { return };
        let must_read = {
            let mut reader = replica.lock();
            reader.wants.note_follower();
            reader.queue_for_past()
        };
        if must_read {
            self.read_soon(feed);
        }
    }

    /// Reads what is behind a position that is before the copy of the log: the log may still have it, and says whether the
    /// position is one of it.
    pub(super) async fn load_past(self: &Arc<Self>, feed: &Arc<FeedState>, after: Option<&Position>) {
        let (Some(replica), Some(after)) = (&feed.replica, after) else { return };
        if !feed.lacks_past(after) {
            return;
        }
        let (want, must_read) = Want::new(replica, after.offset);
        if must_read {
            self.read_soon(feed);
        }
        poll_fn(|cx| want.poll(cx)).await;
    }
}

impl FeedState {
    /// Returns true if nobody knows here what is behind a position, because it is before the copy.
    fn lacks_past(&self, after: &Position) -> bool {
        let tail = self.tail.lock();
        let is_before = after.offset < tail.first() - 1;
        is_before && tail.standing(after) != Standing::Proven && tail.lacks_behind(after.offset)
    }

    /// Drops what was read of the past until this tick.
    pub(super) fn expire_past(&self, until: u32) {
        self.tail.lock().expire_past(until);
    }

    /// Returns true if another page would take the place of one that those who wait for it may not have seen.
    pub(super) fn is_full_of_past(&self, now: u32) -> bool {
        self.tail.lock().past().is_some_and(|past| past.is_full(now))
    }

    /// Takes a page that was read behind an offset before the copy.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` if the log has changed since it was copied: it is read anew first.
    pub(super) fn take_past(&self, after: u64, page: Page, means: &Means<'_>, effects: &mut Effects) -> Result {
        let Some(replica) = &self.replica else { return Ok(()) };
        let _order = self.order.lock();
        let mut reader = replica.lock();
        // In one reign nothing is lost: the page is of the history of which the copy is the end.
        if reader.end.epoch != page.top.epoch {
            reader.asked += 1;
            return Err(Error::unavailable("the log has changed while its past was read"));
        }
        let records = page.records.into_iter().skip_while(|record| record.last() <= after);
        let (part, trimmed) = self.part(after, connected(records), means);
        let last = part.as_ref().map_or(after, PastPart::last);
        self.change(|tail| {
            part.into_iter().for_each(|part| tail.add_past(part, &self.ledger));
            tail.note_trimmed(trimmed);
            // Others may want what is before this page, since it was asked for.
            reader.wants.serve(after, |offset| tail.lacks_behind(offset));
        });
        // Those who want what is not there are served too: with a gap.
        let served = (after + 1).max(last).max(trimmed.saturating_sub(1));
        std::mem::take(&mut reader.wakers).for_each(|waker| effects.wake(Some(waker)));
        self.followers.for_each(|follower| follower.end_wait(served, effects));
        Ok(())
    }

    /// Makes a part of the records behind an offset. Returns the offset before which the log has nothing behind that, too.
    fn part(
        &self,
        after: u64,
        records: impl Iterator<Item = Record>,
        means: &Means<'_>,
    ) -> (Option<PastPart>, u64) {
        let mut records = records.peekable();
        let Some(first) = records.peek() else { return (None, u64::MAX) };
        let trimmed = if first.first > after + 1 { first.first } else { 0 };
        let base = Position::new(&*first.epoch, after.max(first.first - 1));
        let proof = if first.first <= after { first.proof } else { first.base };
        let mut part = PastPart::new(base.with_proof(proof.to_string()), means.now);
        for record in records {
            for slot in self.slots(record, part.last(), means) {
                let Some(slot) = slot else {
                    // One that cannot be written is passed over as what is gone.
                    let trimmed = if part.slots.is_empty() { part.last() + 2 } else { trimmed };
                    return (Some(part), trimmed);
                };
                part.slots.push(slot);
            }
        }
        (Some(part), trimmed)
    }

    /// Makes the entries of a record behind an offset; none of one that cannot be written.
    fn slots(&self, record: Record, after: u64, means: &Means<'_>) -> impl Iterator<Item = Option<Slot>> {
        let (first, time) = (record.first, means.tick_of(record.body.time));
        let at = record.position(first);
        let entries = (first..).zip(record.body.entries).skip_while(move |(offset, _)| *offset <= after);
        entries.map(move |(offset, logged)| {
            let position = Position { offset, ..at.clone() };
            let written = Stored::logged(logged).and_then(|(mut value, key)| {
                let frame = frame_of(means.protocols, &self.name, &mut value, &position)?;
                Ok((value, key, frame))
            });
            match written {
                Ok((value, key, frame)) => {
                    let form = Form { format: means.protocols.shared(), kind: FormKind::Item };
                    Some(Slot::new(Arc::new(Entry { position, value, key, time }), form, frame))
                }
                Err(error) => {
                    let offset = position.offset;
                    tracing::error!(feed = &*self.name, offset, ?error, "an entry cannot be sent to clients");
                    None
                }
            }
        })
    }
}

/// Returns the first records that follow each other. What is behind a hole is read next, as what begins later: between is a
/// record that no node has written.
fn connected(records: impl Iterator<Item = Record>) -> impl Iterator<Item = Record> {
    let mut before: Option<(u64, Proof)> = None;
    records.take_while(move |record| {
        let follows = before.is_none_or(|(last, proof)| record.first == last + 1 && record.base == proof);
        before = Some((record.last(), record.proof));
        follows
    })
}
