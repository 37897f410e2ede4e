use crate::{
    error::{Code, Error, Result},
    protocol::Encode,
    sync::Mutex,
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// The outcomes of calls with an idempotency key: a call that is made again is not run again, but gets the outcome of
/// the first, also while that still runs.
///
/// Outcomes are kept for a window of time, and fewer of them where there are too many calls: the oldest goes first. An
/// error that is retryable is not kept.
#[derive(Debug)]
pub(crate) struct Kept {
    limit: usize,
    /// In ticks.
    window: u32,
    entries: Mutex<Entries>,
}

/// What makes two calls one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyOf {
    /// Who calls: nobody gets the outcome of another's call.
    pub(crate) principal: String,
    /// The procedure.
    pub(crate) name: Arc<str>,
    /// The key that the client chose.
    pub(crate) key: String,
}

/// How a call ended.
pub(crate) type Outcome = Result<Arc<dyn Encode + Send + Sync>, Arc<Error>>;

/// What to do with a call.
#[derive(Debug)]
pub(crate) enum Begin {
    /// It is the first: run it.
    Run(Ticket),
    /// It runs elsewhere, or has: wait for its outcome.
    Wait(Waiter),
}

impl Kept {
    /// Keeps at most `limit` calls, running ones included, and outcomes for `window` ticks.
    pub(crate) fn new(limit: usize, window: u32) -> Arc<Self> {
        Arc::new(Self { limit, window, entries: Mutex::default() })
    }

    /// Begins a call at the tick `now`, or joins the one that has begun.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if there are as many calls as may be, and all are running.
    pub(crate) fn begin(self: &Arc<Self>, key: KeyOf, now: u32) -> Result<Begin> {
        let mut entries = self.entries.lock();
        // Values of the application: they are dropped behind the lock.
        let mut dropped = entries.expire(now, self.window);
        let begin = entries.join(&key).map(Ok).unwrap_or_else(|| {
            if entries.calls.len() >= self.limit {
                dropped.extend(entries.drop_oldest());
            }
            if entries.calls.len() >= self.limit {
                return Err(Error::resource_exhausted("too many calls with an idempotency key are running"));
            }
            let call = Arc::<Call>::default();
            let key = Arc::new(key);
            entries.calls.insert(Arc::clone(&key), Arc::clone(&call));
            Ok(Begin::Run(Ticket { kept: Arc::clone(self), key, call: Some(call) }))
        });
        drop(entries);
        drop(dropped);
        begin
    }

    fn settle(&self, key: &Arc<KeyOf>, call: &Call, outcome: Outcome) {
        let again = outcome.as_ref().is_err_and(|error| error.is_retryable());
        let mut entries = self.entries.lock();
        // Before those who wait know it: who of them tries again is to run.
        let removed = if again {
            entries.calls.remove(key)
        } else {
            entries.settled.push(Arc::clone(key));
            None
        };
        drop(entries);
        drop(removed);
        call.settle(outcome);
    }
}

impl Default for Kept {
    /// 10 000 calls, and outcomes for ten minutes: longer than a client goes on trying.
    fn default() -> Self {
        Self { limit: 10_000, window: 10 * 60 * 4, entries: Mutex::default() }
    }
}

#[derive(Default)]
struct Entries {
    calls: HashMap<Arc<KeyOf>, Arc<Call>>,
    /// Settled since the last `begin`, the oldest first. Their window begins with the next, before which nobody asks.
    settled: Vec<Arc<KeyOf>>,
    /// Settled before, and the tick until which they are kept.
    until: VecDeque<(u32, Arc<KeyOf>)>,
}

impl Entries {
    /// Takes out what need not be kept any longer.
    fn expire(&mut self, now: u32, window: u32) -> Vec<Arc<Call>> {
        self.until.extend(mem::take(&mut self.settled).into_iter().map(|key| (now.wrapping_add(window), key)));
        let mut expired = Vec::new();
        while let Some((until, _)) = self.until.front()
            && is_past(*until, now)
        {
            expired.extend(self.drop_oldest());
        }
        expired
    }

    fn drop_oldest(&mut self) -> Option<Arc<Call>> {
        let (_, key) = self.until.pop_front()?;
        self.calls.remove(&key)
    }

    fn join(&self, key: &KeyOf) -> Option<Begin> {
        let call = Arc::clone(self.calls.get(key)?);
        Some(Begin::Wait(Waiter { call, place: None }))
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("calls", &self.calls.len()).finish_non_exhaustive()
    }
}

