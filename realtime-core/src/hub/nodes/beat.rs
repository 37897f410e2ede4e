//! The beats of this node, which have to come back by the same way as anything that it publishes.

use super::readiness::{ShardReadiness, ShardState};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// The beats of one shard.
#[derive(Debug)]
pub(super) struct Shard {
    /// The topic of the beats.
    pub(super) topic: Arc<str>,
    pub(super) beats: Beats,
    /// Those that go through a log, if the broker has logs.
    pub(super) log: Option<Beats>,
}

impl Shard {
    pub(super) fn new(topic: Arc<str>, has_logs: bool) -> Self {
        Self { topic, beats: Beats::default(), log: has_logs.then(Beats::default) }
    }

    /// Returns the state, for a node that has started at `start`.
    pub(super) fn state(&self, start: Option<Instant>, now: Instant) -> ShardState {
        let is_new = start.is_none_or(|start| now.saturating_duration_since(start) < HEARD_WITHIN);
        if self.beats.is_heard(now, HEARD_WITHIN)
            && self.log.as_ref().is_none_or(|log| log.is_heard(now, LOG_WITHIN) || log.is_new(start, now))
        {
            ShardState::Up
        } else if is_new && self.beats.newest.is_none() {
            ShardState::Starting
        } else {
            ShardState::Down
        }
    }

    pub(super) fn readiness(&self, start: Option<Instant>, now: Instant) -> ShardReadiness {
        let mut delays: Vec<_> = self.beats.delays.iter().copied().collect();
        delays.sort_unstable();
        let at = |percent: usize| {
            let place = (delays.len() * percent).div_ceil(100).saturating_sub(1);
            delays.get(place).copied().unwrap_or_default()
        };
        let heard = self.beats.newest.map(|sent| now.saturating_duration_since(sent));
        ShardReadiness { heard, p50: at(50), p99: at(99), state: self.state(start, now) }
    }
}

/// The time within which a beat has to come back: three beats.
const HEARD_WITHIN: Duration = Duration::from_secs(3);

/// The same for the beats through a log: one interval more, and three seconds.
const LOG_WITHIN: Duration = Duration::from_secs(8);

/// Beats that are awaited, and those that came back.
#[derive(Debug, Default)]
pub(super) struct Beats {
    number: u64,
    /// Those that were published lately, by number.
    sent: VecDeque<(u64, Instant)>,
    /// The time at which the newest that came back was published.
    newest: Option<Instant>,
    /// The times that the last ones took.
    delays: VecDeque<Duration>,
}

/// Beats that are remembered: a minute's.
const KEPT: usize = 64;

impl Beats {
    /// Counts a beat as published; returns its number.
    pub(super) fn send(&mut self, now: Instant) -> u64 {
        self.number += 1;
        self.sent.push_back((self.number, now));
        if self.sent.len() > KEPT {
            self.sent.pop_front();
        }
        self.number
    }

    /// Counts a beat as come back; a second copy does not count.
    pub(super) fn hear(&mut self, number: u64, now: Instant) {
        let Some(at) = self.sent.iter().position(|(sent, _)| *sent == number) else { return };
        let Some((_, sent)) = self.sent.remove(at) else { return };
        self.newest = self.newest.max(Some(sent));
        self.delays.push_back(now.saturating_duration_since(sent));
        if self.delays.len() > KEPT {
            self.delays.pop_front();
        }
    }

    fn is_heard(&self, now: Instant, within: Duration) -> bool {
        self.newest.is_some_and(|sent| now.saturating_duration_since(sent) <= within)
    }

    /// Returns true as long as the first may still be on its way.
    fn is_new(&self, start: Option<Instant>, now: Instant) -> bool {
        let is_new = |start| now.saturating_duration_since(start) <= HEARD_WITHIN;
        self.newest.is_none() && start.is_none_or(is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn percentiles_are_of_the_last_64_beats() {
        let start = Instant::now();
        let mut shard = Shard::new("beat".into(), false);
        for number in 1..=100 {
            let sent = start + SECOND * number;
            let number = shard.beats.send(sent);
            shard.beats.hear(number, sent + Duration::from_millis(number));
            // Twice is once.
            shard.beats.hear(number, sent + SECOND);
        }
        let now = start + SECOND * 101;
        let millis = |count| Duration::from_millis(count);
        let ShardReadiness { heard, p50, p99, state } = shard.readiness(Some(start), now);
        assert_eq!((heard, p50, p99, state), (Some(SECOND), millis(68), millis(100), ShardState::Up));
    }

    #[test]
    fn a_shard_is_down_once_no_beat_has_come_back_for_three_seconds() {
        let start = Instant::now();
        let mut shard = Shard::new("beat".into(), false);
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(shard.state(Some(start), at(2999)), ShardState::Starting);
        assert_eq!(shard.state(Some(start), at(3000)), ShardState::Down);
        let (first, second) = (shard.beats.send(at(0)), shard.beats.send(at(1000)));
        shard.beats.hear(second, at(3500));
        assert_eq!(shard.state(Some(start), at(3500)), ShardState::Up);
        // An older one says nothing about now.
        shard.beats.hear(first, at(3900));
        assert_eq!(shard.state(Some(start), at(4000)), ShardState::Up);
        assert_eq!(shard.state(Some(start), at(4001)), ShardState::Down);
    }

    #[test]
    fn a_log_that_brings_nothing_takes_its_shard_down() {
        let start = Instant::now();
        let mut shard = Shard::new("beat".into(), true);
        let at = |seconds: u32| start + SECOND * seconds;
        for second in 0..20 {
            let number = shard.beats.send(at(second));
            shard.beats.hear(number, at(second));
            let state = if second <= 3 { ShardState::Up } else { ShardState::Down };
            assert_eq!(shard.state(Some(start), at(second)), state, "{second}");
        }
        let log = shard.log.as_mut().unwrap();
        let number = log.send(at(20));
        log.hear(number, at(21));
        assert_eq!(shard.state(Some(start), at(21)), ShardState::Up);
    }
}
