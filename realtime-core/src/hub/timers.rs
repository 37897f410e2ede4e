use super::Hub;
use crate::util::{TICK, sync::Mutex};
use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// The timers of the application, by the times at which they are due.
///
/// The [wheel](super::wheel) counts in ticks, which are too long for an application. These are exact, and few: the
/// [ticker](super::ticker) also wakes for the first of them.
#[derive(Debug, Default)]
pub(crate) struct Timers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The wakers of those who wait. The number tells apart those that are due at the same time.
    waiting: BTreeMap<(Instant, u64), Waker>,
    last: u64,
    /// The ticker, which waits for the first of them.
    ticker: Option<Waker>,
}

impl Timers {
    /// Adds a timer, and returns its number. The ticker is woken if it is now the first.
    fn add(&self, at: Instant, waker: Waker) -> u64 {
        let mut state = self.0.lock();
        state.last += 1;
        let number = state.last;
        state.waiting.insert((at, number), waker);
        let is_first = state.waiting.keys().next() == Some(&(at, number));
        let ticker = state.ticker.take_if(|_| is_first);
        drop(state);
        if let Some(ticker) = ticker {
            ticker.wake();
        }
        number
    }

    /// Updates the waker of a timer. Returns false if it was due.
    fn renew(&self, key: (Instant, u64), waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut state = self.0.lock();
        let Some(known) = state.waiting.get_mut(&key) else { return false };
        let known = std::mem::replace(known, waker);
        drop(state);
        drop(known);
        true
    }

    fn remove(&self, key: (Instant, u64)) {
        let removed = self.0.lock().waiting.remove(&key);
        drop(removed);
    }

    /// Wakes all that are due. Returns the time of the next, and remembers whom to wake if an earlier one is added.
    pub(super) fn fire(&self, now: Instant, ticker: Option<&Waker>) -> Option<Instant> {
        let mut state = self.0.lock();
        let later = state.waiting.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.waiting, later);
        let next = state.waiting.keys().next().map(|(at, _)| *at);
        let ticker = std::mem::replace(&mut state.ticker, ticker.cloned());
        drop(state);
        drop(ticker);
        due.into_values().for_each(Waker::wake);
        next
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().waiting.len()
    }
}

/// A future that is ready at a time. Dropping it removes its timer at once.
pub(crate) struct Timer {
    hub: Arc<Hub>,
    at: Instant,
    state: Waiting,
}

#[derive(Debug, PartialEq, Eq)]
enum Waiting {
    /// It was not polled yet.
    New,
    /// It has this number among the timers.
    For(u64),
    Over,
}

impl Timer {
    pub(crate) fn new(hub: &Arc<Hub>, at: Instant) -> Self {
        Self { hub: Arc::clone(hub), at, state: Waiting::New }
    }

    pub(crate) fn at(&self) -> Instant {
        self.at
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let waits = match this.state {
            Waiting::New if this.at > this.hub.instant() => {
                this.state = Waiting::For(this.hub.timers.add(this.at, cx.waker().clone()));
                true
            }
            Waiting::For(number) => this.hub.timers.renew((this.at, number), cx.waker()),
            Waiting::New | Waiting::Over => false,
        };
        if waits {
            return Poll::Pending;
        }
        this.state = Waiting::Over;
        Poll::Ready(())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Waiting::For(number) = self.state {
            self.hub.timers.remove((self.at, number));
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Hub {
    /// Returns the time after `duration`. One that cannot be counted is as good as never.
    pub(crate) fn instant_after(&self, duration: Duration) -> Instant {
        let now = self.instant();
        now.checked_add(duration).unwrap_or_else(|| now + NEVER)
    }

    /// Returns the time of a clock that is turned by hand.
    pub(super) fn manual_instant(&self) -> Instant {
        self.created + TICK * self.clock.now()
    }
}

/// Thirty years.
const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Realtime;

    fn poll(timer: &mut Timer) -> Poll<()> {
        Pin::new(timer).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_timer_is_ready_at_its_time_and_leaves_nothing() {
        let hub = Realtime::builder().manual_time().build().0;
        let mut timers = [500, 250, 500].map(|millis| {
            let at = hub.instant_after(Duration::from_millis(millis));
            Timer::new(&hub, at)
        });
        assert!(timers.iter_mut().all(|timer| poll(timer).is_pending()));
        hub.tick();
        assert_eq!(timers.each_mut().map(|timer| poll(timer).is_ready()), [false, true, false]);
        let [mut first, _, last] = timers;
        drop(last);
        assert_eq!(hub.timers.len(), 1);
        hub.tick();
        assert!(poll(&mut first).is_ready() && poll(&mut first).is_ready());
        assert_eq!(hub.timers.len(), 0);
    }

    #[test]
    fn a_time_that_is_over_needs_no_timer() {
        let hub = Realtime::builder().manual_time().build().0;
        assert!(poll(&mut Timer::new(&hub, hub.instant())).is_ready());
        assert!(poll(&mut Timer::new(&hub, hub.instant_after(Duration::MAX))).is_pending());
        assert_eq!(hub.timers.len(), 0);
    }

    #[test]
    fn the_ticker_is_woken_for_an_earlier_timer() {
        use std::{
            sync::atomic::{AtomicUsize, Ordering::Relaxed},
            task::Wake,
        };

        #[derive(Default)]
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Relaxed);
            }
        }

        let hub = Realtime::builder().manual_time().build().0;
        let woken = Arc::<Count>::default();
        let ticker = Waker::from(Arc::clone(&woken));
        let now = hub.instant();
        let mut timers = [5, 9, 3].map(|secs| Timer::new(&hub, now + Duration::from_secs(secs)));
        let counts = timers.each_mut().map(|timer| {
            assert_eq!(hub.timers.fire(now, Some(&ticker)).is_some(), hub.timers.len() > 0);
            let _ = poll(timer);
            woken.0.load(Relaxed)
        });
        assert_eq!(counts, [1, 1, 2]);
        assert_eq!(hub.timers.fire(now + Duration::from_secs(4), None), Some(now + Duration::from_secs(5)));
    }
}
