use actix_web::rt;
use realtime_core::raw::{BoxFuture, Runtime};
use std::{pin::pin, task::Context, time::Duration};

/// The actix runtime of the worker that took the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actix;

impl Runtime for Actix {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        Box::pin(rt::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        // Dropped where a worker is already shutting down: there is no system any more.
        if actix_web::rt::System::try_current().is_some() {
            rt::spawn(task);
        }
    }

    /// tokio looks at its sockets every 61 polls while tasks are ready; those that yield by its own means wait for that.
    fn yield_now(&self, cx: &Context<'_>) {
        let mut cx = Context::from_waker(cx.waker());
        let _ = pin!(rt::task::yield_now()).poll(&mut cx);
    }
}
