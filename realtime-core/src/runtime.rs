use std::{pin::Pin, time::Duration};

/// A boxed future that may cross threads.
pub type BoxFuture<'a, T = ()> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the core needs of an async runtime: a backend is a few lines of forwarding.
///
/// The core asks for it rarely: one task per [`Realtime`](crate::Realtime) that sleeps a tick at a
/// time, and an `on_close` whose connection's own task was dropped. Connections have no timers.
pub trait Runtime: Send + Sync + 'static {
    /// A future that is ready after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static>;

    /// Runs a future to its end in the background. Does nothing if the runtime is shutting down.
    fn spawn(&self, task: BoxFuture<'static>);
}
