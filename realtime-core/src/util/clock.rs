use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// The length of a tick of the hub's clock, and the resolution of all timeouts.
///
/// 250 ms: heartbeats and timeouts take seconds, and four wake-ups a second cost nothing.
pub const TICK: Duration = Duration::from_millis(250);

/// The time in ticks since the hub was created; it wraps after 34 years.
#[derive(Debug)]
pub(crate) struct Clock(AtomicU32);

impl Default for Clock {
    fn default() -> Self {
        // Starts at 1: 0 stands for "no deadline".
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

    /// Converts a duration to ticks, at least one.
    pub(crate) fn ticks(&self, duration: Duration) -> u32 {
        let ticks = duration.as_millis().div_ceil(TICK.as_millis());
        u32::try_from(ticks).unwrap_or(u32::MAX / 4).clamp(1, u32::MAX / 4)
    }

    /// Returns the tick at which `duration` has surely passed, since part of the present tick is over.
    pub(crate) fn past(&self, duration: Duration) -> u32 {
        self.after(duration) + 1
    }

    /// Returns the tick at which `duration` has passed.
    pub(crate) fn after(&self, duration: Duration) -> u32 {
        self.now() + self.ticks(duration)
    }
}
