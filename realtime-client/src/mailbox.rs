use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

/// A queue of values that wait for one reader.
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

    /// Appends a value. The caller wakes the returned reader after releasing its own locks.
    pub(crate) fn push(&self, value: T) -> Option<Waker> {
        self.edit(|queue| queue.push_back(value))
    }

    /// Like `push`, but drops the oldest value if `limit` values wait already.
    pub(crate) fn push_within(&self, value: T, limit: usize) -> Option<Waker> {
        let mut inner = self.lock();
        let dropped = if inner.queue.len() >= limit { inner.queue.pop_front() } else { None };
        inner.missed += u64::from(dropped.is_some());
        inner.queue.push_back(value);
        let reader = inner.reader.take();
        drop(inner);
        drop(dropped);
        reader
    }

    /// Changes the waiting values.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut VecDeque<T>)) -> Option<Waker> {
        let mut inner = self.lock();
        if !inner.ended {
            change(&mut inner.queue);
        }
        inner.reader.take()
    }

    /// Ends the queue after the waiting values.
    pub(crate) fn end(&self) -> Option<Waker> {
        let mut inner = self.lock();
        inner.ended = true;
        inner.reader.take()
    }

    pub(crate) fn count(&self, counts: impl Fn(&T) -> bool) -> usize {
        self.lock().queue.iter().filter(|value| counts(value)).count()
    }

    /// Returns the number of values dropped since the last call, all of them before the next value.
    pub(crate) fn take_missed(&self) -> u64 {
        std::mem::take(&mut self.lock().missed)
    }

    /// Returns the next value, or `None` after the last.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        // Cloning and dropping a waker run the executor's code: neither happens under the lock.
        let reader = cx.waker().clone();
        let mut inner = self.lock();
        if let Some(value) = inner.queue.pop_front() {
            return Poll::Ready(Some(value));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        let last = inner.reader.replace(reader);
        drop(inner);
        drop(last);
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

/// A queue for any number of readers, each of which receives the values from its start on.
pub(crate) struct Feed<T>(Mutex<Vec<Weak<Mailbox<T>>>>);

impl<T: Clone> Feed<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Returns a mailbox that receives values from now on.
    pub(crate) fn subscribe(&self) -> Arc<Mailbox<T>> {
        let mailbox = Mailbox::new();
        self.lock().push(Arc::downgrade(&mailbox));
        mailbox
    }

    /// Appends `value` to each mailbox, where the newest `limit` values wait.
    pub(crate) fn publish(&self, value: &T, limit: usize) -> Wakes<T> {
        self.each(|mailbox| mailbox.push_within(value.clone(), limit))
    }

    /// Ends all mailboxes.
    pub(crate) fn end(&self) -> Wakes<T> {
        self.each(Mailbox::end)
    }

    fn each(&self, act: impl Fn(&Mailbox<T>) -> Option<Waker>) -> Wakes<T> {
        let mailboxes = self.mailboxes();
        let readers = mailboxes.iter().filter_map(|mailbox| act(mailbox)).collect();
        Wakes { readers, _mailboxes: mailboxes }
    }

    fn mailboxes(&self) -> Vec<Arc<Mailbox<T>>> {
        let mut mailboxes = self.lock();
        mailboxes.retain(|mailbox| mailbox.strong_count() > 0);
        mailboxes.iter().filter_map(Weak::upgrade).collect()
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

/// The readers of a feed that have something to read. The caller wakes them after releasing its own locks.
#[must_use = "the readers wait until they are woken"]
pub(crate) struct Wakes<T> {
    readers: Vec<Waker>,
    /// Keeps mailboxes alive: dropping the last reference drops a waker.
    _mailboxes: Vec<Arc<Mailbox<T>>>,
}

impl<T> Wakes<T> {
    pub(crate) fn wake(self) {
        self.readers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::{
        sync::{
            atomic::{AtomicU32, Ordering::Relaxed},
            mpsc,
        },
        task::Wake,
        thread,
        time::Duration,
    };

    /// A waker that runs `act` when it is woken, and when it is dropped.
    pub(crate) struct Acting<F: Fn() + Send + Sync + 'static>(pub(crate) F);

    impl<F: Fn() + Send + Sync + 'static> Wake for Acting<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }

    impl<F: Fn() + Send + Sync + 'static> Drop for Acting<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    /// Fails if `act` waits for a lock that its own thread holds.
    pub(crate) fn ends(act: impl FnOnce() + Send + 'static) {
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            act();
            done.send(()).ok();
        });
        ended.recv_timeout(Duration::from_secs(10)).expect("it waits for itself");
    }

    #[test]
    fn the_waker_of_a_reader_may_use_the_feed() {
        let feed = Arc::new(Feed::<u32>::new());
        let mailbox = feed.subscribe();
        let again = Arc::clone(&feed);
        let waker = Waker::from(Arc::new(Acting(move || drop(again.subscribe()))));
        assert!(mailbox.poll_next(&Context::from_waker(&waker)).is_pending());
        drop(waker);
        ends(move || feed.publish(&1, 8).wake());
    }

    #[test]
    fn the_waker_of_a_reader_may_use_the_mailbox_when_another_takes_its_place() {
        let mailbox = Mailbox::<u32>::new();
        let same = Arc::clone(&mailbox);
        let waker = Waker::from(Arc::new(Acting(move || assert_eq!(same.count(|_| true), 0))));
        assert!(mailbox.poll_next(&Context::from_waker(&waker)).is_pending());
        drop(waker);
        ends(move || assert!(mailbox.poll_next(&Context::from_waker(Waker::noop())).is_pending()));
    }

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
