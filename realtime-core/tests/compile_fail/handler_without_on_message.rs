//! A handler must say what it does with a message.

use realtime_core::Handler;

struct Room;

impl Handler for Room {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;
}

fn main() {}
