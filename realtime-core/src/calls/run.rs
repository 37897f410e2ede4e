use super::CallCore;
use crate::{
    seams::BoxFuture,
    util::panics::{Panicked, catch},
};
use realtime_protocol::{Code, Error, Result};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

/// Drops an application future, which may panic.
pub(crate) fn drop_running<T>(running: &mut Option<Pin<Box<T>>>)
where
    T: ?Sized,
{
    if let Some(running) = running.take()
        && let Err(panic) = catch(|| drop(running))
    {
        tracing::error!(panic = panic.0, "a call panicked while it was dropped");
    }
}

/// Begins the application's part of a call; a panic is an error.
pub(crate) fn begin<T>(core: &CallCore, start: impl FnOnce() -> Result<T>) -> Result<T> {
    catch(start).unwrap_or_else(|panic| Err(panicked(core, panic)))
}

/// Polls the application's part of a call; a panic is an error.
pub(crate) fn poll_running<T>(
    core: &CallCore,
    running: &mut BoxFuture<'static, Result<T>>,
    cx: &mut Context<'_>,
) -> Poll<Result<T>> {
    catch(|| running.as_mut().poll(cx)).unwrap_or_else(|panic| Poll::Ready(Err(panicked(core, panic))))
}

/// Polls the application's part of a call to its end.
pub(crate) async fn run_to_end<T>(core: &CallCore, running: BoxFuture<'static, Result<T>>) -> Result<T> {
    let mut running = Running(Some(running));
    let polled = poll_fn(|cx| match &mut running.0 {
        Some(running) => poll_running(core, running, cx),
        None => Poll::Pending,
    });
    polled.await
}

/// A call's future, which may panic when it is dropped.
struct Running<T>(Option<BoxFuture<'static, Result<T>>>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        drop_running(&mut self.0);
    }
}

pub(crate) fn panicked(core: &CallCore, panic: Panicked) -> Error {
    let connection = core.client().map(|client| client.id);
    tracing::error!(?connection, call = &*core.name, panic = panic.0, "a call panicked");
    core.hub().note_panic(&panic.0);
    Error::internal(panic.0)
}

pub(crate) fn late_error() -> Error {
    Error::new(Code::DEADLINE_EXCEEDED, "the call took too long").with_retry()
}
