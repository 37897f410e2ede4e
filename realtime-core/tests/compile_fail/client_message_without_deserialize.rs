//! A client's message has to be read.

use realtime_core::{Connection, Handler, Result};

struct Say {
    text: String,
}

struct Room;

impl Handler for Room {
    type Input = ();
    type ClientMessage = Say;
    type ServerMessage = String;

    async fn on_message(&self, connection: &Connection<Self>, message: Say) -> Result {
        connection.send(message.text)?;
        Ok(())
    }
}

fn main() {}
