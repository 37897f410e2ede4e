use std::fmt;

/// The results of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Resident memory with all clients connected, and at its peak.
    pub(crate) idle: u64,
    pub(crate) peak: u64,
    /// The most that the ledger has counted.
    pub(crate) most_used: usize,
    /// Latency of the publications to clients that read.
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) deliveries: usize,
    /// Clients that read and were closed.
    pub(crate) lost_healthy: usize,
    /// Clients that got no ping.
    pub(crate) unpinged: usize,
    /// Messages that clients that read did not get.
    pub(crate) missing: u64,
    /// Clients closed for the budget, as the server counts them, and as they were told.
    pub(crate) closed: u64,
    pub(crate) told_closed: u64,
    /// Publications that were held back and dropped, to all clients together.
    pub(crate) dropped: u64,
    /// Clients that stay, and for which messages and gaps do not add up to what was published.
    pub(crate) unaccounted: usize,
    /// Messages of their own that clients who stay did not get, and how many were given back to the application.
    pub(crate) own_missing: u64,
    pub(crate) given_back: u64,
    /// Bytes on the ledger when all clients are gone.
    pub(crate) left: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        write!(
            f,
            "resident {:.0} MiB idle, {:.0} at most; ledger {:.2} MiB at most; p50 {} µs, p99 {} µs of {} deliveries; \
             {} closed, {} told; {} publications dropped",
            mib(self.idle),
            mib(self.peak),
            mib(self.most_used as u64),
            self.p50_us,
            self.p99_us,
            self.deliveries,
            self.closed,
            self.told_closed,
            self.dropped,
        )
    }
}
