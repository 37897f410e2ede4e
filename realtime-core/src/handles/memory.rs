use crate::ledger::{Class, Ledger};

/// Bytes held for all clients together, by class, and the acts that keep them within
/// [`Config::memory`](crate::Config::memory).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes that count for the limits: all of those below except `control`.
    pub used: usize,
    /// The logs of feeds.
    pub logs: usize,
    /// Frames of one client that its transport does not take, and items and answers that wait for credit or room.
    pub own: usize,
    /// Frames of several clients that wait for at least one of them, each counted once.
    pub shared: usize,
    /// The places of waiting frames in the queues, 96 bytes each.
    pub places: usize,
    /// Input that is incomplete, or waits for a handler.
    pub inbound: usize,
    /// Outcomes of calls with an idempotency key.
    pub outcomes: usize,
    /// Publications and entries that wait for the broker, and records of it that wait for others.
    pub broker: usize,
    /// The lists of clients that are [present](crate::Presence) on other nodes.
    pub presence: usize,
    /// Pings and pongs that wait.
    pub control: usize,
    /// Entries of logs that were dropped to stay within the limit.
    pub trimmed_entries: u64,
    /// Publications, and items of subscriptions, that were held back for a client and dropped.
    pub dropped_publications: u64,
    /// Connections, subscriptions and calls that were refused.
    pub refused: u64,
    /// Connections that were closed.
    pub closed: u64,
}

impl Memory {
    pub(super) fn of(ledger: &Ledger) -> Self {
        Self {
            used: ledger.total(),
            logs: ledger.of(Class::Logs),
            own: ledger.of(Class::Own),
            shared: ledger.of(Class::Shared),
            places: ledger.of(Class::Places),
            inbound: ledger.of(Class::Inbound),
            outcomes: ledger.of(Class::Outcomes),
            broker: ledger.of(Class::Broker),
            presence: ledger.of(Class::Presence),
            control: ledger.of(Class::Control),
            trimmed_entries: ledger.acts.trimmed.get(),
            dropped_publications: ledger.acts.dropped.get(),
            refused: ledger.acts.refused.get(),
            closed: ledger.acts.closed.get(),
        }
    }
}
