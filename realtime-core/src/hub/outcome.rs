use crate::util::sync::Mutex;
use realtime_protocol::{Appended, Error, Result, internal::Encoded};
use std::{
    collections::BTreeMap,
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// The result of a call, shared by all its callers; encoded, so that its size is known.
pub(crate) type Outcome = Result<Arc<Done>, Arc<Error>>;

/// The output of a call, and what it has appended to feeds.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) data: Encoded,
    pub(crate) wrote: Vec<Appended>,
}

impl Done {
    /// Returns the bytes that it takes, without those of the output's own structure.
    pub(super) fn len(&self) -> usize {
        let wrote = self.wrote.iter().map(|appended| {
            let Appended { topic, position } = appended;
            size_of::<Appended>()
                + topic.len()
                + position.epoch.len()
                + position.proof.as_ref().map_or(0, String::len)
        });
        self.data.len() + wrote.sum::<usize>()
    }
}

/// The outcome of one call once it is known, and the callers that wait for it.
#[derive(Default)]
pub(super) struct Pending(Mutex<State>);

enum State {
    Running(Waiting),
    Settled(Outcome),
}

impl Default for State {
    fn default() -> Self {
        Self::Running(Waiting::default())
    }
}

/// Each waiting caller has a number, to be removed when it gives up.
#[derive(Default)]
struct Waiting {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Pending {
    pub(super) fn settled(outcome: Outcome) -> Self {
        Self(Mutex::new(State::Settled(outcome)))
    }

    /// Settles the call, unless it is.
    pub(super) fn settle(&self, outcome: Outcome) {
        let mut state = self.0.lock();
        let State::Running(waiting) = &mut *state else { return };
        let waiting = mem::take(waiting);
        *state = State::Settled(outcome);
        drop(state);
        waiting.wakers.into_values().for_each(Waker::wake);
    }

    pub(super) fn wait(self: &Arc<Self>) -> Waiter {
        Waiter { pending: Arc::clone(self), place: None }
    }
}

/// A future of the outcome of a call. It may be dropped at any time.
pub(crate) struct Waiter {
    pending: Arc<Pending>,
    /// The number of its waker.
    place: Option<u64>,
}

impl Future for Waiter {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let waker = cx.waker().clone();
        let pending = Arc::clone(&self.pending);
        let mut state = pending.0.lock();
        let waiting = match &mut *state {
            State::Settled(outcome) => return Poll::Ready(outcome.clone()),
            State::Running(waiting) => waiting,
        };
        let place = *self.place.get_or_insert_with(|| {
            waiting.next += 1;
            waiting.next
        });
        let replaced = waiting.wakers.insert(place, waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let waker = match &mut *self.pending.0.lock() {
            State::Running(waiting) => waiting.wakers.remove(&place),
            State::Settled(_) => None,
        };
        drop(waker);
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::sync::Mutex as Lock;
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        task::Wake,
        thread::{self, Thread},
        time::{Duration, Instant},
    };

    fn number(number: u32) -> Outcome {
        Encoded::of(&number).map(|data| Arc::new(Done { data, wrote: Vec::new() })).map_err(Arc::new)
    }

    fn poll(waiter: &mut Waiter, waker: &Waker) -> bool {
        Pin::new(waiter).poll(&mut Context::from_waker(waker)).is_ready()
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn one_who_gives_up_is_forgotten() {
        let pending = Arc::<Pending>::default();
        let count = Arc::new(Count::default());
        let mut waiter = pending.wait();
        assert!(!poll(&mut waiter, &Arc::clone(&count).into()));
        assert_eq!(Arc::strong_count(&count), 2);
        drop(waiter);
        assert_eq!(Arc::strong_count(&count), 1);
        pending.settle(number(7));
    }

    #[test]
    fn a_task_that_moved_is_woken_where_it_is() {
        let pending = Arc::<Pending>::default();
        let [before, after] = [(); 2].map(|()| Arc::new(Count::default()));
        let mut waiter = pending.wait();
        assert!(!poll(&mut waiter, &Arc::clone(&before).into()));
        assert!(!poll(&mut waiter, &Arc::clone(&after).into()));
        pending.settle(number(7));
        assert_eq!((before.0.load(SeqCst), after.0.load(SeqCst)), (0, 1));
    }

    #[test]
    fn tasks_are_woken_without_the_lock() {
        struct Asks(Lock<Waiter>, AtomicUsize);

        impl Wake for Asks {
            fn wake(self: Arc<Self>) {
                let ready = poll(&mut self.0.lock(), Waker::noop());
                self.1.fetch_add(ready.into(), SeqCst);
            }
        }

        let pending = Arc::<Pending>::default();
        let asks = Arc::new(Asks(Lock::new(pending.wait()), AtomicUsize::new(0)));
        let mut waiter = pending.wait();
        assert!(!poll(&mut waiter, &Arc::clone(&asks).into()));
        pending.settle(number(7));
        assert_eq!(asks.1.load(SeqCst), 1);
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    #[test]
    fn a_wake_up_is_not_lost() {
        let both = Barrier::new(2);
        let calls: Vec<_> = (0..1000).map(|_| Arc::<Pending>::default()).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                let waker = Waker::from(Arc::new(Unpark(thread::current())));
                let late = Instant::now() + Duration::from_secs(30);
                for pending in &calls {
                    both.wait();
                    let mut waiter = pending.wait();
                    while !poll(&mut waiter, &waker) {
                        thread::park_timeout(Duration::from_secs(10));
                        assert!(Instant::now() < late, "nobody woke this thread");
                    }
                }
            });
            for pending in &calls {
                both.wait();
                pending.settle(number(1));
            }
        });
    }
}
