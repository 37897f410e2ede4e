//! An answer is sent by the connection, not returned.

use realtime_core::{Connection, Handler, Result};

struct Room;

impl Handler for Room {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, _: &Connection<Self>, message: String) -> Result<String> {
        Ok(message)
    }
}

fn main() {}
