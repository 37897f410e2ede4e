//! A client is subscribed only to what its handler sends.

use realtime_core::{Connection, Handler, Result, Topic};

const NEWS: Topic<u64> = Topic::fixed("news");

struct Room;

impl Handler for Room {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, connection: &Connection<Self>, _: String) -> Result {
        connection.subscribe(&NEWS)
    }
}

fn main() {}
