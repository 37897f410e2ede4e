//! The smallest thing that works: every message comes back as it came, text or binary.

use realtime_core::{Config, Connection, Deflate, Handler, Message, Realtime, Result};

/// Sends back what it is sent.
#[derive(Debug)]
pub struct Echo;

impl Handler for Echo {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_message(&self, connection: &Connection<Self>, message: Message) -> Result {
        // A client that sends faster than it reads is waited for.
        connection.ready().await;
        connection.send(message)?;
        Ok(())
    }
}

/// The registry of all mains: one handler without an envelope, for messages up to 16 MiB, compressed
/// where the client offers it.
pub fn realtime() -> Realtime {
    let mut config = Config::default();
    config.message_bytes = 16 * 1024 * 1024;
    config.frames_per_message = 1024 * 1024;
    config.outbox_bytes = 64 * 1024 * 1024;
    config.deflate = Some(Deflate::default());
    Realtime::builder().config(config).handler("echo", Echo.plain()).build()
}

/// Where the mains listen: on this machine, at `PORT` (3000 when it is not set).
pub fn address() -> String {
    format!("127.0.0.1:{}", std::env::var("PORT").as_deref().unwrap_or("3000"))
}
