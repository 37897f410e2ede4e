//! Revocations on all nodes. Each node tells the others what was revoked on it, again with every beat until they have said
//! that they have done it.

use super::{
    INTERVAL, Nodes, TICKS_PER_SECOND,
    others::{NODES, Other, Others},
    wire::{Message, Revocation, RevokedFrom, Says},
};
use crate::{
    context::Principal,
    hub::Hub,
    util::{
        Wakers,
        sync::{Mutex, atomic::Ordering::Relaxed},
    },
};
use realtime_protocol::{Error, Result};
use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    mem,
    ops::Range,
    task::{Context, Poll},
    time::{Duration, Instant},
};

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
const KEPT: u32 = 10 * 60 * TICKS_PER_SECOND;

/// The most bytes of them, so that all fit into one message.
const KEPT_BYTES: usize = 64 * 1024;

/// The time for which the broker has to work until all nodes are heard that live: two beats.
const ALL_HEARD: u32 = 2 * INTERVAL;

/// The time by which the clocks of two machines may run apart while a revocation is kept, and more.
const SLACK: Duration = Duration::from_secs(1);

/// The time that the other nodes have to confirm.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);

impl Revoking {
    /// Adds a revocation. Returns the numbers of those that were dropped to make room.
    fn add(&self, principal: &Principal, from: Option<RevokedFrom>, (now, instant): (u32, Instant)) -> Range<u64> {
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
        state.told < state.last && state.told_at != now
    }

    /// Returns those to tell, behind the number up to which all other nodes have confirmed; `None` if there are none.
    fn tell(&self, confirmed: Option<u64>, (now, instant): (u32, Instant)) -> Vec<Revocation> {
        let mut state = self.0.lock();
        state.told = state.last;
        let Some(confirmed) = confirmed else { return Vec::new() };
        let later = state.recent.iter().filter(|(.., revocation)| revocation.number > confirmed);
        let with_age = |(_, at, revocation): &(u32, Instant, Revocation)| {
            let age = instant.saturating_duration_since(*at).as_millis() as u64;
            Revocation { age, ..revocation.clone() }
        };
        let later: Vec<_> = later.map(with_age).collect();
        if !later.is_empty() {
            state.told_at = now;
        }
        later
    }

    /// Returns the number of the last one.
    pub(super) fn last(&self) -> u64 {
        self.0.lock().last
    }

    /// Returns the number up to which the others can confirm: of those that have expired they are not told.
    fn awaited(&self) -> u64 {
        self.0.lock().recent.back().map_or(0, |(.., newest)| newest.number)
    }

    /// Drops those that are too old. Returns their numbers.
    fn expire(&self, now: u32) -> Range<u64> {
        let mut state = self.0.lock();
        let first = state.first();
        while state.recent.front().is_some_and(|(at, ..)| now.saturating_sub(*at) >= KEPT) {
            state.drop_oldest();
        }
        first..state.first()
    }

    fn add_untold(&self, count: u64, now: u32) {
        let mut state = self.0.lock();
        let before = state.untold(now);
        state.untold = Some(Untold { count: before + count, at: now });
    }

    /// Returns the number of those that were dropped of late although a node that is heard had not confirmed them.
    fn untold(&self, now: u32) -> u64 {
        self.0.lock().untold(now)
    }

    /// Notes that the broker works at this tick, or does not.
    pub(super) fn note_broker(&self, works: bool, now: u32) {
        let mut state = self.0.lock();
        state.works_since = if works { state.works_since.or(Some(now)) } else { None };
    }

    /// Returns true once all other nodes that live have been heard.
    fn has_heard_all(&self, now: u32) -> bool {
        self.0.lock().works_since.is_some_and(|since| now.saturating_sub(since) >= ALL_HEARD)
    }

    fn wait(&self, cx: &Context<'_>) {
        self.0.lock().waiting.add(cx.waker());
    }

    /// Has those who wait look again.
    pub(super) fn wake(&self) {
        let waiting = mem::take(&mut self.0.lock().waiting);
        waiting.wake();
    }
}

/// The numbers of the last revocations of other nodes that are done here, by node and life, with the tick at which they were
/// last told. Kept for longer than a node is known: one that comes back after a partition tells all of them again.
#[derive(Debug, Default)]
pub(super) struct Obeyed(HashMap<(u64, u64), (u64, u32)>);

