//! A hub's side of its broker: the queue of publications to hand over, what it follows, and the tasks that talk to the
//! broker.

mod arrivals;
mod caught;
mod follows;
mod publications;
mod waiting;

use caught::ANSWER;
pub(super) use caught::{answered, caught, unanswered, within};
use follows::Follows;

use super::{Hub, feed::MissedHere};
use crate::{
    config::Config,
    ledger::{Account, Class, Ledger},
    seams::{Broker, Publication, Runtime, Source},
    util::{
        Wakers,
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
        wake,
    },
};
use realtime_protocol::{Error, Result};
use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The link to the other nodes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    /// Held by each task: a runtime that has ended has dropped them.
    running: Arc<()>,
}

/// The part of the link that its tasks hold.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(in crate::hub) broker: Arc<dyn Broker>,
    pub(in crate::hub) follows: Follows,
    /// The most bytes that may wait.
    limit: usize,
    /// The time for which an append is tried.
    pub(in crate::hub) append_timeout: Duration,
    pub(in crate::hub) missed: MissedHere,
    /// The number of the last append.
    numbers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Publication>,
    /// Bytes of all that waits for the broker, or is being handed over.
    bytes: usize,
    account: Account,
    /// Set when the hub is gone.
    ended: bool,
    wakers: Wakers,
    /// Woken when nothing waits any more.
    idle: Option<Waker>,
}

/// Publications that may wait while the broker is slow or down; over it publishing fails.
const WAITING: usize = 16_384;

/// Pause before a retry after the broker has failed.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

impl Link {
    /// Creates the link over a broker.
    pub(crate) fn new(broker: Arc<dyn Broker>, config: &Config, ledger: &Arc<Ledger>) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            bytes: 0,
            account: Account::new(ledger, Class::Broker),
            ended: false,
            wakers: Wakers::default(),
            idle: None,
        };
        let shared = Shared {
            broker,
            follows: Follows::default(),
            limit: config.broker_queue_bytes,
            append_timeout: config.append_timeout,
            missed: MissedHere::default(),
            // A node of the same number may have been here before.
            numbers: AtomicU64::new(getrandom::u64().unwrap_or_default() >> 1),
            state: Mutex::new(state),
        };
        Self { shared: Arc::new(shared), running: Arc::default() }
    }

    /// Queues a publication for the other nodes.
    pub(crate) fn publish(&self, publication: Publication) -> Result {
        self.shared.publish(publication)
    }

    /// Has the broker told what is wanted of a name, after that may have changed. Returns true if it is wanted, and the
    /// broker brings it already.
    pub(super) fn look(&self, of: Source, name: &Arc<str>, now: u32, is_wanted: impl FnOnce() -> bool) -> bool {
        self.shared.follows.look(of, name, now, is_wanted)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns true if feeds work over this broker.
    pub(super) fn has_logs(&self) -> bool {
        self.shared.broker.abilities().logs
    }

    pub(super) fn expire(&self, now: u32) {
        self.shared.follows.expire(now);
    }

    /// Starts the tasks unless they are running.
    pub(crate) fn start(&self, hub: &Weak<Hub>, runtime: &Arc<dyn Runtime>) {
        if Arc::strong_count(&self.running) > 1 {
            return;
        }
        let parts =
            || (Arc::clone(&self.shared), Weak::clone(hub), Arc::clone(runtime), Arc::clone(&self.running));
        let (shared, hub, sleeps, running) = parts();
        runtime.spawn(Box::pin(held(running, publications::hand_over(shared, hub, sleeps))));
        let (shared, hub, sleeps, running) = parts();
        runtime.spawn(Box::pin(held(running, arrivals::receive(shared, hub, sleeps))));
        let (shared, hub, sleeps, running) = parts();
        runtime.spawn(Box::pin(held(running, follows::follow(shared, hub, sleeps))));
        if self.has_logs() {
            let (shared, hub, sleeps, running) = parts();
            runtime.spawn(Box::pin(held(running, super::feed::watch(shared, hub, sleeps))));
        }
    }
}

/// Holds a token for as long as a task runs.
async fn held(running: Arc<()>, task: impl Future<Output = ()> + Send) {
    let _running = running;
    task.await;
}

impl Drop for Link {
    fn drop(&mut self) {
        let wakers = {
            let mut state = self.shared.state.lock();
            state.ended = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.wake();
    }
}

impl Shared {
    fn publish(&self, publication: Publication) -> Result {
        let bytes = publication.size();
        if bytes > self.limit {
            let limit = self.limit;
            let text = format!(
                "a publication of {bytes} bytes is over the limit of {limit} that may wait for the broker"
            );
            return Err(Error::invalid_argument(text));
        }
        let mut state = self.state.lock();
        if state.waiting.len() >= WAITING || state.bytes + bytes > self.limit {
            return Err(Error::unavailable("the broker does not keep up: other nodes miss this publication"));
        }
        let waiting = state.bytes + bytes;
        state.count(waiting);
        state.waiting.push_back(publication);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.wake();
        Ok(())
    }

    /// Counts bytes as waiting.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` if too much waits.
    pub(in crate::hub) fn reserve(&self, bytes: usize) -> Result {
        let mut state = self.state.lock();
        if state.bytes + bytes > self.limit {
            return Err(Error::unavailable("the broker does not keep up"));
        }
        let waiting = state.bytes + bytes;
        state.count(waiting);
        Ok(())
    }

    /// Returns true while less waits than may.
    pub(in crate::hub) fn has_room(&self, ledger: &Ledger) -> bool {
        ledger.of(Class::Broker) < self.limit
    }

    pub(in crate::hub) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed) + 1
    }

    /// Counts bytes as handed over.
    pub(in crate::hub) fn release(&self, bytes: usize) {
        let mut state = self.state.lock();
        let left = state.bytes - bytes;
        state.count(left);
        let idle = if left == 0 { state.idle.take() } else { None };
        drop(state);
        wake(idle);
    }

    /// Ready when the hub is gone.
    pub(in crate::hub) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.ended {
            return Poll::Ready(());
        }
        state.wakers.add(cx.waker());
        Poll::Pending
    }
}

impl State {
    fn count(&mut self, bytes: usize) {
        self.bytes = bytes;
        self.account.set(bytes);
    }
}
