use super::Hub;
use crate::{
    seams::{BoxFuture, Runtime},
    util::TICK,
};
use std::{
    future::poll_fn,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    task::Context,
    time::Instant,
};

/// The clock task of a hub. It holds the hub weakly; if its runtime drops it, the next connection starts another.
pub(super) struct Ticker(pub(super) Weak<Hub>);

impl Ticker {
    pub(super) async fn run(self, runtime: Arc<dyn Runtime>) {
        let start = runtime.now();
        let mut counted = 0;
        let mut paused = false;
        loop {
            self.tick(&*runtime).await;
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

    /// Waits for the next tick, and fires the timers that are due before it.
    async fn tick(&self, runtime: &dyn Runtime) {
        let mut tick = runtime.sleep(TICK);
        let mut first = None;
        poll_fn(|cx| {
            self.fire_timers(runtime, &mut first, cx);
            tick.as_mut().poll(cx)
        })
        .await;
    }

    /// Fires the timers that are due. `first` waits for the first of the others, if that is due before the next tick.
    fn fire_timers(&self, runtime: &dyn Runtime, first: &mut Option<First>, cx: &mut Context<'_>) {
        loop {
            let Some(hub) = self.0.upgrade() else { return };
            let now = runtime.now();
            let next = hub.timers.fire(now, Some(cx.waker())).filter(|at| *at < now + TICK);
            drop(hub);
            if first.as_ref().map(|first| first.at) != next {
                *first = next.map(|at| First { at, sleep: runtime.sleep(at - now) });
            }
            let Some(waits) = first else { return };
            if waits.sleep.as_mut().poll(cx).is_pending() {
                return;
            }
            *first = None;
        }
    }
}

/// The first timer of the application.
struct First {
    at: Instant,
    sleep: BoxFuture<'static>,
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