/// The clock may wrap between the two.
fn is_past(until: u32, now: u32) -> bool {
    now.wrapping_sub(until) <= u32::MAX / 2
}

/// The right to run a call. Dropped without [`finish`](Self::finish), by a panic or a shutdown, it tells those who wait
/// to try again.
#[must_use = "those who wait for the call are told to try again when it is dropped"]
pub(crate) struct Ticket {
    kept: Arc<Kept>,
    key: Arc<KeyOf>,
    /// None once it is settled.
    call: Option<Arc<Call>>,
}

impl Ticket {
    /// Gives the outcome to all who wait, and keeps it for others unless it is a retryable error.
    pub(crate) fn finish(mut self, outcome: Outcome) {
        self.settle(|| outcome);
    }

    fn settle(&mut self, outcome: impl FnOnce() -> Outcome) {
        if let Some(call) = self.call.take() {
            self.kept.settle(&self.key, &call, outcome());
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(|| Err(Arc::new(Error::new(Code::ABORTED, "the call was given up").retryable())));
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("key", &self.key).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Call(Mutex<State>);

enum State {
    Running(Waiting),
    Settled(Outcome),
}

impl Default for State {
    fn default() -> Self {
        Self::Running(Waiting::default())
    }
}

/// Each who waits has a number, so that it can be forgotten when it gives up.
#[derive(Default)]
struct Waiting {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Call {
    fn settle(&self, outcome: Outcome) {
        let before = mem::replace(&mut *self.0.lock(), State::Settled(outcome));
        if let State::Running(waiting) = before {
            waiting.wakers.into_values().for_each(Waker::wake);
        }
    }
}

/// Ready with the outcome of a call. It may be dropped at any time.
pub(crate) struct Waiter {
    call: Arc<Call>,
    /// Where its waker is.
    place: Option<u64>,
}

impl Future for Waiter {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let waker = cx.waker().clone();
        let call = Arc::clone(&self.call);
        let mut state = call.0.lock();
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
        let waker = match &mut *self.call.0.lock() {
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
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering::SeqCst},
            mpsc,
        },
        task::Wake,
        thread::{self, Thread},
        time::{Duration, Instant},
    };

    const WINDOW: u32 = 10;

    fn key(key: impl ToString) -> KeyOf {
        KeyOf { principal: "ann".into(), name: "pay".into(), key: key.to_string() }
    }

    fn number(number: u32) -> Outcome {
        Ok(Arc::new(number))
    }

    /// What a client would be told.
    fn told(outcome: Outcome) -> String {
        match outcome {
            Ok(value) => {
                let mut json = Vec::new();
                value.encode_json(&mut json).unwrap();
                String::from_utf8(json).unwrap()
            }
            Err(error) => error.to_string(),
        }
    }

    fn run(kept: &Arc<Kept>, key: KeyOf, now: u32) -> Ticket {
        match kept.begin(key, now).unwrap() {
            Begin::Run(ticket) => ticket,
            Begin::Wait(_) => panic!("it has been begun before"),
        }
    }

    fn wait(kept: &Arc<Kept>, key: KeyOf, now: u32) -> Waiter {
        match kept.begin(key, now).unwrap() {
            Begin::Wait(waiter) => waiter,
            Begin::Run(_) => panic!("it is to be run"),
        }
    }

    fn poll(waiter: &mut Waiter, waker: &Waker) -> Option<String> {
        match Pin::new(waiter).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(outcome) => Some(told(outcome)),
            Poll::Pending => None,
        }
    }

    fn outcome(mut waiter: Waiter) -> Option<String> {
        poll(&mut waiter, Waker::noop())
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_call_is_run_once_and_all_get_its_outcome() {
        let kept = Kept::new(10, WINDOW);
        let ticket = run(&kept, key(1), 1);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut waiters = [(); 3].map(|()| wait(&kept, key(1), 1));
        for waiter in &mut waiters {
            assert_eq!((poll(waiter, &waker), poll(waiter, &waker)), (None, None));
        }
        ticket.finish(number(7));
        assert_eq!(count.0.load(SeqCst), 3);
        assert_eq!(waiters.map(outcome), [(); 3].map(|()| Some("7".into())));
        assert_eq!(outcome(wait(&kept, key(1), 2)), Some("7".into()));
    }

    #[test]
    fn calls_with_other_keys_are_others() {
        let kept = Kept::new(10, WINDOW);
        let _ticket = run(&kept, key(1), 1);
        let others =
            [KeyOf { principal: "bob".into(), ..key(1) }, KeyOf { name: "refund".into(), ..key(1) }, key(2)];
        for other in others {
            run(&kept, other, 1).finish(number(1));
        }
        assert_eq!(outcome(wait(&kept, key(1), 1)), None);
    }

    #[test]
    fn an_outcome_is_kept_for_its_window() {
        let kept = Kept::new(10, WINDOW);
        run(&kept, key(1), u32::MAX - 5).finish(number(7));
        for now in [u32::MAX - 3, 3, 5] {
            assert_eq!(outcome(wait(&kept, key(1), now)), Some("7".into()), "{now}");
        }
        run(&kept, key(1), 6).finish(number(8));
        assert_eq!(outcome(wait(&kept, key(1), 7)), Some("8".into()));
    }

    #[test]
    fn the_window_begins_when_the_call_has_ended() {
        let kept = Kept::new(10, WINDOW);
        let ticket = run(&kept, key(1), 1);
        assert_eq!(outcome(wait(&kept, key(1), 1000)), None);
        ticket.finish(number(7));
        assert_eq!(outcome(wait(&kept, key(1), 1001)), Some("7".into()));
    }

    #[test]
    fn a_retryable_error_is_told_and_not_kept() {
        let kept = Kept::new(10, WINDOW);
        let ticket = run(&kept, key(1), 1);
        let waiter = wait(&kept, key(1), 1);
        ticket.finish(Err(Arc::new(Error::unavailable("no database"))));
        assert_eq!(outcome(waiter), Some("UNAVAILABLE: no database".into()));
        run(&kept, key(1), 1).finish(Err(Arc::new(Error::not_found("no account"))));
        assert_eq!(outcome(wait(&kept, key(1), 1)), Some("NOT_FOUND: no account".into()));
    }

    #[test]
    fn those_who_wait_for_a_call_that_is_given_up_are_told() {
        let kept = Kept::new(10, WINDOW);
        let ticket = run(&kept, key(1), 1);
        let mut waiter = wait(&kept, key(1), 1);
        let count = Arc::new(Count::default());
        assert_eq!(poll(&mut waiter, &Arc::clone(&count).into()), None);
        drop(ticket);
        assert_eq!(count.0.load(SeqCst), 1);
        let Poll::Ready(Err(error)) = Pin::new(&mut waiter).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it has no error");
        };
        assert_eq!((error.code(), error.is_retryable()), (&Code::ABORTED, true));
        run(&kept, key(1), 1).finish(number(7));
    }

    #[test]
    fn one_who_gives_up_is_forgotten() {
        let kept = Kept::new(10, WINDOW);
        let ticket = run(&kept, key(1), 1);
        let count = Arc::new(Count::default());
        let mut waiter = wait(&kept, key(1), 1);
        assert_eq!(poll(&mut waiter, &Arc::clone(&count).into()), None);
        assert_eq!(Arc::strong_count(&count), 2);
        drop(waiter);
        assert_eq!(Arc::strong_count(&count), 1);
        ticket.finish(number(7));
    }

    #[test]
    fn a_task_that_moved_is_woken_where_it_is() {
        let kept = Kept::new(10, WINDOW);
        let ticket = run(&kept, key(1), 1);
        let [before, after] = [(); 2].map(|()| Arc::new(Count::default()));
        let mut waiter = wait(&kept, key(1), 1);
        assert_eq!(poll(&mut waiter, &Arc::clone(&before).into()), None);
        assert_eq!(poll(&mut waiter, &Arc::clone(&after).into()), None);
        ticket.finish(number(7));
        assert_eq!((before.0.load(SeqCst), after.0.load(SeqCst)), (0, 1));
    }

    #[test]
    fn the_oldest_outcome_makes_place_and_what_runs_does_not() {
        let kept = Kept::new(3, WINDOW);
        let running = run(&kept, key(1), 1);
        let [second, third] = [2, 3].map(|number| run(&kept, key(number), 1));
        assert_eq!(kept.begin(key(4), 1).unwrap_err().code(), &Code::RESOURCE_EXHAUSTED);
        assert_eq!(outcome(wait(&kept, key(1), 1)), None);
        third.finish(number(3));
        second.finish(number(2));
        let fourth = run(&kept, key(4), 1);
        assert_eq!(outcome(wait(&kept, key(2), 1)), Some("2".into()));
        let third = run(&kept, key(3), 1);
        assert!(kept.begin(key(2), 1).is_err());
        for ticket in [running, third, fourth] {
            ticket.finish(number(0));
        }
        assert_eq!(kept.entries.lock().calls.len(), 3);
    }

    #[test]
    fn values_are_dropped_without_the_lock() {
        struct Value(Arc<Kept>);

        impl serde::Serialize for Value {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_unit()
            }
        }

        impl Drop for Value {
            fn drop(&mut self) {
                WITHOUT_LOCK.fetch_add(is_unlocked(&self.0).into(), SeqCst);
            }
        }

        static WITHOUT_LOCK: AtomicUsize = AtomicUsize::new(0);
        let kept = Kept::new(1, WINDOW);
        let value = || Ok(Arc::new(Value(Arc::clone(&kept))) as _);
        run(&kept, key(1), 1).finish(value());
        // One has to go for the next, and the next is too old.
        run(&kept, key(2), 1).finish(value());
        assert_eq!(outcome(wait(&kept, key(2), 2)), Some("null".into()));
        let _ticket = run(&kept, key(3), 100);
        assert_eq!(WITHOUT_LOCK.load(SeqCst), 2);
    }

