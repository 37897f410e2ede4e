use super::{
    Log,
    entry::{Entry, Form},
    past::{Past, PastPart},
};
use crate::{ledger::Ledger, outbox::Keeping, websocket::Frame};
use realtime_protocol::{Gap, Position};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// The entries of a log that are kept, and the facts that their lock protects.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) log: Log,
    /// `log.within`, in ticks.
    pub(super) within: u32,
    /// The offset of the first entry that is kept, or of the next one if none is.
    first: u64,
    slots: VecDeque<Slot>,
    /// The offset of the newest entry of each key.
    keys: HashMap<Arc<str>, u64>,
    bytes: usize,
    pub(super) followers: usize,
    /// The tick of the last use.
    pub(super) used: u32,
    /// It is removed: whoever wants the feed makes a new one.
    pub(super) ended: bool,
    /// The offset before which entries were dropped because the log has grown over its bytes.
    outgrown: u64,
    /// Set if the log is one that several nodes share.
    copied: Option<Box<Copied>>,
}

/// The facts about a log of which this is a copy.
#[derive(Debug)]
pub(super) struct Copied {
    /// The epoch of the newest entry.
    pub(super) epoch: String,
    /// The position before the first entry that is kept.
    pub(super) base: Position,
    /// The number of times that the log turned out to be another than the one that was copied.
    pub(super) restarts: u32,
    /// The position at which followers go on after the last time.
    pub(super) restart: Position,
    /// The parts of the log before the copy that were read.
    pub(super) past: Past,
}

/// The relation of a position to a log that several nodes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The log has its history up to there.
    Proven,
    /// It is of this log, and what is behind it is not kept any more.
    Dropped,
    /// Nothing says that it is of this log.
    Unproven,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: Arc<Entry>,
    /// A later entry has the same key.
    superseded: bool,
    forms: Vec<(Form, Frame)>,
    pub(super) bytes: usize,
}

/// The next thing behind a cursor.
#[derive(Debug)]
pub(crate) enum Behind {
    Nothing,
    /// Entries that are older than the copy: the broker may have them.
    Past,
    /// The log is another than the one that was followed; it goes on behind this position.
    Restarted(Position),
    /// Entries that the cursor has passed over.
    Gap(Gap),
    Entry(Arc<Entry>, Option<Frame>),
}

impl Tail {
    pub(super) fn new(log: Log, within: u32, now: u32) -> Self {
        Self {
            log,
            within,
            first: 1,
            slots: VecDeque::new(),
            keys: HashMap::new(),
            bytes: 0,
            followers: 0,
            used: now,
            ended: false,
            outgrown: 0,
            copied: None,
        }
    }

    /// Creates the copy of a log of which nothing is known yet.
    pub(super) fn copy(log: Log, within: u32, now: u32) -> Self {
        let nowhere = || Position::new("0", 0);
        let (base, restart) = (nowhere(), nowhere());
        let copied = Copied { epoch: "0".into(), base, restarts: 0, restart, past: Past::default() };
        Self { copied: Some(Box::new(copied)), ..Self::new(log, within, now) }
    }

    pub(super) fn restarts(&self) -> u32 {
        self.copied.as_ref().map_or(0, |copied| copied.restarts)
    }

    /// Returns the restarts of the log and the place at which followers go on, if it has restarted since so many.
    #[inline]
    pub(super) fn restarted_since(&self, restarts: u32) -> Option<(u32, &Position)> {
        let copied = self.copied.as_ref().filter(|copied| copied.restarts != restarts)?;
        Some((copied.restarts, &copied.restart))
    }

    /// Begins the copy anew, behind `base`. Followers go on behind `restart`.
    pub(super) fn begin_anew(&mut self, base: Position, restart: Position) {
        if let Some(copied) = &mut self.copied {
            copied.restarts += 1;
            copied.restart = restart;
            copied.past = Past::default();
        }
        self.skip_to(base);
        self.outgrown = 0;
    }

    /// Goes on behind `base`: what is kept, and what was between, is not any more.
    pub(super) fn skip_to(&mut self, base: Position) {
        self.slots = VecDeque::new();
        self.keys = HashMap::new();
        self.bytes = 0;
        self.first = base.offset + 1;
        if let Some(copied) = &mut self.copied {
            copied.epoch.clone_from(&base.epoch);
            copied.base = base;
        }
    }

    /// Notes the epoch that the log has now: its history is the same.
    pub(super) fn set_epoch(&mut self, epoch: &str) {
        if let Some(copied) = self.copied.as_mut().filter(|copied| copied.epoch != epoch) {
            epoch.clone_into(&mut copied.epoch);
        }
    }

    /// Returns what was read before the copy, if this is one.
    pub(super) fn past(&self) -> Option<&Past> {
        self.copied.as_ref().map(|copied| &copied.past)
    }

    /// Notes that the log has no entries before this offset any more, but for those of the copy.
    pub(super) fn note_trimmed(&mut self, trimmed: u64) {
        let first = self.first;
        if let Some(copied) = &mut self.copied {
            copied.past.trimmed = copied.past.trimmed.max(trimmed.min(first));
        }
    }

