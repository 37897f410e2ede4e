use super::wakers::Wakers;
use crate::{error::Error, sync::Mutex};
use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

/// The messages of one client that wait for its handler, in order, what could not be read among
/// them.
#[derive(Debug)]
pub(crate) struct Inbox<M>(Mutex<State<M>>);

#[derive(Debug)]
struct State<M> {
    items: VecDeque<(Result<M, Error>, usize)>,
    bytes: usize,
    ended: bool,
    waiting: Wakers,
}

/// What is in an inbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl<M> Inbox<M> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { items: VecDeque::new(), bytes: 0, ended: false, waiting: Wakers::default() }))
    }

    /// Adds a message that took `bytes` on the wire. Wakes who waits for it, unless that is the
    /// driver's own task, which runs the handler next anyway.
    pub(crate) fn push(&self, cx: &Context<'_>, item: Result<M, Error>, bytes: usize) {
        let mut state = self.0.lock();
        if !state.ended {
            state.items.push_back((item, bytes));
            state.bytes += bytes;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.wake_others(cx.waker());
    }

    /// The next message; `None` when the inbox has ended and is empty.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<M, Error>>> {
        let mut state = self.0.lock();
        if let Some((item, bytes)) = state.items.pop_front() {
            state.bytes -= bytes;
            if state.items.is_empty() && state.items.capacity() > KEPT_MESSAGES {
                state.items = VecDeque::new();
            }
            return Poll::Ready(Some(item));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.waiting.add(cx.waker());
        Poll::Pending
    }

    /// No more messages come. Those that wait are dropped if `clear` says so.
    pub(crate) fn end(&self, clear: bool) {
        let mut state = self.0.lock();
        state.ended = true;
        // Dropped after the lock is gone: a message's `Drop` is the application's code.
        let dropped = clear.then(|| std::mem::take(&mut state.items));
        if clear {
            state.bytes = 0;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(dropped);
        waiting.wake();
    }

    pub(crate) fn backlog(&self) -> Backlog {
        self.0.lock().backlog()
    }
}

impl<M> State<M> {
    fn backlog(&self) -> Backlog {
        Backlog { messages: self.items.len(), bytes: self.bytes }
    }
}

/// A queue that a burst has grown beyond this is freed when it is empty.
const KEPT_MESSAGES: usize = 8;
