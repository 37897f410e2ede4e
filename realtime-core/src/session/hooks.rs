use super::{
    Session,
    inbox::{Backlog, Batch, Inbox},
    turn::is_over,
};
use crate::{
    AnyConnection, Connection, Context, endpoint::CallCore, error::Error, handler::Handler, input,
    protocol::Value, runtime::BoxFuture, websocket::Close,
};
use pin_project_lite::pin_project;
use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
};

/// A handler as the driver sees it: without its types. One for all connections of an endpoint.
pub(crate) trait Hooks: Send + Sync {
    /// Reads the input of a connection-to-be and gives the typed part of its session.
    fn open(&self, context: &Context) -> Result<Box<dyn Any + Send + Sync>, Error>;

    /// Runs the session from `on_open` to the last message.
    fn run(&self, session: &Arc<Session>) -> BoxFuture<'static>;

    /// Queues what was received, or why it could not be read.
    fn deliver(
        &self,
        session: &Session,
        cx: &task::Context<'_>,
        value: Result<Value<'_>, Error>,
    ) -> Result<Delivered, Panicked>;

    /// What waits for the handler.
    fn backlog(&self, session: &Session) -> Backlog;

    /// No more messages come; those that wait are dropped if `clear` says so.
    fn end(&self, session: &Session, clear: bool);

    /// Frees what nothing waits in.
    fn shrink(&self, session: &Session);

    /// Runs `on_close`.
    fn close(&self, session: &Arc<Session>, close: Close) -> BoxFuture<'static>;
}

/// Runs a session: what its endpoint does when a client connects, then its handler.
pub(super) fn run(session: &Arc<Session>) -> BoxFuture<'static> {
    let endpoint = &session.endpoint;
    if endpoint.router.opens.is_empty() {
        return endpoint.hooks.run(session);
    }
    let session = Arc::clone(session);
    Box::pin(async move {
        let call = Arc::new(CallCore::of_connection(AnyConnection::new(Arc::clone(&session))));
        for open in &session.endpoint.router.opens {
            if let Err(error) = open.open(&call).await {
                return session.refuse(&error);
            }
        }
        drop(call);
        session.endpoint.hooks.run(&session).await;
    })
}

/// What became of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    pub(crate) readable: bool,
    /// What waits for the handler now.
    pub(crate) backlog: Backlog,
}

/// The typed part of a session.
#[derive(Debug)]
pub(crate) struct Typed<H: Handler> {
    pub(crate) input: H::Input,
    pub(crate) inbox: Inbox<H::ClientMessage>,
}

impl<H: Handler> Typed<H> {
    pub(crate) fn of(session: &Session) -> &Self {
        // The endpoint that made the session made this part of it.
        session.typed.downcast_ref().expect("a session holds the typed part of its own handler")
    }

    /// The next message, for whoever runs this handler.
    pub(crate) async fn next(session: &Session) -> Option<Result<H::ClientMessage, Error>> {
        let inbox = &Self::of(session).inbox;
        if session.outbox.is_closing() {
            inbox.end(true);
        }
        let next = poll_fn(|cx| {
            ready!(session.outbox.poll_room(cx));
            inbox.poll_next(cx)
        });
        let next = next.await;
        session.look_again();
        next
    }

    /// The next message, by way of those that were taken with an earlier one.
    async fn next_of(
        session: &Session,
        batch: &mut Batch<H::ClientMessage>,
    ) -> Option<Result<H::ClientMessage, Error>> {
        let inbox = &Self::of(session).inbox;
        if session.outbox.is_closing() {
            inbox.end(true);
            batch.clear();
        }
        let next = poll_fn(|cx| {
            if is_over() {
                // Compressing what it sent has taken the turn: it is polled again in the next one.
                session.set_idle(false);
                session.outbox.signal_look();
                return Poll::Pending;
            }
            if session.outbox.poll_room(cx).is_pending() {
                // It waits for something else than a message: it is to be polled when there is room.
                session.set_idle(false);
                return Poll::Pending;
            }
            if let Some((item, _)) = batch.pop_front() {
                return Poll::Ready(Some(item));
            }
            let next = inbox.poll_batch(cx, Some(batch));
            session.set_idle(next.is_pending());
            if next.is_pending() {
                // The last of a batch is handled only now: reading may have waited for it.
                session.look_again();
            }
            next
        });
        let next = next.await;
        session.look_again();
        next
    }
}

/// The hooks of a [`Handler`].
pub(crate) struct HandlerHooks<H>(pub(crate) Arc<H>);