    /// Adds a part of the log that was read, up to the copy.
    pub(super) fn add_past(&mut self, mut part: PastPart, ledger: &Arc<Ledger>) {
        let first = self.first;
        let Some(copied) = &mut self.copied else { return };
        part.slots.truncate(first.saturating_sub(part.base.offset + 1) as usize);
        if !part.slots.is_empty() {
            copied.past.add(part, ledger);
        }
    }

    /// Drops what was read before the copy until this tick.
    pub(super) fn expire_past(&mut self, until: u32) {
        if let Some(copied) = &mut self.copied {
            copied.past.expire(until);
        }
    }

    /// Returns true if the entry behind this offset is here, and not too old.
    pub(super) fn has_kept_behind(&self, offset: u64, now: u32) -> bool {
        let is_kept = |slot: &Slot| !self.is_too_old(slot, now);
        self.first <= offset + 1 || self.past().and_then(|past| past.slot(offset + 1)).is_some_and(is_kept)
    }

    /// Returns true if the entry behind this offset is here.
    fn has_behind(&self, offset: u64) -> bool {
        let next = offset + 1;
        next >= self.first || self.past().is_some_and(|past| past.slot(next).is_some())
    }

    /// Returns true if the broker may have entries behind this offset that are not here.
    pub(super) fn lacks_behind(&self, offset: u64) -> bool {
        !self.has_behind(offset) && self.past().is_some_and(|past| offset >= past.trimmed.saturating_sub(1))
    }

    /// Returns how many of the newest entries the log has bytes for, if it was ever larger.
    pub(super) fn fitting(&self) -> Option<u64> {
        (self.outgrown > 0).then(|| (self.end() + 1).saturating_sub(self.outgrown))
    }

    /// Returns the position at this offset, if this is a copy; without a proof where it is not known any more.
    pub(super) fn position(&self, offset: u64) -> Option<Position> {
        let copied = self.copied.as_ref()?;
        let known = self.known_position(offset).cloned();
        Some(known.unwrap_or_else(|| Position::new(&*copied.epoch, offset)))
    }

    /// Returns the relation of a position to the log of which this is a copy.
    pub(super) fn standing(&self, of: &Position) -> Standing {
        let Some(copied) = &self.copied else { return Standing::Unproven };
        let known = self.known_position(of.offset);
        let is_of_epoch = of.epoch == copied.epoch;
        let is_proven = match &of.proof {
            Some(proof) => known.is_some_and(|known| known.proof.as_ref() == Some(proof)),
            None => known.is_some() && is_of_epoch,
        };
        if is_proven {
            Standing::Proven
        } else if known.is_none() && is_of_epoch && of.offset < self.first - 1 {
            Standing::Dropped
        } else {
            Standing::Unproven
        }
    }

    fn known_position(&self, offset: u64) -> Option<&Position> {
        // The offset may be a client's, and any number.
        if offset == self.first - 1 {
            return self.copied.as_ref().map(|copied| &copied.base);
        }
        match self.slot(offset) {
            Some(slot) => Some(&slot.entry.position),
            None => self.past()?.position(offset),
        }
    }

    /// Returns the offset of the newest entry, 0 before there was one.
    pub(super) fn end(&self) -> u64 {
        self.first - 1 + self.slots.len() as u64
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the tick at which the oldest entry is too old.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.slots.front().map(|slot| self.due(slot.entry.time))
    }

    /// Adds the next entry, and drops those that the log no longer keeps.
    pub(super) fn push(&mut self, entry: Arc<Entry>, form: Form, frame: Frame) {
        if let Some(key) = &entry.key {
            let before = self.keys.insert(Arc::clone(key), entry.position.offset);
            if let Some(slot) = before.and_then(|offset| self.slot_mut(offset)) {
                slot.superseded = true;
            }
        }
        self.used = self.used.max(u32::try_from(entry.time).unwrap_or(0));
        self.set_epoch(&entry.position.epoch);
        let slot = Slot::new(entry, form, frame);
        self.bytes += slot.bytes;
        self.slots.push_back(slot);
        while self.slots.len() > self.log.entries {
            self.drop_oldest();
        }
        self.drop_outgrown();
    }

    fn drop_outgrown(&mut self) {
        while self.bytes > self.log.bytes && self.slots.len() > 1 {
            self.drop_oldest();
            self.outgrown = self.first;
        }
    }

    /// Drops the entries that are too old.
    pub(super) fn trim(&mut self, now: i64) {
        while self.next_due().is_some_and(|due| due <= now) {
            self.drop_oldest();
        }
    }

