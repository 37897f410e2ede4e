use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters since the hub was created.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) appended: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) slow_consumers: AtomicU64,
    pub(crate) broker_failures: AtomicU64,
}

impl Counters {
    pub(crate) fn slow_consumer(&self) {
        self.slow_consumers.fetch_add(1, Relaxed);
    }

    pub(crate) fn broker_failure(&self) {
        self.broker_failures(1);
    }

    pub(crate) fn broker_failures(&self, count: usize) {
        self.broker_failures.fetch_add(count as u64, Relaxed);
    }
}
