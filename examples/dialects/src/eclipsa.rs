//! The room of eclipsa's documentation: it greets, and answers each message.

mod protocol;

pub use protocol::Eclipsa;

use realtime_core::{Connection, Handler, IntoMount, Mount, Result};
use serde::{Deserialize, Serialize};

struct Room;

/// The value of `connect()`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Join {
    room_id: String,
}

#[derive(Serialize, Deserialize)]
struct Say {
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Said {
    from: String,
    text: String,
}

impl Handler for Room {
    type Input = Join;
    type ClientMessage = Say;
    type ServerMessage = Said;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        let text = format!("Joined {}", connection.input().room_id);
        Ok(connection.send(Said { from: "system".into(), text })?)
    }

    async fn on_message(&self, connection: &Connection<Self>, message: Say) -> Result {
        Ok(connection.send(Said { from: "server".into(), text: message.text })?)
    }
}

/// Mounts the room where a page looks for the handle of this id. The compiler makes ids of the source: take the one
/// that the page asks for.
pub fn mount() -> Mount {
    Room.into_mount().protocol(Eclipsa).at("/__eclipsa/realtime/room")
}
