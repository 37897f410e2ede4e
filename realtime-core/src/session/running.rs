use crate::hub::Client;
use crate::outbox::PushError;
use crate::util::panics::{Panicked, catch};
use crate::calls::{CallCore, Reply};
use crate::seams::BoxFuture;
use crate::websocket::Frame;
use realtime_protocol::{Code, Error, Result};
use realtime_protocol::format::Outgoing;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A call that runs.
pub(super) struct Call {
    pub(super) core: Arc<CallCore>,
    running: Option<BoxFuture<'static, Result<Reply>>>,
    /// Its result, where the outbox was full.
    unsent: Option<Frame>,
}

impl Call {
    pub(super) fn new(core: Arc<CallCore>, running: BoxFuture<'static, Result<Reply>>) -> Self {
        Self { core, running: Some(running), unsent: None }
    }

    /// Ready when its answer is queued.
    pub(super) fn poll(&mut self, session: &Session, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(running) = &mut self.running {
            let outcome = ready!(poll_running(&self.core, running, cx));
            self.core.end();
            drop_running(&mut self.running);
            self.unsent = answer(session, &self.core.id, outcome);
        }
        poll_send(session, &mut self.unsent, cx)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.core.end();
        drop_running(&mut self.running);
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({} as {})", self.core.name, self.core.id)
    }
}

/// An event that is handled.
pub(super) struct Event {
    core: Arc<CallCore>,
    running: Option<BoxFuture<'static, Result>>,
}

impl Event {
    pub(super) fn new(core: Arc<CallCore>, running: BoxFuture<'static, Result>) -> Self {
        Self { core, running: Some(running) }
    }

    /// Ready when it is handled.
    pub(super) fn poll(&mut self, session: &Session, cx: &mut Context<'_>) -> Poll<()> {
        let Some(running) = &mut self.running else { return Poll::Ready(()) };
        let outcome = ready!(poll_running(&self.core, running, cx));
        if let Err(error) = outcome {
            session.report(&error);
        }
        Poll::Ready(())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.core.end();
        drop_running(&mut self.running);
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({})", self.core.name)
    }
}

/// Queues the answer to a call; gives its frame if there is no room.
fn answer(session: &Session, id: &str, outcome: Result<Reply>) -> Option<Frame> {
    let failed = match outcome {
        Ok(data) => match offer(session, &Outgoing::Reply { id, data: &*data }) {
            Ok(unsent) => return unsent,
            Err(error) => error,
        },
        Err(error) => error,
    };
    session.log(&failed);
    offer(session, &Outgoing::Error { id: Some(id), error: &failed }).unwrap_or_default()
}

/// Queues a packet, or gives its frame back if there is no room now.
pub(super) fn offer(session: &Session, packet: &Outgoing<'_>) -> Result<Option<Frame>> {
    let limit = session.hub.config.outbox_bytes;
    let offered = session.encode(packet, |frame| {
        super::may_hold(limit, frame.len())?;
        Ok(session.outbox.offer(frame))
    })?;
    offered.unwrap_or(Ok(None))
}

/// Queues a frame that had no room, when there is.
pub(super) fn poll_send(session: &Session, unsent: &mut Option<Frame>, cx: &mut Context<'_>) -> Poll<()> {
    if let Some(frame) = unsent {
        ready!(session.outbox.poll_room(cx));
        if session.outbox.push_late(frame) == Err(PushError::Full) {
            // Others were faster.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        *unsent = None;
    }
    Poll::Ready(())
}

/// Drops the application's future, which may panic.
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

/// Begins what the application does for a call; a panic is an error.
pub(crate) fn begin<T>(core: &CallCore, start: impl FnOnce() -> Result<T>) -> Result<T> {
    catch(start).unwrap_or_else(|panic| Err(panicked(core, panic)))
}

/// Polls what the application does for a call; a panic is an error.
pub(crate) fn poll_running<T>(
    core: &CallCore,
    running: &mut BoxFuture<'static, Result<T>>,
    cx: &mut Context<'_>,
) -> Poll<Result<T>> {
    catch(|| running.as_mut().poll(cx)).unwrap_or_else(|panic| Poll::Ready(Err(panicked(core, panic))))
}

pub(super) fn panicked(core: &CallCore, panic: Panicked) -> Error {
    let connection = core.connection().map(|connection| connection.id());
    tracing::error!(?connection, call = &*core.name, panic = panic.0, "a call panicked");
    Error::internal(panic.0)
}

pub(crate) fn late_error() -> Error {
    Error::new(Code::DEADLINE_EXCEEDED, "the call took too long").retryable()
}
