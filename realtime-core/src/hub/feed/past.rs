//! Parts of a log that are older than the copy of it, as they were read from the broker for followers that are behind.

use super::{entry::Form, tail::Slot};
use crate::{
    ledger::{Account, Class, Ledger},
    websocket::Frame,
};
use realtime_protocol::Position;
use std::{collections::VecDeque, sync::Arc};

/// The parts that are held for a while, the last ones read.
#[derive(Debug, Default)]
pub(super) struct Past {
    parts: VecDeque<PastPart>,
    /// Entries before this offset are not in the log any more.
    pub(super) trimmed: u64,
    bytes: usize,
    account: Option<Account>,
}

/// A part of a log, behind a position.
#[derive(Debug)]
pub(super) struct PastPart {
    /// The position before the first entry.
    pub(super) base: Position,
    pub(super) slots: Vec<Slot>,
    /// The tick at which it was read.
    pub(super) read: u32,
}

/// Parts that are held for one feed, of 64 KiB: as much as a log has by default.
const PARTS: usize = 16;

impl Past {
    /// Adds a part, in place of the oldest one if there are enough.
    pub(super) fn add(&mut self, part: PastPart, ledger: &Arc<Ledger>) {
        if self.parts.len() >= PARTS
            && let Some(oldest) = self.parts.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
        self.bytes += part.bytes();
        self.parts.push_back(part);
        self.account.get_or_insert_with(|| Account::new(ledger, Class::Broker)).set(self.bytes);
    }

    /// Returns true if another part would replace one of this tick, which those who wait for it may not have seen.
    pub(super) fn is_full(&self, now: u32) -> bool {
        self.parts.len() >= PARTS && self.parts.front().is_some_and(|oldest| oldest.read >= now)
    }

    /// Drops parts that were read until this tick.
    pub(super) fn expire(&mut self, until: u32) {
        while self.parts.front().is_some_and(|oldest| oldest.read <= until)
            && let Some(oldest) = self.parts.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
        self.count();
    }

    fn count(&mut self) {
        if self.parts.is_empty() {
            self.account = None;
        } else if let Some(account) = &mut self.account {
            account.set(self.bytes);
        }
    }

    pub(super) fn slot(&self, offset: u64) -> Option<&Slot> {
        self.parts.iter().rev().find_map(|part| part.slots.get(part.index(offset)?))
    }

    /// Keeps a frame that was made of an entry, if it is still there.
    pub(super) fn keep(&mut self, offset: u64, form: Form, frame: &Frame) {
        let found = self.parts.iter_mut().rev().find_map(|part| {
            let index = part.index(offset)?;
            part.slots.get_mut(index)
        });
        self.bytes += found.map_or(0, |slot| slot.keep(form, frame));
        self.count();
    }

    /// Returns the position at an offset, if it is in one of the parts or before it.
    pub(super) fn position(&self, offset: u64) -> Option<&Position> {
        let base = self.parts.iter().map(|part| &part.base).find(|base| base.offset == offset);
        base.or_else(|| Some(&self.slot(offset)?.entry.position))
    }
}

impl PastPart {
    pub(super) fn new(base: Position, read: u32) -> Self {
        Self { base, slots: Vec::new(), read }
    }

    /// Returns the offset of its last entry.
    pub(super) fn last(&self) -> u64 {
        self.base.offset + self.slots.len() as u64
    }

    fn index(&self, offset: u64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.base.offset + 1)?).ok()
    }

    fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.bytes).sum()
    }
}
