use crate::hub::Client;
use crate::session::driver::Driver;
use crate::util::panics::{catch, drop_caught, poll_caught};
use crate::calls::CallCore;
use crate::handles::AnyConnection;
use crate::seams::{BoxFuture, Transport};
use realtime_protocol::Close;
use bytes::Bytes;
use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A session on its transport, from `on_open` to `on_close`: the one future of a connection.
///
/// `Send` exactly when the transport is. Where it is dropped before its end, `on_close` runs on the
/// hub's runtime. By hand instead of an `async fn`, which would keep its arguments beside its
/// locals: this is most of what an idle connection takes.
pub(crate) struct Serving<T>(Stage<T>);

enum Stage<T> {
    Running(Driver<T>),
    Closing(BoxFuture<'static>),
    Ended,
}

impl<T: Transport> Serving<T> {
    pub(crate) fn new(session: Arc<Session>, transport: T, early: Bytes) -> Self {
        Self(Stage::Running(Driver::new(session, transport, early)))
    }
}

impl<T: Transport> Future for Serving<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Stage::Running(driver) = &mut self.0 {
            let close = ready!(driver.poll(cx));
            let leave = Leave(Arc::clone(&driver.session));
            self.0 = Stage::Closing(Box::pin(run_on_close(leave, close)));
        }
        if let Stage::Closing(closing) = &mut self.0 {
            ready!(closing.as_mut().poll(cx));
        }
        self.0 = Stage::Ended;
        Poll::Ready(())
    }
}

impl<T> Drop for Serving<T> {
    fn drop(&mut self) {
        let Stage::Running(driver) = std::mem::replace(&mut self.0, Stage::Ended) else { return };
        let (leave, opened) = (Leave(Arc::clone(&driver.session)), driver.opened);
        drop(driver);
        let close = leave.0.outbox.shut().unwrap_or_else(Close::lost);
        // Without an `on_open` there is no `on_close`.
        if opened {
            let hub = Arc::clone(&leave.0.hub);
            hub.spawn(Box::pin(run_on_close(leave, close)));
        }
    }
}

/// Takes a session off the hub's lists when it is dropped, whatever became of `on_close`.
struct Leave(Arc<Session>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.begin_end();
        self.0.release();
    }
}

async fn run_on_close(leave: Leave, close: Close) {
    let session = &leave.0;
    session.begin_end();
    let (id, endpoint) = (session.id, &session.endpoint.id);
    tracing::debug!(connection = %id, %endpoint, code = %close.code, reason = %close.reason, "closed");
    let call = Arc::new(CallCore::of_connection(AnyConnection::new(Arc::clone(session))));
    for close_of in &session.endpoint.router.closes {
        run_hook(session, || close_of.close(&call, close.clone())).await;
    }
    run_hook(session, || session.endpoint.hooks.close(session, close)).await;
}

/// Runs one hook of the application's; a panic in it harms nothing else.
async fn run_hook(session: &Session, hook: impl FnOnce() -> BoxFuture<'static>) {
    let (id, endpoint) = (session.id, &session.endpoint.id);
    let Ok(mut hook) = catch(hook).inspect_err(|panic| {
        tracing::error!(connection = %id, %endpoint, panic = panic.0, "on_close panicked");
    }) else {
        return;
    };
    if let Err(panic) = poll_fn(|cx| poll_caught(&mut hook, cx)).await {
        tracing::error!(connection = %id, %endpoint, panic = panic.0, "on_close panicked");
    }
    drop_caught(hook);
}
