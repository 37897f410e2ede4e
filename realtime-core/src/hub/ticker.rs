use super::Hub;
use crate::{seams::Runtime, util::TICK};
use std::sync::{Arc, Weak, atomic::Ordering::Relaxed};

/// The one task of a hub. It holds the hub weakly, and when its runtime drops it, the next
/// connection starts another.
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
            // Nothing ran, so nothing was read: everyone has a tick for that before the wheel judges. One: where ticks are
            // always late, they are turned as they come.
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
    /// Ticks that count of a pause, however long it was: afterwards each client is due for a ping, and none has been
    /// silent for longer than it may by that alone.
    fn longest_pause(&self) -> u64 {
        let most = self.config.ping_interval.min(self.config.idle_timeout);
        u64::from(self.clock.ticks(most)).max(LATE)
    }
}

/// Ticks that may pass unnoticed on a busy machine; more, and the process has been stopped, or the machine asleep.
const LATE: u64 = 4;

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some(hub) = self.0.upgrade() {
            hub.ticking.store(false, Relaxed);
        }
    }
}
