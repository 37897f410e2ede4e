//! The revocations of this node, for as long as others may have to be told of them.

use super::{
    INTERVAL, TICKS_PER_SECOND,
    wire::{MESSAGE_BYTES, Revocation, Revoke, RevokedFrom},
};
use crate::{
    context::Principal,
    util::{Wakers, sync::Mutex},
};
use std::{collections::VecDeque, mem, ops::Range, task::Context, time::Instant};

/// The revocations of this node that others may have to be told of.
#[derive(Debug, Default)]
pub(super) struct Revoking(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of the last one.
    last: u64,
    /// Each with its tick and time, in order.
    recent: VecDeque<(u32, Instant, Revocation)>,
    bytes: usize,
    /// The number of the last one that was told, and the tick at which some were told last.
    told: u64,
    told_at: u32,
    /// The last numbers of messages that had no room for more: these are told once a node has confirmed that far.
    cuts: Vec<u64>,
    /// Those that were dropped although a node that is heard had not confirmed them.
    untold: Option<Untold>,
    /// The tick since which the broker brings without a break what this node publishes.
    works_since: Option<u32>,
    /// Those who wait until the others have done it.
    waiting: Wakers,
}

#[derive(Clone, Copy, Debug)]
struct Untold {
    count: u64,
    /// The tick of the last one.
    at: u32,
}

/// The time for which a node that is not heard may come back and be told: with its clients, after a partition.
pub(super) const KEPT: u32 = 10 * 60 * TICKS_PER_SECOND;

/// The most bytes of them: those of some 10 000 users, which the others confirm within seconds.
const KEPT_BYTES: usize = 1024 * 1024;

/// The time for which the broker has to work until all nodes are heard that live: two beats.
const ALL_HEARD: u32 = 2 * INTERVAL;

impl Revoking {
    /// Adds a revocation. Returns the numbers of those that were dropped to make room.
    pub(super) fn add(
        &self,
        principal: &Principal,
        from: Option<RevokedFrom>,
        (now, instant): (u32, Instant),
    ) -> Range<u64> {
        let mut state = self.0.lock();
        state.last += 1;
        let revocation = Revocation { number: state.last, principal: principal.0.clone(), from, age: 0 };
        state.bytes += revocation.size();
        state.recent.push_back((now, instant, revocation));
        let first = state.first();
        while state.bytes > KEPT_BYTES && state.recent.len() > 1 {
            state.drop_oldest();
        }
        first..state.first()
    }

    /// Returns true if some have not been told, and none were within this tick: the first one is told at once, and all
    /// others of the tick together.
    pub(super) fn is_due(&self, now: u32) -> bool {
        let state = self.0.lock();
        state.told < state.last && state.told_at != now && !state.cuts.contains(&state.told)
    }

    /// Returns the messages to tell, one behind each of the numbers up to which other nodes have confirmed, in order.
    pub(super) fn tell(&self, confirmed: &[u64], at: (u32, Instant)) -> Vec<Revoke> {
        let mut state = self.0.lock();
        state.cuts.clear();
        if confirmed.is_empty() {
            state.told = state.last;
        }
        let (mut messages, mut told) = (Vec::new(), 0);
        for &confirmed in confirmed {
            // Who is within the message before takes the rest of that.
            if confirmed >= told
                && let Some(message) = state.tell_behind(confirmed, at)
            {
                told = message.last();
                messages.push(message);
            }
        }
        messages
    }

    /// Returns the next message for a node that has confirmed a whole one, if there was no room for more in that.
    pub(super) fn tell_on(&self, confirmed: u64, at: (u32, Instant)) -> Option<Revoke> {
        let mut state = self.0.lock();
        let cut = state.cuts.iter().position(|cut| *cut == confirmed)?;
        state.cuts.swap_remove(cut);
        state.tell_behind(confirmed, at)
    }

    /// Returns the number of the last one.
    pub(super) fn last(&self) -> u64 {
        self.0.lock().last
    }

    /// Returns the number up to which the others can confirm: of those that have expired they are not told.
    pub(super) fn awaited(&self) -> u64 {
        self.0.lock().recent.back().map_or(0, |(.., newest)| newest.number)
    }

    /// Drops those that are too old. Returns their numbers.
    pub(super) fn expire(&self, now: u32) -> Range<u64> {
        let mut state = self.0.lock();
        let first = state.first();
        while state.recent.front().is_some_and(|(at, ..)| now.saturating_sub(*at) >= KEPT) {
            state.drop_oldest();
        }
        first..state.first()
    }

    pub(super) fn add_untold(&self, count: u64, now: u32) {
        let mut state = self.0.lock();
        let before = state.untold(now);
        state.untold = Some(Untold { count: before + count, at: now });
    }

    /// Returns the number of those that were dropped of late although a node that is heard had not confirmed them.
    pub(super) fn untold(&self, now: u32) -> u64 {
        self.0.lock().untold(now)
    }

    /// Notes that the broker works at this tick, or does not.
    pub(super) fn note_broker(&self, works: bool, now: u32) {
        let mut state = self.0.lock();
        state.works_since = if works { state.works_since.or(Some(now)) } else { None };
    }

    /// Returns true once all other nodes that live have been heard.
    pub(super) fn has_heard_all(&self, now: u32) -> bool {
        self.0.lock().works_since.is_some_and(|since| now.saturating_sub(since) >= ALL_HEARD)
    }

    pub(super) fn wait(&self, cx: &Context<'_>) {
        self.0.lock().waiting.add(cx.waker());
    }

    /// Has those who wait look again.
    pub(super) fn wake(&self) {
        let waiting = mem::take(&mut self.0.lock().waiting);
        waiting.wake();
    }
}

