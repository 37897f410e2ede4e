use super::{Client, Reading};
use crate::{
    protocol::Carrier,
    util::sync::atomic::{
        AtomicBool, AtomicU32,
        Ordering::{AcqRel, Relaxed},
    },
};
use realtime_protocol::CloseCode;
use std::{sync::Arc, time::Duration};

/// A client's signs of life, in ticks of the hub's clock.
#[derive(Debug)]
pub(crate) struct Life {
    /// The tick of the last sign of life.
    seen: AtomicU32,
    /// The tick at which a close that has begun is cut short; 0 before.
    deadline: AtomicU32,
    /// The tick at which the wheel checks for late calls; 0 for none.
    watched: AtomicU32,
    /// Set once the client has been silent for too long and its driver was asked to read once more.
    asked: AtomicBool,
}

impl Life {
    pub(super) fn new(now: u32) -> Self {
        Self {
            seen: AtomicU32::new(now),
            deadline: AtomicU32::new(0),
            watched: AtomicU32::new(0),
            asked: AtomicBool::new(false),
        }
    }

    /// Starts the end of a client, and sets its last tick.
    pub(super) fn end_at(&self, deadline: u32, client: &Client) {
        self.deadline.store(deadline, Relaxed);
        client.hub.wheel.watch(client.id, deadline);
    }
}

impl Client {
    /// Returns true if the end has begun.
    pub(crate) fn is_ending(&self) -> bool {
        self.life.deadline.load(Relaxed) != 0
    }

    pub(crate) fn saw_life(&self) {
        self.life.seen.store(self.hub.clock.now(), Relaxed);
    }

    /// Checks the client at its turn on the wheel; returns the tick of its next turn.
    pub(super) fn handle_turn(self: &Arc<Self>, now: u32) -> Option<u32> {
        let deadline = self.life.deadline.load(Relaxed);
        if deadline != 0 {
            if now >= deadline {
                self.outbox.signal_expired();
                return None;
            }
            return Some(deadline);
        }
        self.outbox.shrink();
        self.outbox.signal_shrink();
        if self.reading() == Reading::Paused {
            self.outbox.signal_ping();
            return Some(now + self.hub.clock.ticks(self.hub.config.ping_interval));
        }
        let seen = self.life.seen.load(Relaxed);
        let (ping, idle) = self.patience(seen);
        let silent = now.saturating_sub(seen);
        if silent >= idle {
            return Some(self.handle_silence(now));
        }
        self.life.asked.store(false, Relaxed);
        if silent >= ping {
            self.outbox.signal_ping();
            return Some((now + ping).min((seen + idle).max(now + 1)));
        }
        Some(seen + ping.min(idle))
    }

    /// Closes a client that was silent for too long, or has read nothing of its queue for as long. Its driver first
    /// gets a turn to read and write: if the process was stopped or is busy, data from the client may still wait to
    /// be read.
    fn handle_silence(&self, now: u32) -> u32 {
        if !self.life.asked.swap(true, AcqRel) {
            self.outbox.signal_look();
        } else if self.outbox.is_to_look() {
            // It has not had that turn yet.
        } else if self.reading() == Reading::Held {
            self.close_slow();
        } else {
            tracing::debug!(connection = %self.id, endpoint = %self.endpoint, "idle timeout");
            self.close(CloseCode::GOING_AWAY, "idle timeout: nothing was received");
        }
        now + 1
    }

    /// Returns the tick of its first turn on the wheel.
    pub(super) fn first_turn(&self) -> u32 {
        let seen = self.life.seen.load(Relaxed);
        let (ping, idle) = self.patience(seen);
        seen + ping.min(idle)
    }

    /// Returns the ticks of silence after which a client last heard of at `seen` is pinged, and closed.
    fn patience(&self, seen: u32) -> (u32, u32) {
        (self.spread(self.heartbeat(), seen), self.hub.clock.ticks(self.hub.config.idle_timeout))
    }

    /// Returns the silence after which the client is asked for a sign of life.
    fn heartbeat(&self) -> Duration {
        let config = &self.hub.config;
        match self.format.carrier() {
            Carrier::Messages | Carrier::WholeMessages => config.ping_interval,
            // An idle stream is asked at least once before it counts as dead.
            Carrier::Events => config.comment_interval.min(config.idle_timeout / 2),
        }
    }

    /// Returns an interval in ticks, up to a quarter shorter, so that connections opened, or heard of, in the same
    /// tick are not all due in the same one.
    fn spread(&self, interval: Duration, since: u32) -> u32 {
        let ticks = self.hub.clock.ticks(interval);
        let mixed = (self.id.number ^ u64::from(since) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ticks - mixed as u32 % (ticks / 4 + 1)
    }

    /// Makes the wheel check at tick `due` for late calls, unless it does so before.
    pub(crate) fn watch(&self, due: u32) {
        let earlier = |watched: u32| (watched == 0 || due < watched).then_some(due);
        if self.life.watched.fetch_update(Relaxed, Relaxed, earlier).is_ok() {
            self.hub.wheel.watch_calls(self.id, due);
        }
    }

    /// Handles the tick at which a call may be late.
    pub(super) fn handle_late_calls(&self, now: u32) {
        self.life.watched.store(0, Relaxed);
        self.expire_calls(now);
        self.watch_credentials(now);
        self.outbox.signal_look();
    }
}
