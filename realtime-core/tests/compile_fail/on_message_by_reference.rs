//! A message belongs to the handler: it is given by value.

use realtime_core::{Connection, Handler, Result};

struct Room;

impl Handler for Room {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, connection: &Connection<Self>, message: &String) -> Result {
        connection.send(message.clone())?;
        Ok(())
    }
}

fn main() {}
