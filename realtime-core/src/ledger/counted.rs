use super::{Class, Ledger, bill::PLACE};
use bytes::Bytes;
use std::sync::Arc;

/// A shared frame that waits for one client outside of its queue, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    ledger: Arc<Ledger>,
    end: usize,
}

impl Counted {
    pub(crate) fn new(ledger: &Arc<Ledger>, frame: &Bytes) -> Self {
        let end = end_of(frame);
        ledger.add(Class::Places, PLACE);
        ledger.add_shared(end, frame.len());
        Self { ledger: Arc::clone(ledger), end }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.ledger.sub(Class::Places, PLACE);
        self.ledger.sub_shared(self.end);
    }
}

/// Returns the address behind the last byte.
pub(super) fn end_of(frame: &Bytes) -> usize {
    frame.as_ptr() as usize + frame.len()
}
