//! The measured handlers, the same on every adapter.

use crate::{Outcome, process};
use futures_util::stream;
use realtime_core::{
    CloseCode, Config, Connection, Deflate, Endpoint, Error, Handler, Message, Procedure, Realtime, Result,
    Subscription, Topic,
};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// The variable for the bytes that may wait for one client, if not the default.
pub const OUTBOX: &str = "OUTBOX";
/// The variable for the bytes of the largest message, if not the default; clients may then compress.
pub const MESSAGE: &str = "MESSAGE";

/// Returns the registry of our servers: `echo`, `typed`, `api`, `chat`, `rooms`, and also `halls` and `control`.
///
/// # Errors
///
/// `OUTBOX` or `MESSAGE` is not a number.
pub fn realtime() -> Outcome<Realtime> {
    let mut config = Config::default();
    // All clients of the bench share a few addresses.
    config.connections_per_peer = config.connections;
    config.topics_per_connection = MOST_ROOMS;
    config.outbox_bytes = process::variable(OUTBOX)?.unwrap_or(config.outbox_bytes);
    if let Some(bytes) = process::variable(MESSAGE)? {
        config.message_bytes = bytes;
        config.deflate = Some(Deflate::default());
    }
    let builder = Realtime::builder().config(config);
    let builder = builder.handler("echo", Echo.plain()).handler("typed", Typed).handler("chat", Chat.plain());
    let builder = builder.endpoint("api", api());
    let builder = builder.handler("rooms", Rooms.plain()).handler("halls", Halls.plain());
    let realtime = builder.handler("control", Control.plain()).build();
    // A second registry in one process is not controlled.
    let _ = REALTIME.set(realtime.clone());
    Ok(realtime)
}

/// A handler that returns every message unchanged.
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

/// A handler that returns every text, in the envelope, parsed from JSON and serialised again.
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

/// A procedure that returns texts, and streams: one that always has more, and one that never yields.
fn api() -> Endpoint<()> {
    Endpoint::new(())
        .procedure(ECHO, async |_, text| Ok(text))
        .subscription(TICKS, async |_, ()| Ok(stream::repeat_with(|| TICK.to_owned())))
        .subscription(QUIET, async |_, ()| Ok(stream::pending::<String>()))
}

const ECHO: Procedure<Text, Text> = Procedure::new("echo");
const TICKS: Subscription<(), String> = Subscription::new("ticks");
const QUIET: Subscription<(), String> = Subscription::new("quiet");
/// A text of 64 bytes, like the messages of most cases.
const TICK: &str = "a text of sixty-four bytes, which is sent again and again, on...";

/// A handler that sends every message to all clients, including the sender.
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
        connection.to(&TALK).send(&message)
    }
}

/// Like `Chat`, with the room that the client asks for.
struct Rooms;

#[derive(Deserialize)]
struct Room {
    room: String,
}

fn room(name: &str) -> Topic<Message> {
    Topic::new(format!("room:{name}"))
}

impl Handler for Rooms {
    type Input = Room;
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&room(&connection.input().room))
    }

    async fn on_message(&self, connection: &Connection<Self>, message: Message) -> Result {
        connection.to(&room(&connection.input().room)).send(&message)
    }
}

/// A handler that puts a client into many rooms of its own: many topics without as many sockets.
struct Halls;

/// `Config::topics_per_connection` for the halls.
const MOST_ROOMS: usize = 1024;

#[derive(Deserialize)]
struct Hall {
    hall: usize,
    rooms: usize,
}

impl Handler for Halls {
    type Input = Hall;
    type ClientMessage = Message;
    type ServerMessage = Message;

    /// Confirms when it is done: the load waits for it.
    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        let Hall { hall, rooms } = connection.input();
        for number in 0..*rooms {
            connection.subscribe(&room(&format!("{hall}.{number}")))?;
        }
        connection.send("ready".into())?;
        Ok(())
    }

    async fn on_message(&self, _: &Connection<Self>, _: Message) -> Result {
        Ok(())
    }
}

/// A handler that reports the number of slow consumers, and closes the members of the chat.
struct Control;

static REALTIME: OnceLock<Realtime> = OnceLock::new();

impl Handler for Control {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, connection: &Connection<Self>, command: String) -> Result {
        let realtime = REALTIME.get().ok_or_else(|| Error::unavailable("nothing is served yet"))?;
        if command == "close" {
            for member in realtime.filter(|member| member.endpoint() == "chat") {
                member.close(CloseCode::NORMAL, "the end");
            }
        }
        connection.send(realtime.stats().slow_consumers.to_string())?;
        Ok(())
    }
}
