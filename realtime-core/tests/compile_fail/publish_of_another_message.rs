//! A message published to a topic is the one that its members are sent.

use realtime_core::{Connection, Handler, Result, Topic};

const NEWS: Topic<String> = Topic::fixed("news");

struct Room;

impl Handler for Room {
    type Input = ();
    type ClientMessage = u64;
    type ServerMessage = String;

    async fn on_message(&self, connection: &Connection<Self>, number: u64) -> Result {
        connection.to(&NEWS).others().send(&number)
    }
}

fn main() {}
