//! A broker in memory, the line to which fails as a test says.

use realtime_core::{
    Position, Result,
    broker::{Abilities, AppendError, Arrival, Broker, Draft, FollowChange, MemoryBroker, Publication, Untaken},
};
use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

/// One node's line to the cluster. A clone is the same line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    inner: Arc<MemoryBroker>,
    state: Arc<Mutex<State>>,
}

/// The ways in which a line fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) out: Out,
    pub(crate) into: Into,
    /// Appends go where nobody reads them.
    pub(crate) log_is_stale: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Out {
    #[default]
    Passes,
    /// Publications are accepted and go nowhere.
    Lost,
    /// Publications have no answer, and go on when the line does.
    Hangs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Into {
    #[default]
    Passes,
    /// Arrivals are lost.
    Lost,
    /// Arrivals wait until the line goes on.
    Stopped,
}

#[derive(Debug, Default)]
struct State {
    fault: Fault,
    /// Of a hundred arrivals, so many are lost, and so many come twice.
    lossy: u64,
    random: u64,
    waiting: Vec<Arrival>,
    wakers: Vec<Waker>,
}

pub(crate) const PARTED: Fault = Fault { out: Out::Lost, into: Into::Lost, log_is_stale: true };

impl Line {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(MemoryBroker::new(), seed)
    }

    pub(crate) fn join(&self, seed: u64) -> Self {
        Self::of(self.inner.join(), seed)
    }

    fn of(inner: MemoryBroker, seed: u64) -> Self {
        let state = State { random: seed, ..State::default() };
        Self { inner: Arc::new(inner), state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.change(|state| state.fault = fault);
    }

    pub(crate) fn fault(&self) -> Fault {
        self.lock().fault
    }

    pub(crate) fn lose(&self, percent: u64) {
        self.change(|state| state.lossy = percent);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let wakers = {
            let mut state = self.lock();
            change(&mut state);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn poll_out(&self, cx: &Context<'_>) -> Poll<Out> {
        let mut state = self.lock();
        if state.fault.out == Out::Hangs {
            state.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(state.fault.out)
    }

    fn poll_waiting(&self, cx: &Context<'_>, into: &mut Vec<Arrival>) -> Poll<()> {
        let mut state = self.lock();
        if state.fault.into == Into::Lost {
            state.waiting.clear();
        }
        if state.fault.into == Into::Stopped || state.waiting.is_empty() {
            state.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        into.append(&mut state.waiting);
        Poll::Ready(())
    }
}

impl State {
    fn take(&mut self, arrival: Arrival) {
        match self.chance() {
            _ if self.fault.into == Into::Lost => {}
            chance if chance < self.lossy => {}
            chance if chance < 2 * self.lossy => self.waiting.extend([arrival.clone(), arrival]),
            _ => self.waiting.push(arrival),
        }
    }

    /// Returns a number below 100.
    fn chance(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % 100
    }
}

#[realtime_core::async_trait]
impl Broker for Line {
    fn abilities(&self) -> Abilities {
        Abilities::default().with_logs()
    }

    async fn follow(&self, changes: &[FollowChange]) -> Result {
        self.inner.follow(changes).await
    }

    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        match poll_fn(|cx| self.poll_out(cx)).await {
            Out::Passes => self.inner.publish(batch).await,
            Out::Lost | Out::Hangs => Ok(()),
        }
    }

    async fn append(&self, draft: &Draft, _: Option<&Position>) -> Result<Position, AppendError> {
        poll_fn(|cx| self.poll_out(cx)).await;
        if self.fault().log_is_stale {
            return Ok(Position::new("stale", 1));
        }
        self.inner.append(draft, None).await
    }

    async fn receive(&self, into: &mut Vec<Arrival>) -> Result {
        loop {
            let mut arrivals = Vec::new();
            let mut inner = self.inner.receive(&mut arrivals);
            let waiting = poll_fn(|cx| {
                if self.poll_waiting(cx, into).is_ready() {
                    return Poll::Ready(true);
                }
                inner.as_mut().poll(cx).map(|_| false)
            });
            if waiting.await {
                return Ok(());
            }
            drop(inner);
            let mut state = self.lock();
            arrivals.into_iter().for_each(|arrival| state.take(arrival));
        }
    }
}
