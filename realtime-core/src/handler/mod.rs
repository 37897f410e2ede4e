//! Handlers of messages, by their types: the trait, functions as handlers, and what the engine calls.
//!
//! May import `request`, `session` and what is beneath them.

mod connection;
mod function;
mod inbox;
mod input;
mod mount;
mod typed;

pub use connection::Connection;
pub use function::{FnConnection, Function, handler_fn};
pub use mount::{IntoMount, Mount};

#[cfg(feature = "schema")]
use crate::describe::{Described, Gives, Messages, Takes};
use crate::request::Middleware;
use realtime_protocol::{Close, Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use typed::run_handler;

/// A typed realtime session: what happens when a client connects, says something and goes.
///
/// One value serves all connections of its endpoint; what belongs to one client is in its
/// [`Connection`]. The messages of one connection are handled one after the other, in order;
/// those that arrive while `on_open` or `on_message` is awaiting wait their turn.
///
/// # Examples
///
/// ```
/// use realtime_core::{Connection, Handler, Result, Topic};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Join { room: String }
/// #[derive(Deserialize)]
/// struct Say { text: String }
/// #[derive(Serialize)]
/// struct Said { text: String }
///
/// struct Room;
///
/// fn topic(room: &str) -> Topic<Said> {
///     Topic::new(format!("room:{room}"))
/// }
///
/// impl Handler for Room {
///     type Input = Join;
///     type ClientMessage = Say;
///     type ServerMessage = Said;
///
///     async fn on_open(&self, connection: &Connection<Self>) -> Result {
///         connection.subscribe(&topic(&connection.input().room))?;
///         connection.send(Said { text: "joined".into() })?;
///         Ok(())
///     }
///
///     async fn on_message(&self, connection: &Connection<Self>, message: Say) -> Result {
///         connection.to(&topic(&connection.input().room)).others().send(&Said { text: message.text })
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a realtime handler",
    label = "this needs `impl Handler for {Self}`",
    note = "implement `realtime_core::Handler` with `Input`, `ClientMessage`, `ServerMessage` and `on_message`, or use `handler_fn`"
)]
pub trait Handler: Send + Sync + Sized + 'static {
    /// What a client gives when it connects: `?input=<JSON>`, or the pairs of the query. `()` for
    /// none. Input that does not fit is refused with 400 before the upgrade.
    type Input: DeserializeOwned + Send + Sync + 'static;

    /// What a client sends.
    type ClientMessage: DeserializeOwned + Send + 'static;

    /// What the server sends.
    type ServerMessage: Serialize + Send + Sync + 'static;

    /// A client has connected. By default does nothing.
    ///
    /// # Errors
    ///
    /// The client is told the error, and the connection is closed.
    fn on_open(&self, connection: &Connection<Self>) -> impl Future<Output = Result> + Send {
        let _ = connection;
        async { Ok(()) }
    }

    /// A client has sent a message.
    ///
    /// # Errors
    ///
    /// The client is told the error, and the session goes on; a [`plain`](Self::plain) one, which
    /// has no way of telling, is closed.
    ///
    /// # Cancel safety
    ///
    /// When the connection is lost, a call that is still awaiting has
    /// [`Config::close_timeout`](crate::Config::close_timeout) to finish, and is then dropped.
    fn on_message(
        &self,
        connection: &Connection<Self>,
        message: Self::ClientMessage,
    ) -> impl Future<Output = Result> + Send;

    /// The connection has ended, in whatever way: called once for each connection, after the last
    /// other method has returned, been dropped or panicked. By default does nothing.
    fn on_close(&self, connection: &Connection<Self>, close: Close) -> impl Future<Output = ()> + Send {
        let _ = (connection, close);
        async {}
    }

    /// Something failed: a method gave an error, or a message could not be read. Gives what the
    /// client is told; by default the error itself.
    fn on_error(&self, connection: &Connection<Self>, error: Error) -> impl Future<Output = Error> + Send {
        let _ = connection;
        async { error }
    }

    /// The same handler without an envelope: one WebSocket message is one value, for clients with
    /// a format of their own. See [`protocol::Plain`](crate::protocol::Plain).
    fn plain(self) -> Mount {
        self.into_mount().plain()
    }

    /// The same handler behind a middleware of its own, which runs after those of all.
    fn middleware(self, middleware: impl Middleware) -> Mount {
        self.into_mount().middleware(middleware)
    }

    /// The same handler with the schemas of its types, for generated clients. See `realtime-schema`.
    #[cfg(feature = "schema")]
    fn described(self) -> Mount
    where
        Self::Input: Takes<Described>,
        Self::ClientMessage: Takes<Described>,
        Self::ServerMessage: Gives<Described>,
    {
        let messages = Messages::described::<Self::Input, Self::ClientMessage, Self::ServerMessage>();
        self.into_mount().with_messages(messages)
    }

    /// Runs one session. Not for implementing.
    #[doc(hidden)]
    fn run(&self, connection: Connection<Self>) -> impl Future<Output = ()> + Send {
        run_handler(self, connection)
    }
}