impl<H: Handler> Hooks for HandlerHooks<H> {
    fn open(&self, context: &Context) -> Result<Box<dyn Any + Send + Sync>, Error> {
        Ok(Box::new(Typed::<H> { input: input::parse(context)?, inbox: Inbox::new() }))
    }

    fn run(&self, session: &Arc<Session>) -> BoxFuture<'static> {
        let (handler, connection) = (Arc::clone(&self.0), Connection::<H>::new(Arc::clone(session)));
        Box::pin(async move { handler.run(connection).await })
    }

    fn deliver(
        &self,
        session: &Session,
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
        let backlog = Typed::<H>::of(session).inbox.push(cx, item, bytes);
        Ok(Delivered { readable, backlog })
    }

    fn backlog(&self, session: &Session) -> Backlog {
        Typed::<H>::of(session).inbox.backlog()
    }

    fn end(&self, session: &Session, clear: bool) {
        Typed::<H>::of(session).inbox.end(clear);
    }

    fn shrink(&self, session: &Session) {
        Typed::<H>::of(session).inbox.shrink();
    }

    fn close(&self, session: &Arc<Session>, close: Close) -> BoxFuture<'static> {
        let (handler, connection) = (Arc::clone(&self.0), Connection::<H>::new(Arc::clone(session)));
        Box::pin(async move { handler.on_close(&connection, close).await })
    }
}

/// The hooks of an endpoint that takes no messages.
pub(crate) struct NoHandler;

impl Hooks for NoHandler {
    fn open(&self, _: &Context) -> Result<Box<dyn Any + Send + Sync>, Error> {
        Ok(Box::new(()))
    }

    fn run(&self, session: &Arc<Session>) -> BoxFuture<'static> {
        session.set_opened();
        Box::pin(async {})
    }

    fn deliver(
        &self,
        session: &Session,
        _: &task::Context<'_>,
        value: Result<Value<'_>, Error>,
    ) -> Result<Delivered, Panicked> {
        let refused = |_| Error::not_found("no handler takes messages here");
        session.report(&value.map_or_else(|error| error, refused));
        Ok(Delivered { readable: false, backlog: Backlog::default() })
    }

    fn backlog(&self, _: &Session) -> Backlog {
        Backlog::default()
    }

    fn end(&self, _: &Session, _: bool) {}

    fn shrink(&self, _: &Session) {}

    fn close(&self, _: &Arc<Session>, _: Close) -> BoxFuture<'static> {
        Box::pin(async {})
    }
}

/// Runs a handler's session: `on_open`, then one message at a time until no more come.
///
/// This future is a large part of what a connection takes. So it borrows what it captures, and
/// awaits nothing inside a match, which would keep room for a message beside its future.
#[expect(clippy::manual_async_fn, reason = "it would keep its arguments beside its locals")]
pub(crate) fn run_handler<H: Handler>(
    handler: &H,
    connection: Connection<H>,
) -> impl Future<Output = ()> + Send + use<'_, H> {
    async move {
        if let Err(error) = handler.on_open(&connection).await {
            let error = handler.on_error(&connection, error).await;
            connection.session().refuse(&error);
            return;
        }
        connection.session().set_opened();
        let mut batch = Batch::new();
        loop {
            let Some(message) = Typed::<H>::next_of(connection.session(), &mut batch).await else { return };
            let handling = Handling::of(message, |message| handler.on_message(&connection, message));
            if let Err(error) = handling.await {
                let error = handler.on_error(&connection, error).await;
                connection.session().report(&error);
            }
        }
    }
}

pin_project! {
    /// The handling of one message, or why there is none.
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

/// Polls the application's code; a panic in it is an `Err` and harms nothing else.
pub(crate) fn poll_caught(
    future: &mut BoxFuture<'static>,
    cx: &mut task::Context<'_>,
) -> Poll<Result<(), Panicked>> {
    match catch(|| Pin::new(future).poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

/// Calls the application's code; a panic in it is an `Err`.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| Panicked::new(&*panic))
}

/// Drops the application's future, which may panic as well.
pub(crate) fn drop_caught(future: BoxFuture<'static>) {
    if let Err(panic) = catch(|| drop(future)) {
        tracing::error!(panic = panic.0, "a handler panicked while it was dropped");
    }
}

/// What a panic said.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) String);

impl Panicked {
    fn new(panic: &(dyn Any + Send)) -> Self {
        let text =
            panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("no message").to_owned())
    }
}
