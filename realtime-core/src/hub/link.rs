use super::Hub;
use crate::{
    ledger::{Account, Class, Ledger},
    seams::{Arrival, BoxFuture, Broker, Publication, Runtime, Untaken},
    util::{Wakers, panics::catch, sync::Mutex},
};
use realtime_protocol::{Error, Result};
use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

/// A hub's side of its broker: the queue of publications to hand over, and the two tasks that talk to the broker.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) broker: Arc<dyn Broker>,
    /// The most bytes that may wait.
    limit: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Publication>,
    /// Bytes of all of them.
    bytes: usize,
    account: Account,
    /// Set when the hub is gone.
    ended: bool,
    wakers: Wakers,
}

impl State {
    fn count(&mut self, bytes: usize) {
        self.bytes = bytes;
        self.account.set(bytes);
    }
}

/// Publications that may wait while the broker is slow or down; over it publishing fails.
const WAITING: usize = 16_384;

/// Pause before a retry after the broker has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Tries of one publication, a pause apart.
const TRIES: usize = 30;

impl Link {
    /// Creates a link on which publications of `limit` bytes may wait.
    pub(crate) fn new(broker: Arc<dyn Broker>, limit: usize, ledger: &Arc<Ledger>) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            bytes: 0,
            account: Account::new(ledger, Class::Broker),
            ended: false,
            wakers: Wakers::default(),
        };
        Self { broker, limit, state: Arc::new(Mutex::new(state)) }
    }

    /// Queues a publication for the other nodes.
    pub(crate) fn publish(&self, publication: Publication) -> Result {
        let bytes = publication.size();
        if bytes > self.limit {
            let text = format!(
                "a publication of {bytes} bytes is over the limit of {} that may wait for the broker",
                self.limit
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

    /// Starts the two tasks unless they are running: a runtime that has ended has dropped them.
    pub(crate) fn start(&self, hub: Weak<Hub>, runtime: &Arc<dyn Runtime>) {
        if Arc::strong_count(&self.state) > 1 {
            return;
        }
        let (broker, state) = (Arc::clone(&self.broker), Arc::clone(&self.state));
        runtime.spawn(Box::pin(hand_over(broker, state, hub.clone(), Arc::clone(runtime))));
        let (broker, state) = (Arc::clone(&self.broker), Arc::clone(&self.state));
        runtime.spawn(Box::pin(receive(broker, state, hub, Arc::clone(runtime))));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let wakers = {
            let mut state = self.state.lock();
            state.ended = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.wake();
    }
}

async fn hand_over(broker: Arc<dyn Broker>, state: Arc<Mutex<State>>, hub: Weak<Hub>, runtime: Arc<dyn Runtime>) {
    let mut batch = Vec::new();
    let mut tries = 0;
    while poll_fn(|cx| next(&state, &mut batch, cx)).await {
        let Err(Untaken { taken, unsure, error }) = caught(|| broker.publish(&batch)).await else {
            batch.clear();
            tries = 0;
            continue;
        };
        // What may have been taken is not sent again: a publication arrives at most once.
        let settled = (taken + unsure).min(batch.len());
        tries = if settled > 0 { 1 } else { tries + 1 };
        let again = error.is_retryable() && tries < TRIES;
        let lost = if again { unsure } else { batch.len() - taken.min(batch.len()) };
        if lost > 0 {
            tracing::error!(
                topic = batch[taken.min(batch.len() - 1)].topic,
                lost,
                ?error,
                "the broker did not accept publications"
            );
            if let Some(hub) = hub.upgrade() {
                hub.counters.broker_failures(lost);
            }
        }
        batch.drain(..if again { settled } else { batch.len() });
        if again {
            runtime.sleep(PAUSE).await;
        }
    }
}

async fn receive(broker: Arc<dyn Broker>, state: Arc<Mutex<State>>, hub: Weak<Hub>, runtime: Arc<dyn Runtime>) {
    let mut arrivals = Vec::new();
    loop {
        let received = {
            let mut received = caught(|| broker.receive(&mut arrivals));
            poll_fn(|cx| match poll_ended(&state, cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => Pin::new(&mut received).poll(cx).map(Some),
            })
            .await
        };
        let Some(received) = received else { return };
        let Some(hub) = hub.upgrade() else { return };
        for arrival in arrivals.drain(..) {
            handle(&hub, arrival);
        }
        if let Err(error) = received {
            tracing::error!(?error, "the broker's link is down");
            hub.counters.broker_failure();
            drop(hub);
            runtime.sleep(PAUSE).await;
        }
    }
}

fn handle(hub: &Arc<Hub>, arrival: Arrival) {
    let Arrival::Publication(publication) = arrival else { return };
    // Protocols are application code too.
    if let Err(panic) = catch(|| hub.deliver(&publication)) {
        hub.counters.broker_failure();
        tracing::error!(topic = publication.topic, panic = panic.0, "a publication was not delivered");
    }
}

/// Waits for publications, and moves some of them to `batch`, behind those that are to be tried again. Returns false
/// at the end.
fn next(state: &Mutex<State>, batch: &mut Vec<Publication>, cx: &Context<'_>) -> Poll<bool> {
    let mut state = state.lock();
    while batch.len() < BATCH
        && let Some(publication) = state.waiting.pop_front()
    {
        let left = state.bytes - publication.size();
        state.count(left);
        batch.push(publication);
    }
    if !batch.is_empty() {
        return Poll::Ready(true);
    }
    if state.ended {
        return Poll::Ready(false);
    }
    state.wakers.add(cx.waker());
    Poll::Pending
}

/// Publications that are handed over together.
const BATCH: usize = 256;

fn poll_ended(state: &Mutex<State>, cx: &Context<'_>) -> Poll<()> {
    let mut state = state.lock();
    if state.ended {
        return Poll::Ready(());
    }
    state.wakers.add(cx.waker());
    Poll::Pending
}

/// Calls the broker; a panic in it, at any point, is an error, and the link goes on.
fn caught<'a, T, E: From<Error>>(call: impl FnOnce() -> BoxFuture<'a, Result<T, E>>) -> Caught<'a, T, E> {
    Caught(catch(call).map_err(|panic| Some(Error::internal(panic.0))))
}

struct Caught<'a, T, E>(Result<BoxFuture<'a, Result<T, E>>, Option<Error>>);

impl<T, E: From<Error>> Future for Caught<'_, T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        match &mut self.0 {
            Ok(future) => catch(|| future.as_mut().poll(cx))
                .unwrap_or_else(|panic| Poll::Ready(Err(Error::internal(panic.0).into()))),
            Err(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error.into()))),
        }
    }
}

impl<T, E> Drop for Caught<'_, T, E> {
    fn drop(&mut self) {
        let future = std::mem::replace(&mut self.0, Err(None));
        if let Err(panic) = catch(|| drop(future)) {
            tracing::error!(panic = panic.0, "a broker panicked while its future was dropped");
        }
    }
}
