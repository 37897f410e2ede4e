use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

/// What waits for one reader.
pub(crate) struct Mailbox<T>(Mutex<Inner<T>>);

struct Inner<T> {
    queue: VecDeque<T>,
    ended: bool,
    missed: u64,
    reader: Option<Waker>,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner { queue: VecDeque::new(), ended: false, missed: 0, reader: None })))
    }

    /// Adds a value behind the others. The caller wakes the reader, after it has let go of its own locks.
    pub(crate) fn push(&self, value: T) -> Option<Waker> {
        self.edit(|queue| queue.push_back(value))
    }

    /// Like `push`, and drops the oldest value where `limit` wait already.
    pub(crate) fn push_within(&self, value: T, limit: usize) -> Option<Waker> {
        let mut inner = self.lock();
        let dropped = if inner.queue.len() >= limit { inner.queue.pop_front() } else { None };
        inner.missed += u64::from(dropped.is_some());
        inner.queue.push_back(value);
        inner.reader.take()
    }

    /// Changes what waits.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut VecDeque<T>)) -> Option<Waker> {
        let mut inner = self.lock();
        if !inner.ended {
            change(&mut inner.queue);
        }
        inner.reader.take()
    }

    /// Nothing comes after what waits.
    pub(crate) fn end(&self) -> Option<Waker> {
        let mut inner = self.lock();
        inner.ended = true;
        inner.reader.take()
    }

    pub(crate) fn count(&self, counts: impl Fn(&T) -> bool) -> usize {
        self.lock().queue.iter().filter(|value| counts(value)).count()
    }

    /// How many values were dropped before the one that is next, since this was last asked.
    pub(crate) fn take_missed(&self) -> u64 {
        std::mem::take(&mut self.lock().missed)
    }

    /// The next value, and `None` after the last.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        let mut inner = self.lock();
        if let Some(value) = inner.queue.pop_front() {
            return Poll::Ready(Some(value));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        inner.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) async fn next(&self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({})", self.lock().queue.len())
    }
}

/// What any number of readers get, each from when it began to read.
pub(crate) struct Feed<T>(Mutex<Vec<Weak<Mailbox<T>>>>);

impl<T: Clone> Feed<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// A mailbox that gets what comes from now on.
    pub(crate) fn subscribe(&self) -> Arc<Mailbox<T>> {
        let mailbox = Mailbox::new();
        self.lock().push(Arc::downgrade(&mailbox));
        mailbox
    }

    /// Gives `value` to each; of those that nobody takes, the newest `limit` wait.
    pub(crate) fn publish(&self, value: &T, limit: usize) {
        self.each(|mailbox| mailbox.push_within(value.clone(), limit));
    }

    /// Nothing comes any more.
    pub(crate) fn end(&self) {
        self.each(Mailbox::end);
    }

    fn each(&self, act: impl Fn(&Mailbox<T>) -> Option<Waker>) {
        let mut readers = self.lock();
        readers.retain(|reader| reader.strong_count() > 0);
        let readers: Vec<_> = readers.iter().filter_map(Weak::upgrade).collect();
        // The list's lock is gone by now: a reader's waker may do anything.
        readers.iter().filter_map(|mailbox| act(mailbox)).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Mailbox<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicU32, Ordering::Relaxed},
        task::Wake,
    };

    #[test]
    fn whoever_asked_last_is_woken() {
        #[derive(Default)]
        struct Count(AtomicU32);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Relaxed);
            }
        }

        let mailbox = Mailbox::new();
        let readers = [Arc::new(Count::default()), Arc::new(Count::default())];
        for reader in &readers {
            assert!(mailbox.poll_next(&Context::from_waker(&Arc::clone(reader).into())).is_pending());
        }
        mailbox.push(1).into_iter().for_each(Waker::wake);
        mailbox.push(2).into_iter().for_each(Waker::wake);
        assert_eq!(readers.map(|reader| reader.0.load(Relaxed)), [0, 1]);
    }

    #[test]
    fn what_waits_comes_before_the_end_and_nothing_after() {
        let mailbox = Mailbox::new();
        mailbox.push(1);
        mailbox.end();
        mailbox.push(2);
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(mailbox.poll_next(&cx), Poll::Ready(Some(1)));
        assert_eq!(mailbox.poll_next(&cx), Poll::Ready(None));
    }
}
