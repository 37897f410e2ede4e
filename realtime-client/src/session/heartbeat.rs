use std::time::Duration;
use tokio::time::Instant;

/// Decides when to ping a silent peer, and when it is dead.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    deadline: Duration,
    heard: Instant,
    pinged: Option<Instant>,
}

/// The meaning of the silence so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Short,
    /// A ping is due.
    Long,
    /// The last ping was not answered.
    Dead,
}

impl Heartbeat {
    pub(super) fn new(now: Instant, interval: Duration, deadline: Duration) -> Self {
        Self { interval: interval.min(NEVER), deadline: deadline.min(NEVER), heard: now, pinged: None }
    }

    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.pinged.map_or(self.heard + self.interval, |pinged| pinged + self.deadline)
    }

    pub(super) fn check(&mut self, now: Instant) -> Silence {
        let deadline = self.next_deadline();
        if now < deadline {
            return Silence::Short;
        }
        // A check this late means that this process did not run: the peer gets its full time from now on.
        let was_paused = now > deadline + PAUSE;
        if self.pinged.is_some() && !was_paused {
            return Silence::Dead;
        }
        self.pinged = Some(now);
        Silence::Long
    }
}

/// Far more than load alone delays a timer.
const PAUSE: Duration = Duration::from_secs(1);

/// A duration that can be added to any instant.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_about_and_then_is_death() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut heartbeat = Heartbeat::new(now, 10 * second, 5 * second);
        assert_eq!(heartbeat.check(now + 9 * second), Silence::Short);
        assert_eq!(heartbeat.check(now + 10 * second), Silence::Long);
        assert_eq!(heartbeat.next_deadline(), now + 15 * second);
        heartbeat.hear(now + 14 * second);
        assert_eq!(heartbeat.check(now + 23 * second), Silence::Short);
        assert_eq!(heartbeat.check(now + 24 * second), Silence::Long);
        assert_eq!(heartbeat.check(now + 28 * second), Silence::Short);
        assert_eq!(heartbeat.check(now + 29 * second), Silence::Dead);
    }

    #[test]
    fn a_pause_of_this_process_is_no_silence() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut heartbeat = Heartbeat::new(now, 10 * second, 5 * second);
        assert_eq!(heartbeat.check(now + 10 * second), Silence::Long);
        assert_eq!(heartbeat.check(now + 3600 * second), Silence::Long);
        assert_eq!(heartbeat.next_deadline(), now + 3605 * second);
        assert_eq!(heartbeat.check(now + 3605 * second), Silence::Dead);
    }
}