    #[test]
    fn tasks_are_woken_without_the_lock() {
        struct Asks(Arc<Kept>, AtomicUsize);

        impl Wake for Asks {
            fn wake(self: Arc<Self>) {
                self.1.fetch_add(is_unlocked(&self.0).into(), SeqCst);
            }
        }

        let kept = Kept::new(1, WINDOW);
        let ticket = run(&kept, key(1), 1);
        let asks = Arc::new(Asks(Arc::clone(&kept), AtomicUsize::new(0)));
        let mut waiter = wait(&kept, key(1), 1);
        assert_eq!(poll(&mut waiter, &Arc::clone(&asks).into()), None);
        ticket.finish(number(7));
        assert_eq!(asks.1.load(SeqCst), 1);
    }

    /// Asks on another thread: one that has the lock may not ask for it again.
    fn is_unlocked(kept: &Arc<Kept>) -> bool {
        let kept = Arc::clone(kept);
        let (unlocked, seen) = mpsc::channel();
        thread::spawn(move || {
            drop(kept.entries.lock());
            unlocked.send(())
        });
        seen.recv_timeout(Duration::from_secs(10)).is_ok()
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Waits for the outcome; fails where nobody wakes this thread.
    fn block_on(mut waiter: Waiter) -> String {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let late = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(outcome) = poll(&mut waiter, &waker) {
                return outcome;
            }
            thread::park_timeout(Duration::from_secs(10));
            assert!(Instant::now() < late, "nobody woke this thread");
        }
    }

