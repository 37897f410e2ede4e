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
    first: Option<Item<M>>,
    /// Those behind the first. Most clients never have any here.
    rest: VecDeque<Item<M>>,
    bytes: usize,
    ended: bool,
    waiting: Wakers,
}

/// A message, and how many bytes it took on the wire.
type Item<M> = (Result<M, Error>, usize);

/// What is in an inbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl<M> Inbox<M> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            first: None,
            rest: VecDeque::new(),
            bytes: 0,
            ended: false,
            waiting: Wakers::default(),
        }))
    }

    /// Adds a message that took `bytes` on the wire; gives what waits now. Wakes who waits for it,
    /// unless that is the driver's own task, which runs the handler next anyway.
    pub(crate) fn push(&self, cx: &Context<'_>, item: Result<M, Error>, bytes: usize) -> Backlog {
        let mut state = self.0.lock();
        if !state.ended {
            state.push((item, bytes));
        }
        let (waiting, backlog) = (state.waiting.take_others(cx.waker()), state.backlog());
        drop(state);
        waiting.wake();
        backlog
    }

    /// The next message; `None` when the inbox has ended and is empty.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<M, Error>>> {
        let mut state = self.0.lock();
        if let Some(item) = state.pop() {
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
        let dropped = clear.then(|| (state.first.take(), std::mem::take(&mut state.rest)));
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

    /// Frees what a burst has grown, if it is over.
    pub(crate) fn shrink(&self) {
        let mut state = self.0.lock();
        if state.rest.is_empty() {
            state.rest = VecDeque::new();
        }
    }
}

impl<M> State<M> {
    fn push(&mut self, item: Item<M>) {
        self.bytes += item.1;
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.push_back(item),
        }
    }

    fn pop(&mut self) -> Option<Result<M, Error>> {
        let (item, bytes) = self.first.take()?;
        self.bytes -= bytes;
        self.first = self.rest.pop_front();
        Some(item)
    }

    fn backlog(&self) -> Backlog {
        Backlog { messages: usize::from(self.first.is_some()) + self.rest.len(), bytes: self.bytes }
    }
}
