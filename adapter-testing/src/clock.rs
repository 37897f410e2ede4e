use realtime_core::raw::BoxFuture;
use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

/// The clock of a server.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    Manual(ManualClock),
    /// The one of the tokio runtime that the test runs on.
    #[cfg(feature = "tokio")]
    Tokio,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self::Manual(ManualClock::new())
    }

    #[cfg(feature = "tokio")]
    #[track_caller]
    pub(crate) fn of_tokio() -> Self {
        let runtime = tokio::runtime::Handle::try_current();
        assert!(runtime.is_ok(), "there is no tokio: write `#[tokio::test(start_paused = true)]` above the test");
        Self::Tokio
    }

    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Manual(clock) => clock.now(),
            #[cfg(feature = "tokio")]
            Self::Tokio => tokio::time::Instant::now().into_std(),
        }
    }

    pub(crate) fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        match self {
            Self::Manual(clock) => clock.sleep(duration),
            #[cfg(feature = "tokio")]
            Self::Tokio => Box::pin(tokio::time::sleep(duration)),
        }
    }
}

/// A clock that stands still until it is advanced.
#[derive(Clone, Debug)]
pub(crate) struct ManualClock {
    start: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    now: Duration,
    sleepers: Vec<(Duration, Waker)>,
}

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), state: Arc::default() }
    }

    pub(crate) fn now(&self) -> Instant {
        self.start + self.with(|state| state.now)
    }

    pub(crate) fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        let clock = self.clone();
        let until = self.with(|state| state.now) + duration;
        Box::pin(poll_fn(move |cx| {
            clock.with(|state| {
                if state.now >= until {
                    return Poll::Ready(());
                }
                state.sleepers.push((until, cx.waker().clone()));
                Poll::Pending
            })
        }))
    }

    /// Advances to the next timer, but not past `end`. Returns true if `end` is reached.
    pub(crate) fn step(&self, end: Instant) -> bool {
        let end = end - self.start;
        let (due, reached) = self.with(|state| {
            state.now = state.sleepers.iter().map(|(until, _)| *until).min().unwrap_or(end).clamp(state.now, end);
            let now = state.now;
            let due: Vec<_> = state.sleepers.extract_if(.., |(until, _)| *until <= now).collect();
            (due, now == end)
        });
        for (_, waker) in due {
            waker.wake();
        }
        reached
    }

    /// Advances by `duration` at once, past all timers.
    pub(crate) fn jump(&self, duration: Duration) {
        self.with(|state| state.now += duration);
        self.step(self.now());
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
