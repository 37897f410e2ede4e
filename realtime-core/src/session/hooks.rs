use super::Session;
use crate::{context::Context, hub::Client, seams::BoxFuture, util::panics::Panicked};
use realtime_protocol::{Close, Error, format::Value};
use std::{any::Any, sync::Arc, task};

/// A handler as the driver sees it: without its types. One for all connections of an endpoint.
pub(crate) trait Hooks: Send + Sync {
    /// Reads the input of a connection-to-be and gives the typed part of its session.
    fn open(&self, context: &Context) -> Result<Box<dyn Any + Send + Sync>, Error>;

    /// Runs the session from `on_open` to the last message.
    fn run(&self, client: &Arc<Client>) -> BoxFuture<'static>;

    /// Queues what was received, or why it could not be read.
    fn deliver(
        &self,
        client: &Client,
        cx: &task::Context<'_>,
        value: Result<Value<'_>, Error>,
    ) -> Result<Delivered, Panicked>;

    /// What waits for the handler.
    fn backlog(&self, client: &Client) -> Backlog;

    /// No more messages come; those that wait are dropped if `clear` says so.
    fn end(&self, client: &Client, clear: bool);

    /// Frees what nothing waits in.
    fn shrink(&self, client: &Client);

    /// Runs `on_close`.
    fn close(&self, client: &Arc<Client>, close: Close) -> BoxFuture<'static>;
}

/// Runs a session: what its endpoint does when a client connects, then its handler.
pub(super) fn run(session: &Session) -> BoxFuture<'static> {
    if session.service.router.opens.is_empty() {
        return session.service.hooks.run(&session.client);
    }
    let Session { client, service, .. } = session.clone();
    Box::pin(async move {
        for open in &service.router.opens {
            if let Err(error) = open.open(&client).await {
                return client.refuse(&error);
            }
        }
        service.hooks.run(&client).await;
    })
}

/// What became of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    pub(crate) readable: bool,
    /// What waits for the handler now.
    pub(crate) backlog: Backlog,
}

/// The messages that wait for a handler.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The hooks of an endpoint that takes no messages.
pub(crate) enum NoHandler {
    /// Its clients call and subscribe.
    Calls,
    /// Its client is sent one subscription, which says itself when it is served.
    OneSubscription,
}

impl Hooks for NoHandler {
    fn open(&self, _: &Context) -> Result<Box<dyn Any + Send + Sync>, Error> {
        Ok(Box::new(()))
    }

    fn run(&self, client: &Arc<Client>) -> BoxFuture<'static> {
        client.set_opened();
        if let Self::Calls = self {
            client.tell_opened();
        }
        Box::pin(async {})
    }

    fn deliver(
        &self,
        client: &Client,
        _: &task::Context<'_>,
        value: Result<Value<'_>, Error>,
    ) -> Result<Delivered, Panicked> {
        let refused = |_| Error::not_found("no handler takes messages here");
        client.report(&value.map_or_else(|error| error, refused));
        Ok(Delivered { readable: false, backlog: Backlog::default() })
    }

    fn backlog(&self, _: &Client) -> Backlog {
        Backlog::default()
    }

    fn end(&self, _: &Client, _: bool) {}

    fn shrink(&self, _: &Client) {}

    fn close(&self, _: &Arc<Client>, _: Close) -> BoxFuture<'static> {
        Box::pin(async {})
    }
}
