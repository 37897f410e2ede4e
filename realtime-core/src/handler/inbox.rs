use crate::{
    session::Backlog,
    util::{Wakers, sync::Mutex},
};
use realtime_protocol::Error;
use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

/// The queue of one client's messages for its handler, in order; messages that could not be parsed are errors in it.
#[derive(Debug)]
pub(crate) struct Inbox<M>(Mutex<State<M>>);

#[derive(Debug)]
struct State<M> {
    first: Option<Item<M>>,
    /// The messages behind the first. Most clients never have any.
    rest: VecDeque<Item<M>>,
    /// Bytes of all queued messages.
    bytes: usize,
    /// The messages of the last batch. They may not be handled yet, so they still count as queued.
    taken: Backlog,
    ended: bool,
    waiting: Wakers,
}

/// Messages that a handler took together.
pub(crate) type Batch<M> = VecDeque<Item<M>>;

/// A message, or its parse error, and its size on the wire in bytes.
pub(crate) type Item<M> = (Result<M, Error>, usize);

impl<M> Inbox<M> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            first: None,
            rest: VecDeque::new(),
            bytes: 0,
            taken: Backlog::default(),
            ended: false,
            waiting: Wakers::default(),
        }))
    }

    /// Adds a message that took `bytes` on the wire; returns the new backlog. Wakes the waiting task, unless that is
    /// the driver's own, which runs the handler next anyway.
    pub(crate) fn push(&self, cx: &Context<'_>, item: Result<M, Error>, bytes: usize) -> Backlog {
        let mut state = self.0.lock();
        if !state.ended {
            state.push((item, bytes));
        }
        let (waiting, backlog) = (state.waiting.take_others(cx.waker()), state.backlog());
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        backlog
    }

    /// Polls for the next message; `None` when the inbox has ended and is empty.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<M, Error>>> {
        self.poll_batch(cx, None)
    }

    /// Polls for the next message and moves those behind it into `batch`, which must be empty. So a handler that is the
    /// only reader takes the lock once for all of them. They count as queued until the next call.
    pub(crate) fn poll_batch(
        &self,
        cx: &Context<'_>,
        batch: Option<&mut Batch<M>>,
    ) -> Poll<Option<Result<M, Error>>> {
        let mut state = self.0.lock();
        state.taken = Backlog::default();
        if let Some((item, bytes)) = state.pop() {
            if let Some(batch) = batch
                && state.first.is_some()
            {
                state.take_rest(batch);
                state.taken.messages += 1;
                state.taken.bytes += bytes;
            }
            return Poll::Ready(Some(item));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.waiting.add(cx.waker());
        Poll::Pending
    }

    /// Ends the inbox: no more messages come. If `clear` is set, queued messages are dropped.
    pub(crate) fn end(&self, clear: bool) {
        let mut state = self.0.lock();
        state.ended = true;
        // Dropped after the lock is released: a message's `Drop` is application code.
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

    /// Frees the memory of a burst once it is over.
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

    fn pop(&mut self) -> Option<Item<M>> {
        let item = self.first.take()?;
        self.bytes -= item.1;
        self.first = self.rest.pop_front();
        Some(item)
    }

    fn take_rest(&mut self, batch: &mut Batch<M>) {
        debug_assert!(batch.is_empty());
        std::mem::swap(&mut self.rest, batch);
        if let Some(first) = self.first.take() {
            batch.push_front(first);
        }
        self.taken = Backlog { messages: batch.len(), bytes: std::mem::take(&mut self.bytes) };
    }

    fn backlog(&self) -> Backlog {
        let here = usize::from(self.first.is_some()) + self.rest.len();
        Backlog { messages: here + self.taken.messages, bytes: self.bytes + self.taken.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_batch_counts_as_waiting_until_the_next_is_asked_for() {
        let cx = Context::from_waker(Waker::noop());
        let inbox = Inbox::new();
        for number in 1..=3 {
            inbox.push(&cx, Ok(number), 10);
        }
        let mut batch = Batch::new();
        let Poll::Ready(Some(Ok(1))) = inbox.poll_batch(&cx, Some(&mut batch)) else { panic!() };
        assert_eq!(batch.len(), 2);
        let Backlog { messages, bytes } = inbox.push(&cx, Ok(4), 5);
        assert_eq!((messages, bytes), (4, 35));

        batch.clear();
        let Poll::Ready(Some(Ok(4))) = inbox.poll_batch(&cx, Some(&mut batch)) else { panic!() };
        let Backlog { messages, bytes } = inbox.backlog();
        assert_eq!((messages, bytes, batch.len()), (0, 0, 0));
    }
}
