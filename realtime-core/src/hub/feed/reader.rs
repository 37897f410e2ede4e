//! The state of a copy of a log: the place up to which it goes, and what is to be read.

use super::{replica::Means, wants::Wants};
use crate::{
    ledger::{Account, Class, Ledger},
    seams::{Proof, Record},
    util::Wakers,
};
use realtime_protocol::{Error, Position};
use std::{collections::VecDeque, mem, sync::Arc};

/// The state of a copy. Changed under the order lock of its feed.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) stage: Stage,
    /// The place up to which the log is copied.
    pub(super) end: End,
    /// The newest part of the log, while it is being read.
    pub(super) part: Part,
    /// Records that came while something before them was missing.
    pub(super) waiting: VecDeque<Record>,
    /// Bytes of all of them.
    pub(super) bytes: usize,
    pub(super) account: Option<Account>,
    /// Some did not fit: they are read.
    pub(super) overflowed: bool,
    /// The number of the last read that was asked for, and of the last one that is done.
    pub(super) asked: u64,
    pub(super) done: u64,
    /// The number of the read under way, if there is one.
    pub(super) under_way: Option<u64>,
    /// The entries before the copy that are wanted.
    pub(super) wants: Wants,
    pub(super) turn: Turn,
    /// The tick at which the copy was last known to be up to date.
    pub(super) heard: u32,
    /// The offset of the newest entry that this node has appended, as far as it is known.
    pub(super) written: u64,
    /// The reason why the last read has failed, for those who wait.
    pub(super) problem: Option<Error>,
    pub(super) wakers: Wakers,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is known of the log.
    #[default]
    New,
    /// Its newest part is being read.
    Loading,
    /// Something may be missing behind the end.
    Catching,
    Live,
}

/// The place of a feed among those that are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    #[default]
    Idle,
    /// It is read, or waits for that.
    Queued,
    /// Its past waits for room, and nothing else is to be read.
    Parked,
}

/// The newest part of a log, as far as it is read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) base: Position,
    pub(super) records: VecDeque<Record>,
    pub(super) bytes: usize,
}

impl Default for Part {
    fn default() -> Self {
        Self { base: Position::new("0", 0), records: VecDeque::new(), bytes: 0 }
    }
}

