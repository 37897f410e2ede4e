//! Message handlers with their types: the trait, functions as handlers, and the hooks that the driver calls.
//!
//! May import `request` and the layers beneath it.

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

/// A typed realtime session: the callbacks for a client that connects, sends messages and disconnects.
///
/// One value serves all connections of its endpoint; the state of one client is in its [`Connection`]. The messages of
/// one connection are handled one at a time, in order; messages that arrive while `on_open` or `on_message` is pending
/// are queued.
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
    /// The input that a client connects with: `?input=<JSON>`, or the pairs of the query. Use `()` for none. Input that
    /// does not parse is refused with 400 before the upgrade.
    type Input: DeserializeOwned + Send + Sync + 'static;

    /// The type of the client's messages.
    type ClientMessage: DeserializeOwned + Send + 'static;

    /// The type of the server's messages.
    type ServerMessage: Serialize + Send + Sync + 'static;

    /// Called when a client has connected. Does nothing by default.
    ///
    /// # Errors
    ///
    /// The error is sent to the client, and the connection is closed.
    fn on_open(&self, connection: &Connection<Self>) -> impl Future<Output = Result> + Send {
        let _ = connection;
        async { Ok(()) }
    }

    /// Called for each message of the client.
    ///
    /// # Errors
    ///
    /// The error is sent to the client, and the session goes on. A [`plain`](Self::plain) connection, which has no
    /// frame for errors, is closed.
    ///
    /// # Cancel safety
    ///
    /// When the connection is lost, a pending call has [`Config::close_timeout`](crate::Config::close_timeout) to
    /// finish, and is then dropped.
    fn on_message(
        &self,
        connection: &Connection<Self>,
        message: Self::ClientMessage,
    ) -> impl Future<Output = Result> + Send;

    /// Called once when the connection has ended, however it ended, after the last other method has returned, been
    /// dropped or panicked. Does nothing by default.
    fn on_close(&self, connection: &Connection<Self>, close: Close) -> impl Future<Output = ()> + Send {
        let _ = (connection, close);
        async {}
    }

    /// Called when a method returns an error or a message cannot be parsed. Returns the error to send to the client; by
    /// default `error` itself.
    fn on_error(&self, connection: &Connection<Self>, error: Error) -> impl Future<Output = Error> + Send {
        let _ = connection;
        async { error }
    }

    /// Mounts this handler without an envelope: one WebSocket message is one value. For clients with their own message
    /// format. See [`protocol::Plain`](crate::protocol::Plain).
    fn plain(self) -> Mount {
        self.into_mount().plain()
    }

    /// Mounts this handler with its own middleware, which runs after the middleware of the
    /// [`Realtime`](crate::Realtime).
    fn middleware(self, middleware: impl Middleware) -> Mount {
        self.into_mount().middleware(middleware)
    }

    /// Mounts the handler with the schemas of its types, for generated clients. See `realtime-schema`.
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

    /// Runs one session. Not for implementors.
    #[doc(hidden)]
    fn run(&self, connection: Connection<Self>) -> impl Future<Output = ()> + Send {
        run_handler(self, connection)
    }
}
