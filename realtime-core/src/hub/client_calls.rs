use super::Client;
use crate::util::{panics::catch, sync::Mutex, wake};
use realtime_protocol::{
    Code, Error, Result,
    format::{Encode, Outgoing, Value},
};
use serde::de::DeserializeOwned;
use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// A call of one of the client's procedures that waits for its answer. Dropping it earlier cancels the call.
pub(crate) struct Calling<O> {
    client: Arc<Client>,
    number: u64,
    slot: Arc<Slot<O>>,
}

impl<O: DeserializeOwned + Send + 'static> Calling<O> {
    /// Sends the call.
    pub(crate) fn begin(client: &Arc<Client>, path: &str, input: &dyn Encode, timeout: Duration) -> Result<Self> {
        let slot = Arc::<Slot<O>>::new(Slot(Mutex::new(State { outcome: None, waker: None })));
        let deadline = client.hub.clock.past(timeout);
        let number = client.calls.add(Arc::clone(&slot) as Arc<dyn Settle>, deadline, client)?;
        let calling = Self { client: Arc::clone(client), number, slot };
        let id = id(number);
        if let Err(error) = client.send_packet(&Outgoing::Call { id: &id, path, input, timeout }) {
            // The call was not sent.
            client.calls.take(number);
            return Err(if client.outbox.has_ended() { ended() } else { error });
        }
        client.watch(deadline);
        Ok(calling)
    }
}

impl<O> Future for Calling<O> {
    type Output = Result<O>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<O>> {
        let mut state = self.slot.0.lock();
        if let Some(outcome) = state.outcome.take() {
            return Poll::Ready(outcome);
        }
        let known = state.waker.replace(cx.waker().clone());
        drop(state);
        drop(known);
        Poll::Pending
    }
}

impl<O> Drop for Calling<O> {
    fn drop(&mut self) {
        if self.client.calls.take(self.number).is_some() {
            self.client.tell_cancelled(self.number);
        }
    }
}

impl<O> fmt::Debug for Calling<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calling({})", self.number)
    }
}

/// Receives the answer to a call.
struct Slot<O>(Mutex<State<O>>);

struct State<O> {
    outcome: Option<Result<O>>,
    waker: Option<Waker>,
}

/// A [`Slot`] without its type.
trait Settle: Send + Sync {
    fn settle(&self, answer: Result<Value<'_>>);
}

impl<O: DeserializeOwned + Send + 'static> Settle for Slot<O> {
    fn settle(&self, answer: Result<Value<'_>>) {
        let outcome = answer.and_then(|data| {
            let read = catch(|| data.parse());
            read.unwrap_or_else(|panic| Err(Error::internal(panic.0)))
        });
        let waker = {
            let mut state = self.0.lock();
            state.outcome = Some(outcome);
            state.waker.take()
        };
        wake(waker);
    }
}

/// The calls of one client's procedures that wait for an answer.
#[derive(Default)]
pub(crate) struct ClientCalls(Mutex<Option<Box<Waiting>>>);

#[derive(Default)]
struct Waiting {
    last: u64,
    calls: HashMap<u64, Outcall>,
}

struct Outcall {
    slot: Arc<dyn Settle>,
    deadline: u32,
}

impl ClientCalls {
    fn add(&self, slot: Arc<dyn Settle>, deadline: u32, client: &Client) -> Result<u64> {
        let mut waiting = self.0.lock();
        // Set before `end` takes the lock: no call is left waiting forever.
        if client.is_ending() {
            return Err(ended());
        }
        let waiting = waiting.get_or_insert_default();
        let limit = client.hub.config.calls_per_connection;
        if waiting.calls.len() >= limit {
            return Err(Error::resource_exhausted(format!("{limit} calls wait for this client's answer already")));
        }
        waiting.last += 1;
        waiting.calls.insert(waiting.last, Outcall { slot, deadline });
        Ok(waiting.last)
    }

    fn take(&self, number: u64) -> Option<Arc<dyn Settle>> {
        Some(self.0.lock().as_mut()?.calls.remove(&number)?.slot)
    }

    /// Passes an answer to the call that waits for it; an answer without one is dropped.
    pub(crate) fn settle(&self, id: &str, answer: Result<Value<'_>>) {
        let number = id.strip_prefix('c').and_then(|number| number.parse().ok());
        if let Some(slot) = number.and_then(|number| self.take(number)) {
            slot.settle(answer);
        }
    }

    /// Fails all calls: the client is gone or leaving.
    pub(super) fn end(&self) {
        let Some(waiting) = self.0.lock().take() else { return };
        for call in waiting.calls.into_values() {
            call.slot.settle(Err(ended()));
        }
    }

    /// Removes the calls that are late; returns them, and the tick at which the next one is due.
    fn expire(&self, now: u32) -> (Vec<Late>, Option<u32>) {
        let mut waiting = self.0.lock();
        let Some(waiting) = waiting.as_mut() else { return (Vec::new(), None) };
        let due = waiting.calls.extract_if(|_, call| call.deadline <= now);
        let due = due.map(|(number, call)| (number, call.slot)).collect();
        (due, waiting.calls.values().map(|call| call.deadline).min())
    }
}

/// A call that was not answered in time.
type Late = (u64, Arc<dyn Settle>);

impl Client {
    /// Fails the client's calls that were not answered in time.
    pub(super) fn expire_calls(&self, now: u32) {
        let (late, next) = self.calls.expire(now);
        for (number, slot) in late {
            self.tell_cancelled(number);
            slot.settle(
                Err(Error::new(Code::DEADLINE_EXCEEDED, "the client did not answer in time").with_retry()),
            );
        }
        if let Some(next) = next {
            self.watch(next);
        }
    }

    fn tell_cancelled(&self, number: u64) {
        let id = id(number);
        // Without room for the packet, the client's answer is dropped later.
        let _ = self.encode(&Outgoing::Cancel { id: &id }, |frame| self.outbox.push_control(frame));
    }
}

impl fmt::Debug for ClientCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCalls")
    }
}

fn id(number: u64) -> String {
    format!("c{number}")
}

fn ended() -> Error {
    Error::unavailable("the connection has ended")
}
