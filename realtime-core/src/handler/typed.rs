use super::{
    Connection, Handler,
    inbox::{Batch, Inbox},
    input,
};
use crate::{
    context::Context,
    hub::{Client, Stage},
    protocol::Protocol,
    seams::BoxFuture,
    session::{Backlog, Delivered, Hooks, is_turn_over},
    util::panics::{Panicked, catch},
};
use pin_project_lite::pin_project;
use realtime_protocol::{Close, Error, format::Value};
use std::{
    any::{Any, TypeId},
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
};

/// The typed part of a session.
#[derive(Debug)]
pub(crate) struct Typed<H: Handler> {
    pub(crate) input: H::Input,
    pub(crate) inbox: Inbox<H::ClientMessage>,
}

impl<H: Handler> Typed<H> {
    pub(crate) fn of(client: &Client) -> &Self {
        // The endpoint that made the session made this part of it.
        client.typed.downcast_ref().expect("a client holds the typed part of its own handler")
    }

    /// Waits for the next message; for the task that runs this handler.
    pub(crate) async fn next(client: &Client) -> Option<Result<H::ClientMessage, Error>> {
        let inbox = &Self::of(client).inbox;
        if client.outbox.is_closing() {
            inbox.end(true);
        }
        let next = poll_fn(|cx| {
            ready!(client.outbox.poll_room(cx));
            inbox.poll_next(cx)
        });
        let next = next.await;
        client.look_again();
        next
    }

    /// Waits for the next message; takes it from `batch` first.
    async fn next_of(
        client: &Client,
        batch: &mut Batch<H::ClientMessage>,
    ) -> Option<Result<H::ClientMessage, Error>> {
        let inbox = &Self::of(client).inbox;
        if client.outbox.is_closing() {
            inbox.end(true);
            batch.clear();
        }
        let next = poll_fn(|cx| {
            if is_turn_over() {
                // Compressing what the client was sent has used up the turn; the handler is polled again in the next
                // one.
                client.set_stage(Stage::Busy);
                return Poll::Pending;
            }
            if client.outbox.poll_room(cx).is_pending() {
                // It waits for something other than a message, so it has to be polled when there is room.
                client.set_stage(Stage::Busy);
                return Poll::Pending;
            }
            if let Some((item, _)) = batch.pop_front() {
                return Poll::Ready(Some(item));
            }
            let next = inbox.poll_batch(cx, Some(batch));
            client.set_stage(if next.is_pending() { Stage::Idle } else { Stage::Busy });
            if next.is_pending() {
                // The last message of a batch is handled only now; reading may have paused for it.
                client.look_again();
            }
            next
        });
        let next = next.await;
        client.look_again();
        next
    }
}

/// The hooks of a [`Handler`].
pub(crate) struct HandlerHooks<H>(pub(crate) Arc<H>);

impl<H: Handler> Hooks for HandlerHooks<H> {
    fn typed(&self) -> TypeId {
        TypeId::of::<Typed<H>>()
    }

    fn open(&self, context: &Context, protocol: &dyn Protocol) -> Result<Box<dyn Any + Send + Sync>, Error> {
        Ok(Box::new(Typed::<H> { input: input::parse(context, protocol)?, inbox: Inbox::new() }))
    }

    fn run(&self, client: &Arc<Client>) -> BoxFuture<'static> {
        let (handler, connection) = (Arc::clone(&self.0), Connection::<H>::new(Arc::clone(client)));
        Box::pin(async move { handler.run(connection).await })
    }

    fn deliver(
        &self,
        client: &Client,
        cx: &task::Context<'_>,
        value: Result<Value<'_>, Error>,
    ) -> Result<Delivered, Panicked> {
        let bytes = value.as_ref().map_or(0, Value::len);
        // The message's own `Deserialize` may panic.
        let item = match value {
            Ok(value) if Value::is_whole::<H::ClientMessage>() => value.parse(),
            Ok(value) => catch(|| value.parse())?,
            Err(error) => Err(error),
        };
        let readable = item.is_ok();
        let backlog = Typed::<H>::of(client).inbox.push(cx, item, bytes);
        Ok(Delivered { readable, backlog })
    }

    fn backlog(&self, client: &Client) -> Backlog {
        Typed::<H>::of(client).inbox.backlog()
    }

    fn end(&self, client: &Client, clear: bool) {
        Typed::<H>::of(client).inbox.end(clear);
    }

    fn shrink(&self, client: &Client) {
        Typed::<H>::of(client).inbox.shrink();
    }

    fn close(&self, client: &Arc<Client>, close: Close) -> BoxFuture<'static> {
        let (handler, connection) = (Arc::clone(&self.0), Connection::<H>::new(Arc::clone(client)));
        Box::pin(async move { handler.on_close(&connection, close).await })
    }
}

/// Runs a handler's session: `on_open`, then one message at a time until no more come.
///
/// This future is a large part of a connection's memory. So it borrows what it captures, and awaits nothing inside a
/// match, which would reserve space for a message beside its future.
#[expect(clippy::manual_async_fn, reason = "it would keep its arguments beside its locals")]
pub(crate) fn run_handler<H: Handler>(
    handler: &H,
    connection: Connection<H>,
) -> impl Future<Output = ()> + Send + use<'_, H> {
    async move {
        if let Err(error) = handler.on_open(&connection).await {
            let error = handler.on_error(&connection, error).await;
            connection.client().refuse(&error);
            return;
        }
        connection.client().set_opened();
        let mut batch = Batch::new();
        loop {
            let Some(message) = Typed::<H>::next_of(connection.client(), &mut batch).await else { return };
            let handling = Handling::of(message, |message| handler.on_message(&connection, message));
            if let Err(error) = handling.await {
                let error = handler.on_error(&connection, error).await;
                connection.client().report(&error);
            }
        }
    }
}

pin_project! {
    /// The handling of one message, or the reason why there is none.
    #[project = Handled]
    enum Handling<F> {
        Runs { #[pin] handling: F },
        Failed { error: Option<Error> },
    }
}

impl<F> Handling<F> {
    fn of<M>(message: Result<M, Error>, handle: impl FnOnce(M) -> F) -> Self {
        match message {
            Ok(message) => Self::Runs { handling: handle(message) },
            Err(error) => Self::Failed { error: Some(error) },
        }
    }
}

impl<F: Future<Output = Result<(), Error>>> Future for Handling<F> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Handled::Runs { handling } => handling.poll(cx),
            Handled::Failed { error } => Poll::Ready(error.take().map_or(Ok(()), Err)),
        }
    }
}
