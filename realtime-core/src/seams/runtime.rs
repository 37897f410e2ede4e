use std::{
    pin::Pin,
    sync::Arc,
    task::Context,
    time::{Duration, Instant},
};

/// A boxed future that may cross threads.
pub type BoxFuture<'a, T = ()> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The async runtime that the core runs on; an implementation is a few lines of forwarding.
///
/// The core rarely uses it: one task per [`Realtime`](crate::Realtime) that sleeps a tick at a time, the session of
/// each event stream, and an `on_close` whose connection's task was dropped. Connections have no timers.
pub trait Runtime: Send + Sync + 'static {
    /// Returns a future that completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static>;

    /// Returns the current time, on the clock of `sleep`.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Runs a future in the background until it completes. Does nothing if the runtime is shutting down.
    fn spawn(&self, task: BoxFuture<'static>);

    /// Schedules the calling task to be polled again after other tasks have run. A runtime that polls its sockets
    /// only now and then while tasks are ready should poll them first. By default the task is woken at once.
    fn yield_now(&self, cx: &Context<'_>) {
        cx.waker().wake_by_ref();
    }

    /// Takes note of a panic in the application's code, which was caught and logged. Does nothing by default; a test
    /// may fail for it.
    fn panicked(&self, _panic: &str) {}
}

impl<R: Runtime + ?Sized> Runtime for Arc<R> {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        (**self).sleep(duration)
    }

    fn now(&self) -> Instant {
        (**self).now()
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        (**self).spawn(task);
    }

    fn yield_now(&self, cx: &Context<'_>) {
        (**self).yield_now(cx);
    }

    fn panicked(&self, panic: &str) {
        (**self).panicked(panic);
    }
}
