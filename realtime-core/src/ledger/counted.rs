use super::{Class, Ledger};
use bytes::Bytes;
use std::sync::Arc;

/// Bytes of the place of a frame that is held back: 80 in a queue that grows by doubling, so half more.
pub(crate) const HELD_PLACE: usize = 120;

/// A frame that waits for one client outside of its queue, counted until this is dropped, which must be before the frame is.
#[derive(Debug)]
pub(crate) struct Counted {
    ledger: Arc<Ledger>,
    end: usize,
    /// The bytes of a frame that is this client's own; `None` for a shared one.
    own: Option<usize>,
}

impl Counted {
    /// Counts a frame that is shared if somebody else holds it.
    pub(crate) fn of(ledger: &Arc<Ledger>, frame: &Bytes) -> Self {
        if !frame.is_unique() {
            return Self::shared(ledger, frame);
        }
        ledger.add(Class::Places, HELD_PLACE);
        ledger.add(Class::Own, frame.len());
        Self { ledger: Arc::clone(ledger), end: end_of(frame), own: Some(frame.len()) }
    }

    pub(crate) fn shared(ledger: &Arc<Ledger>, frame: &Bytes) -> Self {
        let end = end_of(frame);
        ledger.add(Class::Places, HELD_PLACE);
        ledger.add_shared(end, frame.len());
        Self { ledger: Arc::clone(ledger), end, own: None }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.ledger.sub(Class::Places, HELD_PLACE);
        match self.own {
            Some(bytes) => self.ledger.sub(Class::Own, bytes),
            None => self.ledger.sub_shared(self.end),
        }
    }
}

/// Returns the address behind the last byte.
pub(super) fn end_of(frame: &Bytes) -> usize {
    frame.as_ptr() as usize + frame.len()
}
