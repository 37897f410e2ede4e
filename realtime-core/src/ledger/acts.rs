use crate::util::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The acts that keep the process within its budget, counted.
#[derive(Debug, Default)]
pub(crate) struct Acts {
    pub(crate) trimmed: Count,
    pub(crate) dropped: Count,
    pub(crate) refused: Count,
    pub(crate) closed: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
