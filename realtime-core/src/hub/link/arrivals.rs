//! What the broker brings.

use super::{PAUSE, Shared, caught};
use crate::{
    hub::Hub,
    seams::{Arrival, Missed, Runtime},
    util::panics::catch,
};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Weak},
    task::Poll,
};

/// Takes what the broker brings, until the hub is gone.
pub(super) async fn receive(shared: Arc<Shared>, hub: Weak<Hub>, runtime: Arc<dyn Runtime>) {
    let mut arrivals = Vec::new();
    let mut was_down = false;
    loop {
        let received = {
            let mut received = caught(|| shared.broker.receive(&mut arrivals));
            poll_fn(|cx| match shared.poll_ended(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => Pin::new(&mut received).poll(cx).map(Some),
            })
            .await
        };
        let Some(received) = received else { return };
        let Some(hub) = hub.upgrade() else { return };
        if std::mem::replace(&mut was_down, received.is_err()) {
            shared.missed.note(Missed::All);
        }
        for arrival in arrivals.drain(..) {
            handle(&shared, &hub, arrival);
        }
        if let Err(error) = received {
            tracing::error!(?error, "the broker's link is down");
            hub.counters.broker_failure();
            drop(hub);
            runtime.sleep(PAUSE).await;
        }
    }
}

fn handle(shared: &Shared, hub: &Arc<Hub>, arrival: Arrival) {
    if hub.take_for_nodes(&arrival) {
        return;
    }
    match arrival {
        Arrival::Missed(missed) => shared.missed.note(missed),
        // Protocols are application code too.
        Arrival::Publication(publication) => {
            if let Err(panic) = catch(|| hub.deliver(&publication)) {
                hub.counters.broker_failure();
                tracing::error!(topic = publication.topic, panic = panic.0, "a publication was not delivered");
            }
        }
        Arrival::Record(record) => {
            let topic = record.topic.clone();
            if let Err(panic) = catch(|| hub.take_record(record)) {
                hub.counters.broker_failure();
                tracing::error!(topic, panic = panic.0, "a record was not delivered");
            }
        }
    }
}
