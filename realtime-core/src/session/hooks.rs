use super::Session;
use crate::{
    context::Context,
    hub::{Client, Stage},
    protocol::Protocol,
    seams::BoxFuture,
    util::panics::Panicked,
};
use realtime_protocol::{Close, Error, format::Value};
use std::{
    any::{Any, TypeId},
    sync::Arc,
    task,
};
use tracing::Instrument;

/// The hooks of a handler, without its types. One value serves all connections of an endpoint.
pub(crate) trait Hooks: Send + Sync {
    /// Returns the type of the typed part of a session.
    fn typed(&self) -> TypeId;

    /// Parses the input of a new connection, as the protocol has it, and returns the typed part of its session.
    fn open(&self, context: &Context, protocol: &dyn Protocol) -> Result<Box<dyn Any + Send + Sync>, Error>;

    /// Runs the session from `on_open` to the last message.
    fn run(&self, client: &Arc<Client>) -> BoxFuture<'static>;

    /// Queues a received message, or its parse error.
    fn deliver(
        &self,
        client: &Client,
        cx: &task::Context<'_>,
        value: Result<Value<'_>, Error>,
    ) -> Result<Delivered, Panicked>;

    /// Returns the backlog of the handler.
    fn backlog(&self, client: &Client) -> Backlog;

    /// Ends the inbox: no more messages come. If `clear` is set, queued messages are dropped.
    fn end(&self, client: &Client, clear: bool);

    /// Frees unused memory of the inbox.
    fn shrink(&self, client: &Client);

    /// Runs `on_close`.
    fn close(&self, client: &Arc<Client>, close: Close) -> BoxFuture<'static>;
}

/// Runs a session: the endpoint's `on_open` hooks, then the handler.
pub(super) fn run(session: &Session) -> BoxFuture<'static> {
    let running = run_all(session);
    match session.client.span() {
        Some(span) => Box::pin(running.instrument(span.clone())),
        None => running,
    }
}

fn run_all(session: &Session) -> BoxFuture<'static> {
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

/// The result of delivering a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    pub(crate) readable: bool,
    /// The messages now queued for the handler.
    pub(crate) backlog: Backlog,
}

/// The messages queued for a handler.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The hooks of an endpoint without a message handler.
pub(crate) enum NoHandler {
    /// The clients call and subscribe.
    Calls,
    /// The client is sent subscriptions, which mark themselves as opened.
    Subscriptions,
}

impl Hooks for NoHandler {
    fn typed(&self) -> TypeId {
        TypeId::of::<()>()
    }

    fn open(&self, _: &Context, _: &dyn Protocol) -> Result<Box<dyn Any + Send + Sync>, Error> {
        Ok(Box::new(()))
    }

    fn run(&self, client: &Arc<Client>) -> BoxFuture<'static> {
        match self {
            Self::Calls => client.set_opened(),
            Self::Subscriptions => {}
        }
        // There are no messages that could wait.
        client.set_stage(Stage::Idle);
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
