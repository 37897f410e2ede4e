//! Only handlers are the handler of a connection.

use realtime_core::Connection;

struct NotAHandler;

fn greet(_: &Connection<NotAHandler>) {}

fn main() {}
