use super::{Client, Hub};
use realtime_protocol::{CloseCode, Error, Result};
use std::{sync::Arc, time::Duration};

/// Keeping within [`Config::memory`](crate::Config::memory): what is freed, and in which order.
impl Hub {
    /// Frees memory if the budget is nearly used up. Called without locks, where something was queued.
    #[inline]
    pub(crate) fn keep_to_budget(&self) {
        if self.ledger.is_tight() {
            self.free();
        }
    }

    /// Fails while the budget has no room for new connections, subscriptions and calls.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED`, to be retried after a second.
    pub(crate) fn admit_to_budget(&self) -> Result {
        if !self.ledger.refuses() {
            return Ok(());
        }
        self.ledger.acts.refused.add(1);
        let error = Error::resource_exhausted("the server is short of memory");
        Err(error.with_retry_after(Duration::from_secs(1)))
    }

    /// The gentle first: entries of logs, of which followers are told; then publications of topics that may drop some;
    /// then whole clients.
    #[cold]
    fn free(&self) {
        let Some(_turn) = self.ledger.begin_freeing() else { return };
        let limits = self.ledger.limits();
        self.trim_logs();
        if self.ledger.total() > limits.shed {
            self.drop_held_back();
        }
        if self.ledger.total() >= limits.close {
            self.close_largest();
        }
    }

    /// Drops the oldest entries of the largest logs.
    fn trim_logs(&self) {
        let limits = self.ledger.limits();
        let excess = self.ledger.total().saturating_sub(limits.calm);
        let most = self.feeds.bytes().saturating_sub(excess).max(limits.logs);
        self.ledger.acts.trimmed.add(self.feeds.shrink(most));
    }

    /// Drops what waits of topics and subscriptions that drop or conflate, down to the newest publication or item; then what
    /// waits for subscriptions to topics.
    fn drop_held_back(&self) {
        let calm = self.ledger.limits().calm;
        let all = self.connections.all();
        // Their drivers do it, when they have their turns.
        all.iter().filter(|client| client.held_back.get() > 0).for_each(|client| client.outbox.signal_shed());
        let mut behind = all.iter().filter(|client| client.outbox.is_behind());
        while self.ledger.total() > calm
            && let Some(client) = behind.next()
        {
            self.ledger.acts.dropped.add(client.outbox.drop_older());
        }
        if self.ledger.total() > calm {
            self.ledger.acts.dropped.add(self.listeners.drop_older());
        }
    }

    /// Closes the clients for which most waits.
    fn close_largest(&self) {
        let waiting = |client: Arc<Client>| Some((client.waiting_bytes(), client)).filter(|(bytes, _)| *bytes > 0);
        let mut largest: Vec<_> = self.connections.all().into_iter().filter_map(waiting).collect();
        largest.sort_unstable_by_key(|(bytes, _)| *bytes);
        // What is held back is freed by the drivers, when they have their turns.
        let (mut closed, mut coming) = (0, 0);
        while self.ledger.total().saturating_sub(coming) > self.ledger.limits().relieved
            && let Some((_, client)) = largest.pop()
        {
            coming += client.held_back.get();
            closed += usize::from(client.close_waiting());
        }
        self.ledger.acts.closed.add(closed);
        let (used, memory) = (self.ledger.total(), self.config.memory);
        tracing::warn!(closed, used, memory, "out of memory: clients that do not read were closed");
    }
}

impl Client {
    /// Returns the bytes that are kept because the client takes nothing.
    fn waiting_bytes(&self) -> usize {
        self.outbox.waiting_bytes() + self.held_back.get()
    }

    /// Closes a client for which more waits than there is memory for. Returns false if that has begun already.
    fn close_waiting(&self) -> bool {
        self.close_discarding(CloseCode::TRY_AGAIN_LATER, "slow consumer: the server is short of memory")
    }
}
