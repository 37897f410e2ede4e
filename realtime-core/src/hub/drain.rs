use super::Hub;
use crate::util::TICK;
use realtime_protocol::CloseCode;
use std::{
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

/// The result of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were open at its start.
    pub open: usize,
    /// Connections that had not ended at the deadline and were cut.
    pub cut: usize,
}

/// Closes all connections of a hub, in batches, and waits for them to end.
pub(crate) async fn drain(hub: Arc<Hub>, deadline: Duration) -> Drained {
    hub.draining.store(true, Relaxed);
    let end = hub.clock.after(deadline);
    let mut clients = hub.connections.all();
    let open = clients.len();
    tracing::info!(open, ?deadline, "draining");
    // In random order, so that the oldest connections are not always closed first.
    let order = RandomState::new();
    clients.sort_by_cached_key(|client| order.hash_one(client.id));
    let batch = batch(open, deadline);
    while !clients.is_empty() {
        for client in clients.drain(clients.len().saturating_sub(batch)..) {
            client.close(CloseCode::GOING_AWAY, "the server is going away");
        }
        if !clients.is_empty() {
            hub.wheel.sleep_until(hub.clock.now() + 1).await;
        }
    }
    let mut late = std::pin::pin!(hub.wheel.sleep_until(end));
    poll_fn(|cx| match hub.permits.poll_idle(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => late.as_mut().poll(cx),
    })
    .await;
    let rest = hub.connections.all();
    for client in &rest {
        client.outbox.signal_expired();
    }
    if !rest.is_empty() {
        tracing::warn!(cut = rest.len(), "connections cut at the end of the drain");
    }
    hub.leave_nodes(end.max(hub.clock.now() + 1)).await;
    Drained { open, cut: rest.len() }
}

/// Returns the connections to close in one tick: at least 64, spread over half of the time, so that their clients do
/// not reconnect all at once.
fn batch(open: usize, deadline: Duration) -> usize {
    let ticks = (deadline.as_millis() / 2 / TICK.as_millis()).max(1) as usize;
    open.div_ceil(ticks).max(64)
}
