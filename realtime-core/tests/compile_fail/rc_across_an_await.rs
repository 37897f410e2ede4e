//! A handler runs on any executor, so its futures are `Send`.

use realtime_core::{Connection, Handler, Result};
use std::rc::Rc;

struct Room;

impl Handler for Room {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, connection: &Connection<Self>, message: String) -> Result {
        let shared = Rc::new(message);
        connection.ready().await;
        connection.send(shared.to_string())?;
        Ok(())
    }
}

fn main() {}
