//! The handlers that are measured, the same on every adapter.

use crate::{Outcome, process};
use futures_util::stream;
use realtime_core::{
    CloseCode, Config, Connection, Deflate, Endpoint, Error, Handler, Message, Procedure, Realtime, Result,
    Subscription, Topic,
};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// The variable with the bytes that may wait for one client, where it is not the default.
pub const OUTBOX: &str = "OUTBOX";
/// The variable with the bytes of the largest message, where it is not the default; then clients may compress theirs.
pub const MESSAGE: &str = "MESSAGE";

/// The registry of our servers: `echo`, `typed`, `api`, `chat`, `rooms`, and `halls` and `control` beside them.
///
/// # Errors
///
/// `OUTBOX` or `MESSAGE` is no number.
pub fn realtime() -> Outcome<Realtime> {
    let mut config = Config::default();
    // All clients of the bench have few addresses between them.
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
    // A second registry of one process is not controlled.
    let _ = REALTIME.set(realtime.clone());
    Ok(realtime)
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

/// Texts that come back, and streams: one that always has more, and one that never has anything.
fn api() -> Endpoint<()> {
    Endpoint::new(())
        .procedure(ECHO, async |_, text| Ok(text))
        .subscription(TICKS, async |_, ()| Ok(stream::repeat_with(|| TICK.to_owned())))
        .subscription(QUIET, async |_, ()| Ok(stream::pending::<String>()))
}

const ECHO: Procedure<Text, Text> = Procedure::new("echo");
const TICKS: Subscription<(), String> = Subscription::new("ticks");
const QUIET: Subscription<(), String> = Subscription::new("quiet");
/// 64 bytes, as the messages of most cases.
const TICK: &str = "a text of sixty-four bytes, which is sent again and again, on...";

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
        connection.to(&TALK).send(&message)
    }
}

/// As `Chat`, and everybody is in the room that they ask for.
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

/// A client is in many rooms, which are its own: so there are many topics without as many sockets.
struct Halls;

/// `Config::topics_per_connection`, for the halls.
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

    /// Says so when it is done: the load waits for it.
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

/// Tells how many were closed because they did not keep up, and closes the members of the chat.
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
