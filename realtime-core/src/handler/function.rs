use super::{Connection, Handler, IntoMount, Mount, typed::Typed};
#[cfg(feature = "schema")]
use crate::describe::{Described, Gives, Takes};
use crate::{hub::Client, protocol::Protocol, request::Middleware};
use realtime_protocol::{CloseCode, Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, marker::PhantomData, sync::Arc};

/// The connection that a function passed to [`handler_fn`] receives: the function pulls messages with
/// [`recv`](Connection::recv).
///
/// `C` is the type of the client's messages, `S` that of the server's, `I` that of the input.
pub type FnConnection<C, S, I = ()> = Connection<Function<C, S, I>>;

/// Turns an async function into a handler. The function runs once for each connection, from open to close.
///
/// When the function returns, the connection is closed: with code 1000, or with the error's close code. When the
/// client is gone, [`recv`](Connection::recv) returns `None`, and the function has
/// [`Config::close_timeout`](crate::Config::close_timeout) to return before it is dropped.
///
/// # Examples
///
/// ```
/// use realtime_core::{FnConnection, Realtime, handler_fn};
///
/// let shout = handler_fn(|connection: FnConnection<String, String>| async move {
///     while let Some(text) = connection.recv().await {
///         connection.send(text.to_uppercase())?;
///     }
///     Ok(())
/// });
/// let realtime = Realtime::builder().handler("shout", shout).build();
/// ```
pub fn handler_fn<C, S, I, F, R>(function: F) -> Function<C, S, I>
where
    C: DeserializeOwned + Send + 'static,
    S: Serialize + Send + Sync + 'static,
    I: DeserializeOwned + Send + Sync + 'static,
    F: Fn(FnConnection<C, S, I>) -> R + Send + Sync + 'static,
    R: Future<Output = Result> + Send + 'static,
{
    let run = move |client| -> Running { Box::pin(function(Connection::new(client))) };
    Function { run: Box::new(run), types: PhantomData }
}

type Running = std::pin::Pin<Box<dyn Future<Output = Result> + Send>>;

type Types<C, S, I> = fn() -> (C, S, I);

/// The handler type behind [`handler_fn`].
pub struct Function<C, S, I> {
    run: Box<dyn Fn(Arc<Client>) -> Running + Send + Sync>,
    types: PhantomData<Types<C, S, I>>,
}

/// The ways to mount it: those of [`Handler`] and [`Mount`], without importing the trait.
impl<C, S, I> Function<C, S, I>
where
    C: DeserializeOwned + Send + 'static,
    S: Serialize + Send + Sync + 'static,
    I: DeserializeOwned + Send + Sync + 'static,
{
    /// The same function without an envelope: see [`Handler::plain`].
    pub fn plain(self) -> Mount {
        self.into_mount().plain()
    }

    /// The same function with the protocol of all who connect: see [`Mount::protocol`].
    pub fn protocol(self, protocol: impl Protocol) -> Mount {
        self.into_mount().protocol(protocol)
    }

    /// The same function behind a middleware of its own: see [`Handler::middleware`].
    pub fn middleware(self, middleware: impl Middleware) -> Mount {
        self.into_mount().middleware(middleware)
    }

    /// The same function with the schemas of its types: see [`Handler::described`].
    #[cfg(feature = "schema")]
    pub fn described(self) -> Mount
    where
        I: Takes<Described>,
        C: Takes<Described>,
        S: Gives<Described>,
    {
        Handler::described(self)
    }
}

impl<C, S, I> Handler for Function<C, S, I>
where
    C: DeserializeOwned + Send + 'static,
    S: Serialize + Send + Sync + 'static,
    I: DeserializeOwned + Send + Sync + 'static,
{
    type Input = I;
    type ClientMessage = C;
    type ServerMessage = S;

    async fn on_message(&self, _: &Connection<Self>, _: C) -> Result {
        Err(Error::internal("messages of a function are received by it"))
    }

    async fn run(&self, connection: Connection<Self>) {
        let client = Arc::clone(connection.client());
        client.set_opened();
        match (self.run)(Arc::clone(&client)).await {
            Ok(()) => client.close(CloseCode::NORMAL, ""),
            Err(error) => client.refuse(&error),
        }
    }
}

impl<C, S, I> Connection<Function<C, S, I>>
where
    Function<C, S, I>: Handler<ClientMessage = C>,
{
    /// Waits for the next message. Returns `None` when the connection has ended and all earlier messages are taken.
    ///
    /// A message that does not parse as `C` is answered with its error and skipped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no message.
    pub async fn recv(&self) -> Option<C> {
        loop {
            match Typed::<Function<C, S, I>>::next(self.client()).await? {
                Ok(message) => return Some(message),
                Err(error) => self.client().report(&error),
            }
        }
    }
}

impl<C, S, I> fmt::Debug for Function<C, S, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}
