use realtime_core::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The bytes that may wait for the server.
#[derive(Debug)]
pub(crate) struct Budget {
    taken: AtomicUsize,
    limit: usize,
}

/// A part of the budget, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

/// Bytes that a request takes beside its message, about.
const OVERHEAD: usize = 512;

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { taken: AtomicUsize::new(0), limit }
    }

    /// Takes a part. What is larger than all may wait alone.
    pub(crate) fn take(&self, bytes: usize) -> Result<Share<'_>> {
        let bytes = bytes + OVERHEAD;
        let before = self.taken.fetch_add(bytes, Relaxed);
        let share = Share { budget: self, bytes };
        if before > 0 && before + bytes > self.limit {
            drop(share);
            let text = format!("{before} bytes wait for Redis already, of {} at most", self.limit);
            return Err(Error::resource_exhausted(text));
        }
        Ok(share)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_budget_is_refused_until_something_has_gone() {
        let budget = Budget::new(2 * (100 + OVERHEAD));
        let first = budget.take(100).unwrap();
        let _second = budget.take(100).unwrap();
        assert!(budget.take(100).unwrap_err().is_retryable());
        drop(first);
        assert!(budget.take(100).is_ok());
    }

    #[test]
    fn what_is_larger_than_the_budget_waits_alone() {
        let budget = Budget::new(10);
        let large = budget.take(100).unwrap();
        assert!(budget.take(1).is_err());
        drop(large);
        assert!(budget.take(1).is_ok());
    }
}
