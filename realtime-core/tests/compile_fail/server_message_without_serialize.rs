//! A server's message has to be written.

use realtime_core::{Connection, Handler, Result};

struct Said {
    text: String,
}

struct Room;

impl Handler for Room {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = Said;

    async fn on_message(&self, connection: &Connection<Self>, text: String) -> Result {
        connection.send(Said { text })?;
        Ok(())
    }
}

fn main() {}
