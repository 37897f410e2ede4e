use super::{Class, Ledger, counted::end_of};
use bytes::Bytes;
use std::{collections::VecDeque, sync::Arc};

/// The account of one client whose transport takes nothing: the buffers that wait for it, in order. Dropping it takes
/// them off the ledger.
///
/// It keeps its own list, so that exactly what was counted is taken off again, whatever has become of the buffers.
#[derive(Debug)]
pub(crate) struct Bill {
    ledger: Arc<Ledger>,
    items: VecDeque<Item>,
    /// Bytes of all items.
    bytes: usize,
    /// The number of items that the driver has taken already.
    taken: usize,
    /// The size of the buffer that the client's small frames are joined in.
    joined: usize,
    control: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    /// The address behind the last byte.
    end: usize,
    bytes: usize,
    is_shared: bool,
}

/// Bytes of a frame's place in a queue: its reference, 32, and its item on the bill, 24; both queues grow by doubling.
pub(crate) const PLACE: usize = 64;

impl Bill {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Self {
        Self { ledger: Arc::clone(ledger), items: VecDeque::new(), bytes: 0, taken: 0, joined: 0, control: 0 }
    }

    /// Returns the bytes that wait for the client: what it would free if nobody else waited for the same.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.items.len() * PLACE + self.joined
    }

    /// Counts all that waits: the buffers that the driver has `taken`, and those `queued` behind them.
    pub(crate) fn settle<'a>(
        &mut self,
        taken: impl Iterator<Item = &'a Bytes> + Clone,
        queued: &'a VecDeque<Bytes>,
    ) {
        self.taken = taken.clone().count();
        let all = taken.chain(queued);
        let (fresh, stale) = self.align(all.clone());
        for _ in 0..stale {
            self.take_off_first();
        }
        let known = self.items.iter().zip(all.clone().skip(fresh));
        let known = known.take_while(|(item, buffer)| item.end == end_of(buffer)).count();
        while self.items.len() > known {
            self.take_off_last();
        }
        let mut front: Vec<_> = all.clone().take(fresh).collect();
        while let Some(buffer) = front.pop() {
            let item = self.enter(buffer);
            self.items.push_front(item);
        }
        for buffer in all.skip(fresh + known) {
            self.push(buffer);
        }
    }

    /// Counts what was queued since.
    pub(crate) fn follow(&mut self, queued: &VecDeque<Bytes>) {
        let known = self.items.len().saturating_sub(self.taken);
        for buffer in queued.range(known.min(queued.len())..) {
            self.push(buffer);
        }
    }

    /// Sets the size of the buffer that the client's small frames are joined in.
    pub(crate) fn set_joined(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.joined, bytes);
        self.ledger.change(Class::Own, before, bytes);
    }

    /// Sets the bytes of pings and pongs.
    pub(crate) fn set_control(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.control, bytes);
        self.ledger.change(Class::Control, before, bytes);
    }

    /// Returns how many of the buffers are new in front of those that are known, and how many items are before these.
    /// Buffers leave at the front and come at the back, so this is nearly always `(0, the number that were written)`.
    fn align<'a>(&self, buffers: impl Iterator<Item = &'a Bytes>) -> (usize, usize) {
        let of = |buffer| self.items.iter().position(|item| item.end == end_of(buffer));
        let found = buffers.take(JOINED).enumerate().find_map(|(fresh, buffer)| Some((fresh, of(buffer)?)));
        found.unwrap_or((0, self.items.len()))
    }

    fn push(&mut self, buffer: &Bytes) {
        let item = self.enter(buffer);
        self.items.push_back(item);
    }

    fn enter(&mut self, buffer: &Bytes) -> Item {
        let item = Item { end: end_of(buffer), bytes: buffer.len(), is_shared: !buffer.is_unique() };
        self.bytes += item.bytes;
        self.ledger.add(Class::Places, PLACE);
        match item.is_shared {
            true => self.ledger.add_shared(item.end, item.bytes),
            false => self.ledger.add(Class::Own, item.bytes),
        }
        item
    }

    fn take_off_first(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.take_off(item);
        }
    }

    fn take_off_last(&mut self) {
        if let Some(item) = self.items.pop_back() {
            self.take_off(item);
        }
    }

    fn take_off(&mut self, item: Item) {
        self.bytes -= item.bytes;
        self.ledger.sub(Class::Places, PLACE);
        match item.is_shared {
            true => self.ledger.sub_shared(item.end),
            false => self.ledger.sub(Class::Own, item.bytes),
        }
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        while !self.items.is_empty() {
            self.take_off_last();
        }
        self.set_joined(0);
        self.set_control(0);
    }
}

/// Buffers in front that a transport may have made of others: one that it has joined is written, and the rest follows.
const JOINED: usize = 3;