    pub(super) fn drop_oldest(&mut self) {
        let Some(slot) = self.slots.pop_front() else { return };
        self.bytes -= slot.bytes;
        let offset = self.first;
        self.first += 1;
        if let Some(key) = &slot.entry.key
            && self.keys.get(key) == Some(&offset)
        {
            self.keys.remove(key);
        }
        if let Some(copied) = &mut self.copied {
            copied.base = slot.entry.position.clone();
        }
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
            self.keys = HashMap::new();
        }
    }

    /// Keeps a frame that was made of an entry, if it is still there.
    pub(super) fn keep(&mut self, offset: u64, form: Form, frame: &Frame) {
        if let Some(slot) = self.slot_mut(offset) {
            self.bytes += slot.keep(form, frame);
            self.drop_outgrown();
        } else if let Some(copied) = &mut self.copied {
            copied.past.keep(offset, form, frame);
        }
    }

    /// Returns what stands behind `cursor` for a follower with this policy. The cursor is moved over a gap.
    #[inline]
    pub(super) fn behind(&self, cursor: &mut u64, keeping: Keeping, form: Option<Form>, now: u32) -> Behind {
        let (from, end) = (*cursor + 1, self.end());
        if from > end {
            return Behind::Nothing;
        }
        let (to, cause) = self.next_for(from, keeping, now);
        if to == from && self.lacks_behind(*cursor) {
            return Behind::Past;
        }
        if to > from {
            *cursor = to - 1;
            return Behind::Gap(Gap::new(to - from, cause).with_range(from, to - 1));
        }
        let past = || self.past()?.slot(from);
        let Some(slot) = self.slot(from).or_else(past) else { return Behind::Nothing };
        let frame = form.and_then(|form| slot.frame(form));
        Behind::Entry(Arc::clone(&slot.entry), frame)
    }

    /// Returns the offset of the next entry to send, and the reason why those before it are not sent.
    fn next_for(&self, from: u64, keeping: Keeping, now: u32) -> (u64, &'static str) {
        if let Keeping::Newest(count) = keeping {
            let newest = (self.end() + 1).saturating_sub(count as u64);
            if newest > from && newest >= self.first {
                return (newest, "overflow");
            }
        }
        if self.first > from {
            return (self.next_past(from, now), "retention");
        }
        if keeping == Keeping::NewestOfEach {
            let skipped = self.slots.iter().skip((from - self.first) as usize).take_while(|slot| slot.superseded);
            return (from + skipped.count() as u64, "conflated");
        }
        (from, "")
    }

    /// Returns the offset of the next entry before those that are kept, from this one on. A log that several nodes share may
    /// still have entries that are too old.
    #[cold]
    fn next_past(&self, from: u64, now: u32) -> u64 {
        let Some(past) = self.past() else { return self.first };
        if past.slot(from).is_some() {
            let too_old = |offset: &u64| past.slot(*offset).is_some_and(|slot| self.is_too_old(slot, now));
            return from + (from..self.first).take_while(too_old).count() as u64;
        }
        if self.lacks_behind(from - 1) { from } else { past.trimmed.max(from) }
    }

    fn is_too_old(&self, slot: &Slot, now: u32) -> bool {
        self.due(slot.entry.time) <= now.into()
    }

    /// Returns the tick at which an entry of this time is too old.
    pub(super) fn due(&self, time: i64) -> i64 {
        time + i64::from(self.within)
    }

    /// Returns the newest `count` entries, oldest first.
    pub(super) fn newest(&self, count: usize) -> Vec<Arc<Entry>> {
        let skipped = self.slots.len().saturating_sub(count);
        self.slots.iter().skip(skipped).map(|slot| Arc::clone(&slot.entry)).collect()
    }

    fn slot(&self, offset: u64) -> Option<&Slot> {
        self.slots.get(self.index(offset)?)
    }

    fn slot_mut(&mut self, offset: u64) -> Option<&mut Slot> {
        let index = self.index(offset)?;
        self.slots.get_mut(index)
    }

    fn index(&self, offset: u64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.first)?).ok()
    }
}

impl Slot {
    pub(super) fn new(entry: Arc<Entry>, form: Form, frame: Frame) -> Self {
        let bytes = size_of_entry(&entry, &frame);
        Self { entry, superseded: false, forms: vec![(form, frame)], bytes }
    }

    /// Keeps a frame that was made of the entry. Returns the bytes that it takes.
    pub(super) fn keep(&mut self, form: Form, frame: &Frame) -> usize {
        if self.forms.iter().any(|(known, _)| *known == form) {
            return 0;
        }
        self.forms.push((form, frame.clone()));
        let bytes = frame.len() + FORM_BYTES;
        self.bytes += bytes;
        bytes
    }
}

impl Slot {
    #[inline]
    fn frame(&self, form: Form) -> Option<Frame> {
        self.forms.iter().find(|(known, _)| *known == form).map(|(_, frame)| frame.clone())
    }
}

/// Returns the bytes that an entry takes with its first frame, of which its JSON is a part.
pub(super) fn size_of_entry(entry: &Entry, frame: &Frame) -> usize {
    let key = entry.key.as_ref().map_or(0, |key| key.len());
    ENTRY_BYTES + frame.len() + key + entry.value.bytes()
}

/// Bytes of an entry beside its frame: the entry, its place, its epoch, the index of keys, and what the allocator
/// adds.
pub(super) const ENTRY_BYTES: usize = 320;

/// Bytes of a further frame beside its own.
const FORM_BYTES: usize = 64;
