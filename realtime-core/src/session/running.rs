use crate::{
    calls::{CallCore, Reply, drop_running, poll_running},
    hub::{Client, HeldBack},
    outbox::{PushError, Right, may_hold},
    seams::BoxFuture,
};
use realtime_protocol::{Result, format::Outgoing};
use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A running call.
pub(super) struct Call {
    pub(super) core: Arc<CallCore>,
    running: Option<BoxFuture<'static, Result<Reply>>>,
    /// Its answer, if the outbox was full.
    unsent: Option<HeldBack>,
}

impl Call {
    pub(super) fn new(core: Arc<CallCore>, running: BoxFuture<'static, Result<Reply>>) -> Self {
        Self { core, running: Some(running), unsent: None }
    }

    /// Ready when its answer is queued.
    pub(super) fn poll(&mut self, client: &Arc<Client>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(running) = &mut self.running {
            let outcome = ready!(poll_running(&self.core, running, cx));
            self.core.end();
            drop_running(&mut self.running);
            if let Some(unsent) = answer(client, &self.core, outcome) {
                self.unsent = Some(unsent);
            }
        }
        poll_send(client, &mut self.unsent, cx)
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

/// An event that is being handled.
pub(super) struct Event {
    core: Arc<CallCore>,
    running: Option<BoxFuture<'static, Result>>,
}

impl Event {
    pub(super) fn new(core: Arc<CallCore>, running: BoxFuture<'static, Result>) -> Self {
        Self { core, running: Some(running) }
    }

    /// Ready when it is handled.
    pub(super) fn poll(&mut self, client: &Client, cx: &mut Context<'_>) -> Poll<()> {
        let Some(running) = &mut self.running else { return Poll::Ready(()) };
        let outcome = ready!(poll_running(&self.core, running, cx));
        if let Err(error) = outcome {
            client.report(&error);
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

/// Queues the answer to a call; returns its frame if there is no room.
fn answer(client: &Arc<Client>, core: &CallCore, outcome: Result<Reply>) -> Option<HeldBack> {
    let id = &*core.id;
    let failed = match outcome {
        Ok(data) => match offer(client, &Outgoing::Reply { id, data: &*data, wrote: &core.take_wrote() }, None) {
            Ok(unsent) => return unsent,
            Err(error) => error,
        },
        Err(error) => error,
    };
    client.log(&failed);
    offer(client, &Outgoing::Error { id: Some(id), error: &failed }, None).unwrap_or_default()
}

/// Queues a packet, with the right of a follower if it is of one; returns its frame if there is no room now.
pub(super) fn offer(
    client: &Arc<Client>,
    packet: &Outgoing<'_>,
    right: Option<&Right>,
) -> Result<Option<HeldBack>> {
    let limit = client.hub.config.outbox_bytes;
    let offered =
        client.encode(packet, |frame| may_hold(limit, frame.len()).map(|()| client.outbox.offer(frame, right)))?;
    let unsent = offered.transpose()?.flatten();
    Ok(unsent.map(|frame| HeldBack::new(client, frame)))
}

/// Queues a frame that had no room, once there is some.
#[inline]
pub(super) fn poll_send(client: &Client, unsent: &mut Option<HeldBack>, cx: &mut Context<'_>) -> Poll<()> {
    if unsent.is_none() { Poll::Ready(()) } else { poll_send_late(client, unsent, cx) }
}

#[cold]
fn poll_send_late(client: &Client, unsent: &mut Option<HeldBack>, cx: &mut Context<'_>) -> Poll<()> {
    if let Some(held) = unsent {
        ready!(client.outbox.poll_room(cx));
        if matches!(client.outbox.push_late(held.frame(), None), Err(PushError::Full)) {
            // Others have taken the room.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        *unsent = None;
    }
    Poll::Ready(())
}