    #[test]
    fn of_many_threads_one_runs_the_call() {
        let kept = Kept::new(1000, WINDOW);
        let runs = AtomicUsize::new(0);
        let work = || {
            (0..500).for_each(|call| match kept.begin(key(call), 1).unwrap() {
                Begin::Run(ticket) => {
                    runs.fetch_add(1, SeqCst);
                    ticket.finish(number(call));
                }
                Begin::Wait(waiter) => assert_eq!(block_on(waiter), call.to_string()),
            });
        };
        thread::scope(|scope| [(); 4].iter().for_each(|()| drop(scope.spawn(work))));
        assert_eq!(runs.load(SeqCst), 500);
    }

    #[test]
    fn a_wake_up_is_not_lost() {
        let kept = Kept::new(1000, WINDOW);
        let both = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                for call in 0..1000 {
                    both.wait();
                    let waiter = wait(&kept, key(call), 1);
                    both.wait();
                    assert_eq!(block_on(waiter), call.to_string());
                }
            });
            for call in 0..1000 {
                let ticket = run(&kept, key(call), 1);
                both.wait();
                both.wait();
                ticket.finish(number(call));
            }
        });
    }

    #[test]
    fn of_threads_that_try_again_each_gets_to_an_outcome() {
        let kept = Kept::new(1000, WINDOW);
        let runs = AtomicUsize::new(0);
        let attempt = |call: u32| match kept.begin(key(call), 1).unwrap() {
            // Every other run is given up.
            Begin::Run(ticket) if runs.fetch_add(1, SeqCst).is_multiple_of(2) => {
                drop(ticket);
                false
            }
            Begin::Run(ticket) => {
                ticket.finish(number(call));
                true
            }
            Begin::Wait(waiter) => block_on(waiter) == call.to_string(),
        };
        let work = || (0..300).for_each(|call| while !attempt(call) {});
        thread::scope(|scope| [(); 4].iter().for_each(|()| drop(scope.spawn(work))));
        assert_eq!(runs.load(SeqCst), 600);
    }
}
