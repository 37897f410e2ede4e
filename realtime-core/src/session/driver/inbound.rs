use super::{Carrier, Driver};
use crate::ledger::{Account, Class};

impl<T: Carrier> Driver<T> {
    /// Counts the input that stays while the driver is parked.
    #[inline]
    pub(super) fn count_inbound(&mut self) {
        let waits = !self.decoder.is_at_rest() || !self.tail.is_empty() || !self.session.client.is_idle();
        if waits || self.inbound.is_some() {
            self.count_waiting();
        }
    }

    #[cold]
    fn count_waiting(&mut self) {
        let queued = self.session.service.hooks.backlog(&self.session.client).bytes;
        let calls = self.calls.as_ref().map_or(0, |calls| calls.waiting_bytes());
        let bytes = self.decoder.held_bytes() + self.tail.held_bytes() + queued + calls;
        if bytes == 0 {
            return self.inbound = None;
        }
        let ledger = &self.session.client.hub.ledger;
        self.inbound.get_or_insert_with(|| Box::new(Account::new(ledger, Class::Inbound))).set(bytes);
    }
}
