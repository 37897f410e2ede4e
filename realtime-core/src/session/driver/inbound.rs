use super::{Carrier, Driver};
use crate::ledger::{Account, Class};

impl<T: Carrier> Driver<T> {
    /// Counts the input that stays while the driver is parked.
    #[inline]
    pub(super) fn count_inbound(&mut self) {
        let waits = !self.decoder.is_at_rest() || !self.tail.is_empty() || !self.session.client.is_idle();
        let calls_wait = || self.calls.as_ref().is_some_and(|calls| calls.waiting_bytes() > 0);
        if waits || self.inbound.is_some() || calls_wait() {
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
