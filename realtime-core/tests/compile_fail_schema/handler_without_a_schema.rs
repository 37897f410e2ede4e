//! A described handler has schemas of its three types.

use realtime_core::{FnConnection, handler_fn};
use serde::Deserialize;

#[derive(Deserialize)]
struct Say;

fn main() {
    let _ = handler_fn(|_: FnConnection<Say, String>| async { Ok(()) }).described();
}