impl State {
    fn tell_behind(&mut self, confirmed: u64, (now, instant): (u32, Instant)) -> Option<Revoke> {
        let oldest = self.first();
        let from = (confirmed + 1).saturating_sub(oldest) as usize;
        let mut left = MESSAGE_BYTES;
        let mut revocations = Vec::new();
        for (_, at, revocation) in self.recent.range(from.min(self.recent.len())..) {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(revocation.size());
            let age = instant.saturating_duration_since(*at).as_millis() as u64;
            revocations.push(Revocation { age, ..revocation.clone() });
        }
        let last = revocations.last()?.number;
        (self.told, self.told_at) = (self.told.max(last), now);
        if last < self.last {
            self.cuts.push(last);
        }
        Some(Revoke { oldest, revocations })
    }

    /// Returns the number of the oldest that is kept, or of the next one.
    fn first(&self) -> u64 {
        self.recent.front().map_or(self.last + 1, |(.., oldest)| oldest.number)
    }

    fn drop_oldest(&mut self) {
        if let Some((.., oldest)) = self.recent.pop_front() {
            self.bytes -= oldest.size();
            // It is told to nobody any more, and no reason to look at each tick.
            self.told = self.told.max(oldest.number);
        }
    }

    fn untold(&self, now: u32) -> u64 {
        self.untold.filter(|untold| now.saturating_sub(untold.at) < KEPT).map_or(0, |untold| untold.count)
    }
}

impl Revoke {
    fn last(&self) -> u64 {
        self.revocations.last().map_or(0, |revocation| revocation.number)
    }
}

impl Revocation {
    fn size(&self) -> usize {
        64 + self.principal.len() + self.from.as_ref().map_or(0, |from| from.name().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(told: impl IntoIterator<Item = Revoke>) -> Vec<u64> {
        told.into_iter().flat_map(|told| told.revocations).map(|revocation| revocation.number).collect()
    }

    #[test]
    fn the_first_revocation_of_a_tick_is_told_at_once() {
        let revoking = Revoking::default();
        let ann = Principal("ann".into());
        let instant = Instant::now();
        let at = |tick| (tick, instant);
        revoking.add(&ann, None, at(5));
        assert!(revoking.is_due(5));
        assert_eq!(numbers(revoking.tell(&[0], at(5))), [1]);
        assert!(!revoking.is_due(5) && !revoking.is_due(6));
        revoking.add(&ann, None, at(5));
        assert!(!revoking.is_due(5) && revoking.is_due(6));
        assert!(revoking.tell(&[2], at(6)).is_empty());
        // Nobody is there, and nothing was told within this tick.
        assert!(revoking.tell(&[], at(6)).is_empty());
        revoking.add(&ann, None, at(6));
        assert!(revoking.is_due(6));
    }

    #[test]
    fn what_has_no_room_in_a_message_is_told_once_that_is_confirmed() {
        let (revoking, at) = (Revoking::default(), (1, Instant::now()));
        for _ in 0..5 {
            revoking.add(&Principal("a".repeat(MESSAGE_BYTES / 2 - 64)), None, at);
        }
        assert_eq!(numbers(revoking.tell(&[0], at)), [1, 2]);
        // Until then, more of them are no reason to tell the first ones again.
        revoking.add(&Principal("ann".into()), None, at);
        assert!(!revoking.is_due(2) && revoking.tell_on(1, at).is_none());
        assert_eq!(numbers(revoking.tell_on(2, at)), [3, 4]);
        assert!(revoking.tell_on(2, at).is_none());
        assert_eq!(numbers(revoking.tell_on(4, at)), [5, 6]);
        assert!(revoking.tell_on(6, at).is_none() && !revoking.is_due(2));
        revoking.add(&Principal("bob".into()), None, at);
        assert!(revoking.is_due(2));
    }

    /// One that does not confirm keeps nothing from the others.
    #[test]
    fn nodes_are_told_from_where_each_of_them_is() {
        let (revoking, at) = (Revoking::default(), (1, Instant::now()));
        for _ in 0..6 {
            revoking.add(&Principal("a".repeat(MESSAGE_BYTES / 2 - 64)), None, at);
        }
        let told = revoking.tell(&[0, 1, 3, 5], at);
        assert_eq!(
            told.into_iter().map(|told| numbers([told])).collect::<Vec<_>>(),
            [vec![1, 2], vec![4, 5], vec![6]]
        );
        assert_eq!(numbers(revoking.tell_on(5, at)), [6]);
        assert_eq!(numbers(revoking.tell_on(2, at)), [3, 4]);
        revoking.add(&Principal("ann".into()), None, at);
        assert!(revoking.is_due(2));
    }

    #[test]
    fn revocations_are_bounded_in_bytes_and_time() {
        let revoking = Revoking::default();
        let ann = Principal("a".repeat(1024 - 64));
        let instant = Instant::now();
        for _ in 0..1024 {
            assert!(revoking.add(&ann, None, (1, instant)).is_empty());
        }
        assert_eq!(revoking.add(&ann, None, (2, instant)), 1..2);
        let told = |confirmed| revoking.tell(&[confirmed], (2, instant));
        assert_eq!(told(0)[0].oldest, 2);
        assert_eq!(numbers(told(1024)), [1025]);
        assert_eq!(revoking.expire(1 + KEPT), 2..1025);
        assert_eq!((numbers(told(0)), revoking.awaited()), (vec![1025], 1025));
        revoking.add(&ann, None, (2, instant));
        assert!(revoking.is_due(3));
        assert_eq!(revoking.expire(2 + KEPT), 1025..1027);
        assert!(!revoking.is_due(3 + KEPT));
        assert_eq!(revoking.awaited(), 0);
        let state = revoking.0.lock();
        assert_eq!((state.recent.len(), state.bytes), (0, 0));
    }
}
