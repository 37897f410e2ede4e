//! `on_message` may fail, and says so.

use realtime_core::{Connection, Handler};

struct Room;

impl Handler for Room {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, _: &Connection<Self>, _: String) {}
}

fn main() {}
