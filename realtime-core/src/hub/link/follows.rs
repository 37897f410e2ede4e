//! The topics and feeds that the broker is asked to bring.

use super::{PAUSE, Shared};
use crate::{
    hub::Hub,
    seams::{FollowChange, Runtime, Source},
    util::{TICK, sync::Mutex, wake},
};
use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The topics and feeds that this node wants to be brought, and what the broker has confirmed of that.
///
/// A name is in here while it is wanted, for a while after, and until the broker has confirmed that it is not wanted any
/// more, or has failed to while very many others wait.
#[derive(Debug, Default)]
pub(crate) struct Follows(Mutex<State>);

/// A name, in one of the two kinds.
type Key = (Source, Arc<str>);

#[derive(Debug, Default)]
struct State {
    known: HashMap<Key, Follow>,
    /// Those that the broker is to be told of, in order. A number that is not that of its follow is of an earlier one.
    due: VecDeque<(u64, Key)>,
    numbers: u64,
    /// Those that nobody wants any more, and the tick at which they end: earlier ones first.
    idle: VecDeque<(u32, Key)>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Follow {
    want: Want,
    told: Told,
    /// Its number in the queue of those that are due.
    due: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Yes,
    /// Nobody wants it any more; it is brought until this tick, in case that somebody comes back.
    Until(u32),
    No,
}

/// The state of a name at the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// It is being asked, or the last attempt has failed.
    Unsure,
    Follows,
}

/// The time for which a name is brought after nobody wants it any more: a page that is loaded again comes back within
/// seconds, and a change costs a round trip.
const LINGER: u32 = (Duration::from_secs(5).as_millis() / TICK.as_millis()) as u32;

/// Names that linger at a time: clients choose names, and a change of mind needs none.
const LINGERING: usize = 4096;

/// Changes that are asked for together.
const BATCH: usize = 512;

impl Follows {
    /// Looks if a name is wanted, after that may have changed; returns true if it is, and the broker brings it already.
    /// `is_wanted` is called under the lock: of two changes at once the later look sees both.
    pub(crate) fn look(&self, of: Source, name: &Arc<str>, now: u32, is_wanted: impl FnOnce() -> bool) -> bool {
        let (is_followed, waker) = {
            let mut state = self.0.lock();
            let key = (of, Arc::clone(name));
            let is_followed = if is_wanted() { state.want(key) } else { state.linger(key, now) };
            (is_followed, state.take_waker())
        };
        wake(waker);
        is_followed
    }

    /// Ends what lingers for long enough.
    pub(crate) fn expire(&self, now: u32) {
        let waker = {
            let mut state = self.0.lock();
            while state.idle.front().is_some_and(|(due, _)| *due <= now) {
                state.end_oldest();
            }
            state.take_waker()
        };
        wake(waker);
    }

