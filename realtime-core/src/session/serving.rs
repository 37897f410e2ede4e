use super::{Carrier, NewSession, Purpose, Session, Welcome, driver::Driver};
use crate::{
    hub::Client,
    seams::BoxFuture,
    util::panics::{Panicked, catch, drop_caught, poll_caught},
};
use bytes::Bytes;
use realtime_protocol::{Close, format::Outgoing};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tracing::Instrument;

/// A session on its carrier, from `on_open` to `on_close`: the one future of a connection.
///
/// `Send` exactly when the transport is. If it is dropped before its end, `on_close` runs on the hub's runtime. Written
/// by hand: an `async fn` would store its arguments beside its locals, and this future is most of the memory of an idle
/// connection.
pub(crate) struct Serving<T>(Stage<T>);

enum Stage<T> {
    Running(Driver<T>),
    Closing(BoxFuture<'static>),
    Ended,
}

impl<T: Carrier> Serving<T> {
    pub(crate) fn new(session: NewSession, carrier: T, early: Bytes) -> Self {
        let NewSession { client, service, welcome, subscriptions } = session;
        let client = Client::connect(client);
        let purpose = if subscriptions.is_empty() { Purpose::Everything } else { Purpose::Subscriptions };
        let session = Session { client, service, purpose };
        if let Some(welcome) = welcome {
            session.greet(&welcome);
        }
        // The welcome comes first, however little time is left.
        session.client.watch_credentials(session.client.hub.clock.now());
        Self(Stage::Running(Driver::new(session, carrier, early, subscriptions)))
    }
}

impl Session {
    fn greet(&self, welcome: &Welcome) {
        let config = &self.client.hub.config;
        self.client.reply(&Outgoing::Welcome {
            connection: self.client.id,
            heartbeat: config.ping_interval,
            message_bytes: config.message_bytes,
            schema: welcome.schema.as_deref(),
        });
    }
}

impl<T: Carrier> Future for Serving<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Stage::Running(driver) = &mut self.0 {
            let close = ready!(driver.poll(cx));
            let leave = Leave(driver.session.clone());
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
        let (leave, begun) = (Leave(driver.session.clone()), driver.has_begun());
        drop(driver);
        let close = leave.0.client.outbox.shut().unwrap_or_else(Close::lost);
        // Without an `on_open` there is no `on_close`.
        if begun {
            let hub = Arc::clone(&leave.0.client.hub);
            hub.spawn(Box::pin(run_on_close(leave, close)));
        }
    }
}

/// Takes a session off the hub's lists on drop, even if `on_close` did not finish.
struct Leave(Session);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.client.begin_end();
        self.0.client.release();
    }
}

async fn run_on_close(leave: Leave, close: Close) {
    let Session { client, service, .. } = &leave.0;
    client.begin_end();
    let (id, endpoint) = (client.id, &client.endpoint);
    tracing::debug!(connection = %id, %endpoint, code = %close.code, reason = %close.reason, "closed");
    for close_of in &service.router.closes {
        run_hook(client, || close_of.close(client, close.clone())).await;
    }
    run_hook(client, || service.hooks.close(client, close)).await;
}

/// Runs one hook of the application; a panic in it affects nothing else.
async fn run_hook(client: &Client, hook: impl FnOnce() -> BoxFuture<'static>) {
    let panicked = |panic: &Panicked| {
        let (id, endpoint) = (client.id, &client.endpoint);
        tracing::error!(connection = %id, %endpoint, panic = panic.0, "on_close panicked");
        client.hub.note_panic(&panic.0);
    };
    let Ok(hook) = catch(hook).inspect_err(panicked) else { return };
    let mut hook = match client.span() {
        Some(span) => Box::pin(hook.instrument(span.clone())),
        None => hook,
    };
    if let Err(panic) = poll_fn(|cx| poll_caught(&mut hook, cx)).await {
        panicked(&panic);
    }
    drop_caught(hook);
}