impl Part {
    /// Adds a record, and drops older ones over `most` bytes.
    pub(super) fn add(&mut self, record: Record, most: usize) {
        self.bytes += record.size();
        self.records.push_back(record);
        while self.bytes > most && self.records.len() > 1 {
            let Some(oldest) = self.records.pop_front() else { return };
            self.bytes -= oldest.size();
            self.base = oldest.position(oldest.last());
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct End {
    pub(super) epoch: String,
    pub(super) offset: u64,
    /// Not known before the first record of a part.
    pub(super) proof: Option<Proof>,
}

/// The next thing to ask the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Top,
    /// The entries behind this offset.
    Page(u64),
    /// Those behind an offset that is before the copy.
    Past(u64),
}

/// Records that may wait for one feed, and their bytes: what does not fit is read.
const WAITING: usize = 256;
const WAITING_BYTES: usize = 256 * 1024;

impl Reader {
    /// Returns true if somebody has to read.
    pub(super) fn queue(&mut self) -> bool {
        mem::replace(&mut self.turn, Turn::Queued) != Turn::Queued
    }

    /// The same for what is before the copy, which is read later if there is no room for it now.
    pub(super) fn queue_for_past(&mut self) -> bool {
        self.turn == Turn::Idle && self.queue()
    }

    /// Notes that its past waits for room. Returns false if something else is to be read.
    pub(super) fn park(&mut self) -> bool {
        let may_wait = self.stage == Stage::Live && self.done >= self.asked;
        if may_wait {
            self.turn = Turn::Parked;
        }
        may_wait
    }

    /// Returns true if its past may be read again.
    pub(super) fn unpark(&mut self) -> bool {
        self.turn == Turn::Parked && self.queue()
    }

    pub(super) fn begin_read(&mut self) {
        if self.under_way.is_none() {
            self.under_way = Some(self.asked);
        }
    }

    /// Reads the newest part anew: the log is not the one that was copied.
    pub(super) fn load_anew(&mut self) {
        self.stage = Stage::Loading;
        (self.end, self.part) = (End::default(), Part::default());
    }

    /// Goes on behind `base`, as the part that is read does.
    pub(super) fn begin_part(&mut self, base: Position) {
        self.end = End::of(&base);
        self.part = Part { base, ..Part::default() };
    }

    pub(super) fn wait(&mut self, record: Record, means: &Means<'_>, ledger: &Arc<Ledger>) {
        let bytes = record.size();
        let fits = self.waiting.len() < WAITING && self.bytes + bytes <= WAITING_BYTES && means.may_wait;
        if !fits {
            self.overflowed = true;
            return;
        }
        self.bytes += bytes;
        self.waiting.push_back(record);
        self.count(ledger);
    }

    pub(super) fn take_waiting(&mut self) -> Option<Record> {
        let record = self.waiting.pop_front()?;
        self.bytes -= record.size();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(record)
    }

    pub(super) fn count(&mut self, ledger: &Arc<Ledger>) {
        let bytes = self.bytes + self.part.bytes;
        if bytes == 0 {
            self.account = None;
        } else {
            self.account.get_or_insert_with(|| Account::new(ledger, Class::Broker)).set(bytes);
        }
    }
}

impl End {
    pub(super) fn of(position: &Position) -> Self {
        let proof = position.proof.as_ref().and_then(|proof| proof.parse().ok());
        Self { epoch: position.epoch.clone(), offset: position.offset, proof }
    }

    pub(super) fn behind(record: &Record) -> Self {
        Self { epoch: record.epoch.clone(), offset: record.last(), proof: Some(record.proof) }
    }

    /// Returns true if the record is the next one in a history that ends here.
    pub(super) fn connects(&self, record: &Record) -> bool {
        record.first == self.offset + 1 && self.proof == Some(record.base)
    }

    /// The same for a record that was brought, and may be late: of another reign, it may have been lost since.
    pub(super) fn connects_now(&self, record: &Record) -> bool {
        self.connects(record) && self.epoch == record.epoch
    }

    pub(super) fn is_at(&self, position: &Position) -> bool {
        let proof = position.proof.as_ref().and_then(|proof| proof.parse().ok());
        position.offset == self.offset && proof.is_some() && proof == self.proof
    }

    /// Returns the position to go on behind if that is not the end, because the log does not have what is between: it was
    /// dropped, or is none of its records. `None` if the log is not the one that ends here.
    pub(super) fn gap_before(&self, next: &Record) -> Option<Option<Position>> {
        if self.connects(next) {
            return Some(None);
        }
        let base = Position::new(&*next.epoch, next.first.saturating_sub(1)).with_proof(next.base.to_string());
        let begins_later = next.first > self.offset + 1;
        // At the beginning of a copy nothing is known that the first record has to follow.
        let may_go = self.proof.is_none() || (begins_later && self.may_skip(&next.epoch));
        may_go.then_some(Some(base))
    }

    /// The same where the log has no record behind the end.
    pub(super) fn gap_before_top(&self, top: &Position) -> Option<Option<Position>> {
        if self.is_at(top) {
            return Some(None);
        }
        let may_go = top.offset > self.offset && self.may_skip(&top.epoch);
        may_go.then(|| Some(top.clone()))
    }

    /// Returns true if nothing of the log was lost since the end: entries are only dropped because they are old.
    pub(super) fn may_skip(&self, epoch: &str) -> bool {
        self.proof.is_none() || self.epoch == epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::{Body, Logged, Writer};

    fn record(epoch: &str, first: u64, base: Proof, tag: u64) -> Record {
        let entries = vec![Logged { json: "7".into(), whole: None, key: None }; 2];
        let body = Body { writer: Writer { node: 1, number: tag }, time: 0, entries };
        Record { topic: "t".into(), epoch: epoch.into(), first, base, proof: base.after(tag), body }
    }

    fn top(of: &Record) -> Position {
        of.position(of.last())
    }

    #[test]
    fn a_record_that_connects_leaves_no_gap() {
        let first = record("a.1", 1, Proof::NONE, 1);
        let second = record("a.1", 3, first.proof, 2);
        let end = End::behind(&first);
        assert_eq!(end.gap_before(&second), Some(None));
        assert_eq!(end.gap_before_top(&top(&first)), Some(None));
        // Whatever has become of the epoch.
        let second = Record { epoch: "a.2".into(), ..second };
        assert_eq!(end.gap_before(&second), Some(None));
        assert!(end.connects(&second) && !end.connects_now(&second));
    }

    #[test]
    fn what_is_dropped_in_one_reign_is_skipped() {
        let end = End::behind(&record("a.1", 1, Proof::NONE, 1));
        let later = record("a.1", 9, Proof::new(5), 3);
        let base = Position::new("a.1", 8).with_proof(Proof::new(5).to_string());
        assert_eq!(end.gap_before(&later), Some(Some(base)));
        assert_eq!(end.gap_before_top(&top(&later)), Some(Some(top(&later))));
    }

    #[test]
    fn a_record_of_another_history_is_not_of_the_log() {
        let end = End::behind(&record("a.1", 1, Proof::NONE, 1));
        let other = record("a.1", 3, Proof::new(5), 2);
        let later = record("a.2", 9, Proof::new(5), 3);
        let lost = record("a.2", 1, Proof::NONE, 7);
        for record in [&other, &later, &lost] {
            assert_eq!(end.gap_before(record), None);
        }
        // Nothing is behind the end: it ends before, elsewhere at the same offset, or behind in another reign.
        let begin = Position::new("a.1", 0).with_proof(Proof::NONE.to_string());
        for top in [begin, top(&lost), top(&later)] {
            assert_eq!(end.gap_before_top(&top), None);
        }
    }

    #[test]
    fn a_part_keeps_its_newest_records() {
        let (first, mut part) = (record("a.1", 1, Proof::NONE, 1), Part::default());
        let second = record("a.1", 3, first.proof, 2);
        part.add(first.clone(), 1);
        assert_eq!((part.records.len(), part.bytes), (1, first.size()));
        part.add(second.clone(), 1);
        assert_eq!((part.records.len(), part.bytes), (1, second.size()));
        assert_eq!(part.base, top(&first));
    }
}
