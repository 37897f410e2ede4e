use super::{
    Log,
    entry::{Entry, Form},
};
use crate::{outbox::Keeping, websocket::Frame};
use realtime_protocol::Gap;
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
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    /// A later entry has the same key.
    superseded: bool,
    forms: Vec<(Form, Frame)>,
    bytes: usize,
}

/// The next thing behind a cursor.
#[derive(Debug)]
pub(crate) enum Behind {
    Nothing,
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
    pub(super) fn next_due(&self) -> Option<u32> {
        self.slots.front().map(|slot| slot.entry.time.saturating_add(self.within))
    }

    /// Adds the next entry, and drops those that the log no longer keeps.
    pub(super) fn push(&mut self, entry: Arc<Entry>, form: Form, frame: Frame) {
        if let Some(key) = &entry.key {
            let before = self.keys.insert(Arc::clone(key), entry.position.offset);
            if let Some(slot) = before.and_then(|offset| self.slot_mut(offset)) {
                slot.superseded = true;
            }
        }
        let bytes = size_of_entry(&entry, &frame);
        self.used = entry.time;
        self.bytes += bytes;
        self.slots.push_back(Slot { entry, superseded: false, forms: vec![(form, frame)], bytes });
        while self.slots.len() > self.log.entries || (self.bytes > self.log.bytes && self.slots.len() > 1) {
            self.drop_oldest();
        }
    }

    /// Drops the entries that are too old.
    pub(super) fn trim(&mut self, now: u32) {
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
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
            self.keys = HashMap::new();
        }
    }

    /// Keeps a frame that was made of an entry, if it is still there.
    pub(super) fn keep(&mut self, offset: u64, form: Form, frame: &Frame) {
        let Some(slot) = self.slot_mut(offset) else { return };
        if slot.forms.iter().any(|(known, _)| *known == form) {
            return;
        }
        slot.forms.push((form, frame.clone()));
        let bytes = frame.len() + FORM_BYTES;
        slot.bytes += bytes;
        self.bytes += bytes;
        while self.bytes > self.log.bytes && self.slots.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Returns what stands behind `cursor` for a follower with this policy. The cursor is moved over a gap.
    pub(super) fn behind(&self, cursor: &mut u64, keeping: Keeping, form: Option<Form>) -> Behind {
        let (from, end) = (*cursor + 1, self.end());
        if from > end {
            return Behind::Nothing;
        }
        let (to, cause) = self.next_for(from, keeping);
        if to > from {
            *cursor = to - 1;
            return Behind::Gap(Gap::new(to - from, cause).with_range(from, to - 1));
        }
        let Some(slot) = self.slot(from) else { return Behind::Nothing };
        let frame = slot.forms.iter().find(|(known, _)| Some(*known) == form).map(|(_, frame)| frame.clone());
        Behind::Entry(Arc::clone(&slot.entry), frame)
    }

    /// Returns the offset of the next entry to send, and the reason why those before it are not sent.
    fn next_for(&self, from: u64, keeping: Keeping) -> (u64, &'static str) {
        if let Keeping::Newest(count) = keeping {
            let newest = (self.end() + 1).saturating_sub(count as u64);
            if newest > from && newest >= self.first {
                return (newest, "overflow");
            }
        }
        if self.first > from {
            return (self.first, "retention");
        }
        if keeping == Keeping::NewestOfEach {
            let skipped = self.slots.iter().skip((from - self.first) as usize).take_while(|slot| slot.superseded);
            return (from + skipped.count() as u64, "conflated");
        }
        (from, "")
    }

    /// Returns the newest `count` entries, oldest first.
    pub(super) fn newest(&self, count: usize) -> Vec<Arc<Entry>> {
        let skipped = self.slots.len().saturating_sub(count);
        self.slots.iter().skip(skipped).map(|slot| Arc::clone(&slot.entry)).collect()
    }

    fn slot(&self, offset: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(offset.checked_sub(self.first)?).ok()?)
    }

    fn slot_mut(&mut self, offset: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(offset.checked_sub(self.first)?).ok()?)
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
