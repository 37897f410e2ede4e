use std::time::Duration;

/// The delays between attempts to connect. Each is random, between zero and a limit that starts at `base` and doubles
/// with each failed attempt, up to `max`.
///
/// A connection that stays open for 5 s resets the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconnect {
    /// The limit before the first attempt; 300 ms by default.
    pub base: Duration,
    /// The highest limit; 10 s by default.
    pub max: Duration,
    /// Attempts that may fail in a row before the client gives up; unlimited by default.
    pub attempts: Option<u32>,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { base: Duration::from_millis(300), max: Duration::from_secs(10), attempts: None }
    }
}

impl Reconnect {
    /// Sets `base` and `max`.
    #[must_use = "the changed value is returned"]
    pub fn between(mut self, base: Duration, max: Duration) -> Self {
        (self.base, self.max) = (base, max);
        self
    }

    /// Sets the number of attempts that may fail in a row.
    #[must_use = "the changed value is returned"]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }
}

/// Counts the attempts and returns the delays between them.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Reconnect,
    attempt: u32,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(policy: Reconnect) -> Self {
        Self { policy, attempt: 1, failures: 0 }
    }

    /// Returns the number of the current or next attempt, from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Forgets earlier failures, after a connection that stayed open.
    pub(crate) fn reset(&mut self) {
        (self.attempt, self.failures) = (0, 0);
    }

    /// Counts a failed attempt or a lost connection. Returns the delay before the next attempt, for a `random` from 0
    /// to 1, or `None` if no attempt is left.
    pub(crate) fn fail(&mut self, random: f64) -> Option<Duration> {
        if self.policy.attempts.is_some_and(|attempts| self.attempt >= attempts.max(1)) {
            return None;
        }
        let limit = self.policy.base.saturating_mul(1 << self.failures.min(31)).min(self.policy.max);
        self.attempt = self.attempt.saturating_add(1);
        self.failures = self.failures.saturating_add(1);
        Some(limit.mul_f64(random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_doubles_up_to_the_highest() {
        let mut backoff = Backoff::new(Reconnect::default());
        let limits: Vec<_> = (0..7).map(|_| backoff.fail(1.0).unwrap().as_millis()).collect();
        assert_eq!(limits, [300, 600, 1200, 2400, 4800, 9600, 10_000]);
        assert_eq!(backoff.attempt(), 8);
        for _ in 0..100 {
            assert_eq!(backoff.fail(1.0), Some(Duration::from_secs(10)));
        }
        backoff.reset();
        assert_eq!(backoff.fail(1.0), Some(Duration::from_millis(300)));
        assert_eq!(backoff.attempt(), 1);
    }

    #[test]
    fn the_whole_time_is_random() {
        let mut backoff = Backoff::new(Reconnect::default());
        assert_eq!(backoff.fail(0.0), Some(Duration::ZERO));
        assert_eq!(backoff.fail(0.5), Some(Duration::from_millis(300)));
    }

    #[test]
    fn attempts_end_where_that_is_wanted() {
        let mut backoff = Backoff::new(Reconnect::default().attempts(3));
        assert!(backoff.fail(1.0).is_some());
        assert!(backoff.fail(1.0).is_some());
        assert_eq!(backoff.fail(1.0), None);
    }
}
