use super::Hub;
use crate::{seams::Runtime, util::TICK};
use std::sync::{Arc, Weak, atomic::Ordering::Relaxed};

/// The clock task of a hub. It holds the hub weakly; if its runtime drops it, the next connection starts another.
pub(super) struct Ticker(pub(super) Weak<Hub>);

impl Ticker {
    pub(super) async fn run(self, runtime: Arc<dyn Runtime>) {
        let start = runtime.now();
        let mut counted = 0;
        let mut paused = false;
        loop {
            runtime.sleep(TICK).await;
            let Some(hub) = self.0.upgrade() else { return };
            let due = (runtime.now().saturating_duration_since(start).as_millis() / TICK.as_millis()) as u64;
            let passed = due - counted;
            counted = due;
            hub.clock.advance(passed.min(hub.longest_pause()) as u32);
            // Nothing ran, so nothing was read: every connection gets one tick to read before the wheel judges it.
            // Only one: if ticks are always late, they are handled as they come.
            paused = passed > LATE && !paused;
            if paused {
                tracing::warn!(pause = ?TICK * passed as u32, "this process did not run for a while");
                continue;
            }
            hub.turn_wheel();
        }
    }
}

impl Hub {
    /// Returns the most ticks that a pause counts for, however long it was: after it each client is due for a ping,
    /// but the pause alone makes none exceed its idle timeout.
    fn longest_pause(&self) -> u64 {
        let most = self.config.ping_interval.min(self.config.idle_timeout);
        u64::from(self.clock.ticks(most)).max(LATE)
    }
}

/// Ticks that may be missed on a busy machine; after more, the process was stopped, or the machine asleep.
const LATE: u64 = 4;

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some(hub) = self.0.upgrade() {
            hub.ticking.store(false, Relaxed);
        }
    }
}
