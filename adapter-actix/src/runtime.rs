use actix_web::rt;
use realtime_core::raw::{BoxFuture, Runtime};
use std::time::Duration;

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
}
