use std::{
    pin::Pin,
    sync::Arc,
    task::Context,
    time::{Duration, Instant},
};

/// A boxed future that may cross threads.
pub type BoxFuture<'a, T = ()> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the core needs of an async runtime: a backend is a few lines of forwarding.
///
/// The core asks for it rarely: one task per [`Realtime`](crate::Realtime) that sleeps a tick at a
/// time, the session of each event stream, and an `on_close` whose connection's own task was
/// dropped. Connections have no timers.
pub trait Runtime: Send + Sync + 'static {
    /// A future that is ready after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static>;

    /// The time now, on the clock that `sleep` goes by.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Runs a future to its end in the background. Does nothing if the runtime is shutting down.
    fn spawn(&self, task: BoxFuture<'static>);

    /// Has the calling task polled again after others have had their turn. A runtime that looks at its sockets only
    /// now and then while tasks are ready should do that first. By default the task is woken at once.
    fn yield_now(&self, cx: &Context<'_>) {
        cx.waker().wake_by_ref();
    }
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
}
