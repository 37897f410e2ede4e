use super::Hub;
use crate::{
    ledger::{Account, Class, Ledger},
    seams::{BoxFuture, Broker, Publication, Runtime},
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
    while let Some(publication) = poll_fn(|cx| next(&state, cx)).await {
        for attempt in 1..=TRIES {
            let Err(error) = caught(|| broker.publish(&publication)).await else { break };
            if error.is_retryable() && attempt < TRIES {
                runtime.sleep(PAUSE).await;
                continue;
            }
            tracing::error!(topic = publication.topic, ?error, "the broker did not accept a publication");
            if let Some(hub) = hub.upgrade() {
                hub.counters.broker_failure();
            }
            break;
        }
    }
}

async fn receive(broker: Arc<dyn Broker>, state: Arc<Mutex<State>>, hub: Weak<Hub>, runtime: Arc<dyn Runtime>) {
    loop {
        let mut received = caught(|| broker.receive());
        let received = poll_fn(|cx| match poll_ended(&state, cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => Pin::new(&mut received).poll(cx).map(Some),
        });
        match received.await {
            None => return,
            Some(Ok(publication)) => {
                let Some(hub) = hub.upgrade() else { return };
                // Protocols are application code too.
                if let Err(panic) = catch(|| hub.deliver(&publication)) {
                    hub.counters.broker_failure();
                    tracing::error!(topic = publication.topic, panic = panic.0, "a publication was not delivered");
                }
            }
            Some(Err(error)) => {
                tracing::error!(?error, "the broker's link is down");
                if let Some(hub) = hub.upgrade() {
                    hub.counters.broker_failure();
                }
                runtime.sleep(PAUSE).await;
            }
        }
    }
}

fn next(state: &Mutex<State>, cx: &Context<'_>) -> Poll<Option<Publication>> {
    let mut state = state.lock();
    if let Some(publication) = state.waiting.pop_front() {
        let left = state.bytes - publication.size();
        state.count(left);
        return Poll::Ready(Some(publication));
    }
    if state.ended {
        return Poll::Ready(None);
    }
    state.wakers.add(cx.waker());
    Poll::Pending
}

fn poll_ended(state: &Mutex<State>, cx: &Context<'_>) -> Poll<()> {
    let mut state = state.lock();
    if state.ended {
        return Poll::Ready(());
    }
    state.wakers.add(cx.waker());
    Poll::Pending
}

/// Calls the broker; a panic in it, at any point, is an error, and the link goes on.
fn caught<'a, T>(call: impl FnOnce() -> BoxFuture<'a, Result<T>>) -> Caught<'a, T> {
    Caught(catch(call).map_err(|panic| Some(Error::internal(panic.0))))
}

struct Caught<'a, T>(Result<BoxFuture<'a, Result<T>>, Option<Error>>);

impl<T> Future for Caught<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        match &mut self.0 {
            Ok(future) => catch(|| future.as_mut().poll(cx))
                .unwrap_or_else(|panic| Poll::Ready(Err(Error::internal(panic.0)))),
            Err(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }
}

impl<T> Drop for Caught<'_, T> {
    fn drop(&mut self) {
        let future = std::mem::replace(&mut self.0, Err(None));
        if let Err(panic) = catch(|| drop(future)) {
            tracing::error!(panic = panic.0, "a broker panicked while its future was dropped");
        }
    }
}