    /// Returns true if the broker has confirmed that it brings this.
    #[cfg(test)]
    fn is_followed(&self, of: Source, name: &str) -> bool {
        self.0.lock().known.get(&(of, name.into())).is_some_and(|follow| follow.told == Told::Follows)
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Vec<FollowChange>> {
        let mut state = self.0.lock();
        let changes = state.next();
        if !changes.is_empty() {
            return Poll::Ready(changes);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn settle(&self, changes: &[FollowChange], is_done: bool) {
        let mut state = self.0.lock();
        changes.iter().for_each(|change| state.settle(change, is_done));
    }
}

impl State {
    fn take_waker(&mut self) -> Option<Waker> {
        if self.due.is_empty() { None } else { self.waker.take() }
    }

    fn want(&mut self, key: Key) -> bool {
        let new = || Follow { want: Want::Yes, told: Told::Nothing, due: None };
        let follow = self.known.entry(key.clone()).or_insert_with(new);
        follow.want = Want::Yes;
        let is_followed = follow.told == Told::Follows;
        self.check(key);
        is_followed
    }

    /// Always returns false.
    fn linger(&mut self, key: Key, now: u32) -> bool {
        let Some(follow) = self.known.get_mut(&key).filter(|follow| follow.want == Want::Yes) else {
            return false;
        };
        if follow.told == Told::Nothing {
            // The broker has not heard of it.
            self.known.remove(&key);
            self.clean();
            return false;
        }
        let until = now + LINGER;
        follow.want = Want::Until(until);
        self.idle.push_back((until, key));
        if self.idle.len() > LINGERING {
            self.end_oldest();
        }
        false
    }

    fn end_oldest(&mut self) {
        let Some((until, key)) = self.idle.pop_front() else { return };
        let Some(follow) = self.known.get_mut(&key).filter(|follow| follow.want == Want::Until(until)) else {
            return;
        };
        follow.want = Want::No;
        self.check(key);
    }

    /// Has the broker told, unless it knows.
    fn check(&mut self, key: Key) {
        let Some(follow) = self.known.get_mut(&key) else { return };
        let is_known = follow.told == if follow.want == Want::No { Told::Nothing } else { Told::Follows };
        if is_known && follow.want == Want::No {
            self.known.remove(&key);
        } else if !is_known && follow.due.is_none() {
            self.numbers += 1;
            follow.due = Some(self.numbers);
            self.due.push_back((self.numbers, key));
        }
    }

    /// Drops what is left in the queue of names that are gone, once that is most of it: the broker may not take any for long.
    fn clean(&mut self) {
        if self.due.len() > 2 * self.known.len() + BATCH {
            let is_due =
                |(number, key): &(u64, Key)| self.known.get(key).is_some_and(|follow| follow.due == Some(*number));
            self.due.retain(is_due);
        }
    }

    fn next(&mut self) -> Vec<FollowChange> {
        let mut changes = Vec::new();
        while changes.len() < BATCH
            && let Some((number, key)) = self.due.pop_front()
        {
            let Some(follow) = self.known.get_mut(&key).filter(|follow| follow.due == Some(number)) else {
                continue;
            };
            follow.due = None;
            let wanted = follow.want != Want::No;
            if follow.told == if wanted { Told::Follows } else { Told::Nothing } {
                continue;
            }
            follow.told = Told::Unsure;
            changes.push(FollowChange { topic: key.1.to_string(), of: key.0, wanted });
        }
        changes
    }

    /// Forgets a name that nobody wants, although the broker may still bring it, which is ignored: as long as it fails, the
    /// names that clients have chosen would be ever more.
    fn forget(&mut self, key: &Key) {
        if self.known.get(key).is_some_and(|follow| follow.want == Want::No) {
            self.known.remove(key);
        }
    }

    fn settle(&mut self, FollowChange { topic, of, wanted }: &FollowChange, is_done: bool) {
        let key = (*of, topic.as_str().into());
        if let Some(follow) = self.known.get_mut(&key)
            && is_done
        {
            follow.told = if *wanted { Told::Follows } else { Told::Nothing };
        }
        if !is_done && !wanted && self.due.len() > LINGERING {
            self.forget(&key);
        }
        self.check(key);
    }
}

/// Tells the broker what is wanted, in batches, one after the other.
pub(super) async fn follow(shared: Arc<Shared>, hub: Weak<Hub>, runtime: Arc<dyn Runtime>) {
    loop {
        let next = poll_fn(|cx| match shared.poll_ended(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => shared.follows.poll_next(cx).map(Some),
        });
        let Some(changes) = next.await else { return };
        let names = changes.iter().map(|change| &*change.topic);
        let done = super::answered(
            &runtime,
            super::ANSWER,
            "follow",
            names,
            super::caught(|| shared.broker.follow(&changes)),
        )
        .await;
        let done = done.and_then(|done| done);
        shared.follows.settle(&changes, done.is_ok());
        let Some(hub) = hub.upgrade() else { return };
        if done.is_ok() {
            let begun = changes.iter().filter(|change| change.wanted && change.of == Source::Log);
            begun.for_each(|change| hub.begin_copy(&change.topic));
        }
        if let Err(error) = done {
            tracing::error!(?error, topic = changes[0].topic, "the broker does not bring what this node follows");
            hub.counters.broker_failure();
            drop(hub);
            runtime.sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(topic: &str, wanted: bool) -> FollowChange {
        FollowChange { topic: topic.into(), of: Source::Topic, wanted }
    }

    fn look(follows: &Follows, name: &str, now: u32, wanted: bool) {
        let _ = follows.look(Source::Topic, &name.into(), now, || wanted);
    }

    fn next(follows: &Follows) -> Vec<FollowChange> {
        follows.0.lock().next()
    }

    #[test]
    fn a_name_is_brought_until_nobody_has_wanted_it_for_five_seconds() {
        let follows = Follows::default();
        look(&follows, "a", 1, true);
        assert_eq!(next(&follows), [change("a", true)]);
        follows.settle(&[change("a", true)], true);
        assert!(follows.is_followed(Source::Topic, "a"));

        look(&follows, "a", 10, false);
        follows.expire(29);
        assert_eq!(next(&follows), []);
        // It is wanted again, and its first end does not count.
        look(&follows, "a", 29, true);
        look(&follows, "a", 29, false);
        follows.expire(30);
        assert_eq!(next(&follows), []);
        follows.expire(49);
        assert_eq!(next(&follows), [change("a", false)]);
        follows.settle(&[change("a", false)], true);
        assert!(follows.0.lock().known.is_empty());
    }

    #[test]
    fn what_has_failed_is_asked_again_as_it_is_wanted_then() {
        let follows = Follows::default();
        look(&follows, "a", 1, true);
        let asked = next(&follows);
        look(&follows, "a", 2, false);
        follows.expire(22);
        follows.settle(&asked, false);
        // It may be brought.
        assert_eq!(next(&follows), [change("a", false)]);
        look(&follows, "a", 23, true);
        follows.settle(&[change("a", false)], true);
        assert_eq!(next(&follows), [change("a", true)]);
    }

    #[test]
    fn a_name_that_the_broker_has_not_heard_of_leaves_nothing() {
        let follows = Follows::default();
        for at in 0..10_000 {
            look(&follows, &at.to_string(), at, true);
            look(&follows, &at.to_string(), at, false);
        }
        let state = follows.0.lock();
        assert!(state.known.is_empty() && state.due.len() <= BATCH);
        drop(state);
        assert_eq!(next(&follows), []);
    }

    #[test]
    fn names_that_nobody_wants_are_forgotten_while_the_broker_fails() {
        let follows = Follows::default();
        for round in 0..20 {
            let names: Vec<_> = (0..BATCH).map(|at| format!("{round} {at}")).collect();
            names.iter().for_each(|name| look(&follows, name, round, true));
            let ask = || {
                let asked = next(&follows);
                follows.settle(&asked, false);
            };
            (0..25).for_each(|_| ask());
            names.iter().for_each(|name| look(&follows, name, round, false));
            follows.expire(u32::MAX);
        }
        let known = follows.0.lock().known.len();
        assert!(known <= 2 * LINGERING, "{known}");
    }

    #[test]
    fn no_more_than_some_thousand_names_linger() {
        let follows = Follows::default();
        let names: Vec<_> = (0..LINGERING + 2).map(|at| at.to_string()).collect();
        names.iter().for_each(|name| look(&follows, name, 1, true));
        let mut asked = next(&follows);
        assert_eq!(asked.len(), BATCH);
        while !asked.is_empty() {
            follows.settle(&asked, true);
            asked = next(&follows);
        }
        names.iter().for_each(|name| look(&follows, name, 1, false));
        assert_eq!(next(&follows), [change("0", false), change("1", false)]);
    }
}