impl Obeyed {
    /// Moves those that are not done yet to `due`, but for those that are older than this node, whose age is `own`: who is
    /// connected here was let in after them. Returns the number up to which all are done then.
    pub(super) fn obey(
        &mut self,
        of: (u64, u64),
        revocations: Vec<Revocation>,
        (now, own): (u32, Duration),
        due: &mut Vec<Revocation>,
    ) -> u64 {
        if self.0.len() >= 4 * NODES && !self.0.contains_key(&of) {
            let oldest = self.0.iter().min_by_key(|(_, (_, at))| *at).map(|(of, _)| *of);
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        let (done, at) = self.0.entry(of).or_default();
        *at = now;
        for revocation in revocations {
            if revocation.number > *done {
                *done = revocation.number;
                if Duration::from_millis(revocation.age) <= own.saturating_add(SLACK) {
                    due.push(revocation);
                }
            }
        }
        *done
    }

    pub(super) fn expire(&mut self, now: u32) {
        self.0.retain(|_, (_, at)| now.saturating_sub(*at) < KEPT);
    }
}

impl State {
    /// Returns the number of the oldest that is kept, or of the next one.
    fn first(&self) -> u64 {
        self.recent.front().map_or(self.last + 1, |(.., oldest)| oldest.number)
    }

    fn drop_oldest(&mut self) {
        if let Some((.., oldest)) = self.recent.pop_front() {
            self.bytes -= oldest.size();
        }
    }

    fn untold(&self, now: u32) -> u64 {
        self.untold.filter(|untold| now.saturating_sub(untold.at) < KEPT).map_or(0, |untold| untold.count)
    }
}

impl Revocation {
    fn size(&self) -> usize {
        let from = match &self.from {
            Some(RevokedFrom::Topic(name) | RevokedFrom::Feed(name)) => name.len(),
            None => 0,
        };
        64 + self.principal.len() + from
    }
}

impl Others {
    /// Returns the number up to which all other nodes have confirmed; `None` if there are none.
    fn confirmed(&self) -> Option<u64> {
        self.iter().map(|(_, other)| other.confirmed).min()
    }

    /// Returns how many of these some node has not confirmed that was heard when they were revoked.
    fn count_untold(&self, dropped: &Range<u64>) -> u64 {
        let was_heard = |other: &&Other| other.revoked_before + 1 < dropped.end;
        let confirmed = self.iter().map(|(_, other)| other).filter(was_heard).map(|other| other.confirmed).min();
        confirmed.map_or(0, |confirmed| dropped.end.saturating_sub(dropped.start.max(confirmed + 1)))
    }

    /// Returns the nodes that have not confirmed a number.
    fn lacking(&self, number: u64) -> Vec<u64> {
        self.iter().filter(|(_, other)| other.confirmed < number).map(|(node, _)| *node).collect()
    }
}

impl Hub {
    /// Revokes a principal, or its place in a topic or feed, here and on the other nodes. Returns the number of its
    /// connections here.
    pub(crate) fn revoke_on_all_nodes(&self, principal: &Principal, from: Option<RevokedFrom>) -> usize {
        let connections = self.revoke_here(principal, from.as_ref());
        let Some(nodes) = &self.nodes else { return connections };
        let dropped = nodes.revoking.add(principal, from, (self.clock.now(), self.instant()));
        self.note_untold(nodes, &dropped);
        let confirmed = nodes.others.lock().confirmed();
        if !dropped.is_empty() && confirmed.is_none_or(|confirmed| confirmed + 1 < dropped.end) {
            self.warn_of(self.node, "too much was revoked: a node that is not heard now is not told of all");
        }
        if nodes.revoking.is_due(self.clock.now()) {
            self.tell_revoked(nodes);
        }
        connections
    }

    /// Remembers of what was dropped that which a node that is heard has not confirmed, and never will.
    fn note_untold(&self, nodes: &Nodes, dropped: &Range<u64>) {
        let count = if dropped.is_empty() { 0 } else { nodes.others.lock().count_untold(dropped) };
        if count == 0 {
            return;
        }
        nodes.revoking.add_untold(count, self.clock.now());
        self.warn_of(
            self.node,
            "revocations were dropped that another node had not confirmed: it may not be told",
        );
    }

    /// Does what was revoked, on this node.
    pub(super) fn revoke_here(&self, principal: &Principal, from: Option<&RevokedFrom>) -> usize {
        match from {
            None => self.revoke(principal),
            Some(RevokedFrom::Topic(topic)) => self.revoke_from(principal, topic),
            Some(RevokedFrom::Feed(feed)) => self.revoke_from_feed(principal, feed),
        }
    }

    /// Tells the other nodes what they have not confirmed, and those who wait for that to look again.
    pub(super) fn tell_revoked(&self, nodes: &Nodes) {
        let now = self.clock.now();
        let expired = nodes.revoking.expire(now);
        self.note_untold(nodes, &expired);
        let confirmed = nodes.others.lock().confirmed();
        let unconfirmed = nodes.revoking.tell(confirmed, (now, self.instant()));
        if !unconfirmed.is_empty() {
            self.say_on_carrier(nodes, &Message { life: nodes.life, says: Says::Revoke(unconfirmed) });
        }
        nodes.revoking.wake();
    }

