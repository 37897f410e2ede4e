use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// The hub's clock counts ticks of this length, and no timeout is finer.
///
/// 250 ms: heartbeats and timeouts are seconds, and four wake-ups a second cost nothing.
pub const TICK: Duration = Duration::from_millis(250);

/// Time in ticks since the hub began; it wraps after 34 years.
#[derive(Debug)]
pub(crate) struct Clock(AtomicU32);

impl Default for Clock {
    fn default() -> Self {
        // From 1: 0 stands for "no deadline".
        Self(AtomicU32::new(1))
    }
}

impl Clock {
    pub(crate) fn now(&self) -> u32 {
        self.0.load(Relaxed)
    }

    pub(crate) fn advance(&self, ticks: u32) {
        self.0.fetch_add(ticks, Relaxed);
    }

    /// A duration in ticks, at least one.
    pub(crate) fn ticks(&self, duration: Duration) -> u32 {
        let ticks = duration.as_millis().div_ceil(TICK.as_millis());
        u32::try_from(ticks).unwrap_or(u32::MAX / 4).clamp(1, u32::MAX / 4)
    }

    /// The tick at which `duration` has passed for certain: part of the present one is over.
    pub(crate) fn past(&self, duration: Duration) -> u32 {
        self.after(duration) + 1
    }

    /// The tick at which `duration` has passed.
    pub(crate) fn after(&self, duration: Duration) -> u32 {
        self.now() + self.ticks(duration)
    }
}
