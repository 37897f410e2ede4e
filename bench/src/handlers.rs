//! The handlers that are measured, the same on every adapter.

use realtime_core::{Audience, Config, Connection, Handler, Message, Realtime, Result, Topic};
use serde::{Deserialize, Serialize};

/// The registry of our servers: `echo`, `typed` and `chat`.
pub fn realtime() -> Realtime {
    let mut config = Config::default();
    // All clients of the bench have few addresses between them.
    config.connections_per_peer = config.connections;
    let builder = Realtime::builder().config(config);
    builder.handler("echo", Echo.plain()).handler("typed", Typed).handler("chat", Chat.plain()).build()
}

/// Every message comes back as it came.
struct Echo;

impl Handler for Echo {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_message(&self, connection: &Connection<Self>, message: Message) -> Result {
        connection.send(message)?;
        Ok(())
    }
}

/// Every text comes back, in the envelope, as JSON that was read and is written again.
struct Typed;

#[derive(Serialize, Deserialize)]
struct Text {
    text: String,
}

impl Handler for Typed {
    type Input = ();
    type ClientMessage = Text;
    type ServerMessage = Text;

    async fn on_message(&self, connection: &Connection<Self>, message: Text) -> Result {
        connection.send(message)?;
        Ok(())
    }
}

/// Everybody is sent what anybody sends, the sender too.
struct Chat;

const TALK: Topic<Message> = Topic::fixed("talk");

impl Handler for Chat {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&TALK)
    }

    async fn on_message(&self, connection: &Connection<Self>, message: Message) -> Result {
        connection.publish_to(&TALK, &message, Audience::everyone())
    }
}
