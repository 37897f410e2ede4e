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

#[derive(Debug)]
enum Item {
    /// The address behind its last byte, and its bytes when it was counted.
    Own { end: usize, bytes: usize },
    /// Held, so that no other frame gets its address while it is counted by that.
    Shared(Bytes),
}

impl Item {
    fn end(&self) -> usize {
        match self {
            Self::Own { end, .. } => *end,
            Self::Shared(buffer) => end_of(buffer),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Own { bytes, .. } => *bytes,
            Self::Shared(buffer) => buffer.len(),
        }
    }

    /// Returns true if it counts this buffer, of which some may have been written since.
    fn is_of(&self, buffer: &Bytes) -> bool {
        self.end() == end_of(buffer) && self.bytes() >= buffer.len()
    }
}

/// Bytes of a frame's place in a queue: its reference and its item on the bill, 32 each; both queues grow by doubling.
pub(crate) const PLACE: usize = 96;

const _: () = assert!(size_of::<Item>() <= 32, "it is counted as 32 bytes");

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
        let known = known.take_while(|(item, buffer)| item.is_of(buffer)).count();
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
        let of = |buffer| self.items.iter().position(|item| item.is_of(buffer));
        let found = buffers.take(JOINED).enumerate().find_map(|(fresh, buffer)| Some((fresh, of(buffer)?)));
        found.unwrap_or((0, self.items.len()))
    }

    fn push(&mut self, buffer: &Bytes) {
        let item = self.enter(buffer);
        self.items.push_back(item);
    }

    fn enter(&mut self, buffer: &Bytes) -> Item {
        self.bytes += buffer.len();
        self.ledger.add(Class::Places, PLACE);
        if buffer.is_unique() {
            self.ledger.add(Class::Own, buffer.len());
            return Item::Own { end: end_of(buffer), bytes: buffer.len() };
        }
        self.ledger.add_shared(end_of(buffer), buffer.len());
        Item::Shared(buffer.clone())
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
        self.bytes -= item.bytes();
        self.ledger.sub(Class::Places, PLACE);
        match &item {
            Item::Own { bytes, .. } => self.ledger.sub(Class::Own, *bytes),
            // And freed only then.
            Item::Shared(buffer) => self.ledger.sub_shared(end_of(buffer)),
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