    /// Waits until the other nodes have done what was revoked on this one so far.
    pub(crate) async fn revoked_everywhere(&self) -> Result {
        let Some(nodes) = &self.nodes else { return Ok(()) };
        if !self.ticking.load(Relaxed) {
            return Err(Error::unavailable("the clock of this node does not run: no other node was told"));
        }
        let number = nodes.revoking.awaited();
        let confirmed = poll_fn(|cx| {
            nodes.revoking.wait(cx);
            let untold = nodes.revoking.untold(self.clock.now());
            if untold > 0 {
                return Poll::Ready(Err(Error::unavailable(format!(
                    "{untold} revocations of the last minutes were dropped before all nodes had confirmed them"
                ))));
            }
            if self.is_revoked_everywhere(nodes, number) { Poll::Ready(Ok(())) } else { Poll::Pending }
        });
        let outcome = self.before(CONFIRMED_WITHIN, confirmed).await;
        outcome.unwrap_or_else(|| Err(self.unconfirmed(nodes, number)))
    }

    fn is_revoked_everywhere(&self, nodes: &Nodes, number: u64) -> bool {
        // While the broker brings nothing, and shortly after, other nodes may live that are not heard.
        let hears_all = nodes.works(self.instant()) && nodes.revoking.has_heard_all(self.clock.now());
        hears_all && nodes.others.lock().lacking(number).is_empty()
    }

    fn unconfirmed(&self, nodes: &Nodes, number: u64) -> Error {
        let lacking = nodes.others.lock().lacking(number);
        let within = CONFIRMED_WITHIN.as_secs();
        let Some(first) = lacking.first() else {
            return Error::unavailable(format!(
                "the broker did not bring what this node publishes for {within} s"
            ));
        };
        let count = lacking.len();
        Error::unavailable(format!(
            "{count} nodes have not confirmed within {within} s what was revoked, {first:016x} among them"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_that_is_older_than_the_node_is_done() {
        let (revoking, ann, start) = (Revoking::default(), Principal("ann".into()), Instant::now());
        revoking.add(&ann, None, (1, start));
        revoking.add(&ann, None, (1, start + Duration::from_secs(300)));
        let told = || revoking.tell(Some(0), (2, start + Duration::from_secs(301)));
        for (own, expected) in [(1, vec![2]), (299, vec![2]), (300, vec![1, 2])] {
            let (mut obeyed, mut due) = (Obeyed::default(), Vec::new());
            assert_eq!(obeyed.obey((1, 1), told(), (2, Duration::from_secs(own)), &mut due), 2);
            assert_eq!(due.iter().map(|revocation| revocation.number).collect::<Vec<_>>(), expected, "{own}");
        }
    }

    #[test]
    fn the_first_revocation_of_a_tick_is_told_at_once() {
        let revoking = Revoking::default();
        let ann = Principal("ann".into());
        let instant = Instant::now();
        let at = |tick| (tick, instant);
        revoking.add(&ann, None, at(5));
        assert!(revoking.is_due(5));
        assert_eq!(revoking.tell(Some(0), at(5)).len(), 1);
        assert!(!revoking.is_due(5) && !revoking.is_due(6));
        revoking.add(&ann, None, at(5));
        assert!(!revoking.is_due(5) && revoking.is_due(6));
        assert_eq!(revoking.tell(Some(2), at(6)).len(), 0);
        // Nothing was told within this tick.
        revoking.add(&ann, None, at(6));
        assert!(revoking.is_due(6));
    }

    #[test]
    fn revocations_are_bounded_in_bytes_and_time() {
        let revoking = Revoking::default();
        let ann = Principal("a".repeat(1000 - 64));
        let instant = Instant::now();
        for _ in 0..65 {
            assert!(revoking.add(&ann, None, (1, instant)).is_empty());
        }
        assert_eq!(revoking.add(&ann, None, (2, instant)), 1..2);
        let told = |confirmed| revoking.tell(confirmed, (2, instant)).len();
        assert_eq!((told(None), told(Some(0)), told(Some(64)), revoking.last()), (0, 65, 2, 66));
        assert_eq!(revoking.expire(1 + KEPT), 2..66);
        assert_eq!((told(Some(0)), revoking.awaited()), (1, 66));
        assert_eq!(revoking.expire(2 + KEPT), 66..67);
        assert_eq!(revoking.awaited(), 0);
        let state = revoking.0.lock();
        assert_eq!((state.recent.len(), state.bytes), (0, 0));
    }
}
