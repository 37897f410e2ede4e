//! The smallest example: every message, text or binary, is sent back unchanged.

pub use example_address::{address, bound};

use realtime_core::{Config, Connection, Deflate, Handler, Message, Realtime, Result};
use std::net::SocketAddr;

/// A handler that sends each message back.
#[derive(Debug)]
pub struct Echo;

impl Handler for Echo {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_message(&self, connection: &Connection<Self>, message: Message) -> Result {
        // Backpressure: a client that sends faster than it reads has to wait.
        connection.ready().await;
        connection.send(message)?;
        Ok(())
    }
}

/// Builds the registry that all mains serve: one handler without an envelope, for messages up to 16 MiB, with
/// compression if the client offers it.
pub fn realtime() -> Realtime {
    let mut config = Config::default();
    config.message_bytes = 16 * 1024 * 1024;
    config.frames_per_message = 1024 * 1024;
    config.outbox_bytes = 64 * 1024 * 1024;
    config.deflate = Some(Deflate::default());
    Realtime::builder().config(config).handler("echo", Echo.plain()).build()
}

/// Prints the URL of the echo.
pub fn announce(address: SocketAddr) {
    example_address::announce("The echo", format_args!("ws://{address}/__realtime/echo"));
}
