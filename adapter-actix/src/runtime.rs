use actix_web::rt;
use realtime_core::raw::{BoxFuture, Runtime};
use std::{pin::pin, task::Context, time::Duration};

/// The actix runtime of the worker that accepted the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actix;

impl Runtime for Actix {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        Box::pin(rt::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        // Without a system the worker is shutting down, and the task is dropped.
        if actix_web::rt::System::try_current().is_some() {
            rt::spawn(task);
        }
    }

    /// Yields by tokio's own `yield_now`, which defers the task until the sockets have been polled. A task that wakes
    /// itself runs again first: tokio polls its sockets only every 61 polls of ready tasks.
    fn yield_now(&self, cx: &Context<'_>) {
        let _ = pin!(rt::task::yield_now()).poll(&mut Context::from_waker(cx.waker()));
    }
}
