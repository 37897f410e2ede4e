use super::{Class, Ledger};
use std::sync::Arc;

/// The bytes of one holder, counted in one class until it is dropped.
#[derive(Debug)]
pub(crate) struct Account {
    ledger: Arc<Ledger>,
    class: Class,
    bytes: usize,
}

impl Account {
    pub(crate) fn new(ledger: &Arc<Ledger>, class: Class) -> Self {
        Self { ledger: Arc::clone(ledger), class, bytes: 0 }
    }

    pub(crate) fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.ledger.change(self.class, before, bytes);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(0);
    }
}
