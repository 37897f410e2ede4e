use crate::clock::Clock;
use futures_util::{
    FutureExt,
    stream::{FuturesUnordered, StreamExt},
};
use realtime_core::raw::{BoxFuture, Runtime};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

/// The tasks of a server, run by any future that awaits something from it.
#[derive(Clone)]
pub(crate) struct Executor(Arc<Inner>);

struct Inner {
    tasks: Mutex<FuturesUnordered<BoxFuture<'static>>>,
    spawned: Mutex<Vec<BoxFuture<'static>>>,
    signal: Arc<Signal>,
    clock: Clock,
    /// The panic of a handler that used tokio without being on it.
    misuse: Mutex<Option<String>>,
}

impl Executor {
    pub(crate) fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            tasks: Mutex::default(),
            spawned: Mutex::default(),
            signal: Arc::default(),
            clock,
            misuse: Mutex::default(),
        }))
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Runs the tasks until they all wait. Their next wake-up goes to `cx`.
    pub(crate) fn run(&self, cx: &Context<'_>) {
        let signal = &self.0.signal;
        signal.set_outer(Some(cx.waker().clone()));
        let waker = Waker::from(Arc::clone(signal));
        let mut inner = Context::from_waker(&waker);
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            signal.woken.store(false, SeqCst);
            tasks.extend(std::mem::take(&mut *self.0.spawned.lock().unwrap_or_else(PoisonError::into_inner)));
            while tasks.next().poll_unpin(&mut inner).is_ready() && !tasks.is_empty() {}
            if !signal.woken.load(SeqCst) {
                break;
            }
        }
        drop(tasks);
        self.fail_for_misuse();
    }

    /// Fails the test, whose client would only see an internal error.
    fn fail_for_misuse(&self) {
        let misuse = self.0.misuse.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(misuse) = misuse {
            panic!(
                "{misuse}. Or run the test with `#[tokio::test(start_paused = true)]` and `TestServer::with_tokio_time`"
            );
        }
    }
}

impl Runtime for Executor {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        self.0.clock.sleep(duration)
    }

    fn now(&self) -> Instant {
        self.0.clock.now()
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        self.0.spawned.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        Arc::clone(&self.0.signal).wake();
    }

    fn panicked(&self, panic: &str) {
        if panic.starts_with("there is no reactor running") {
            *self.0.misuse.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic.to_owned());
        }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}

/// Records that a task was woken, and wakes the test that awaits it.
#[derive(Default)]
struct Signal {
    woken: AtomicBool,
    outer: Mutex<Option<Waker>>,
}

impl Signal {
    fn set_outer(&self, waker: Option<Waker>) {
        *self.outer.lock().unwrap_or_else(PoisonError::into_inner) = waker;
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, SeqCst);
        let outer = self.outer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(outer) = outer {
            outer.wake();
        }
    }
}
