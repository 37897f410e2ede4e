//! The events that are declared have schemas.

use realtime_core::{Endpoint, Event};
use serde::Serialize;

#[derive(Serialize)]
struct Added;

const ADDED: Event<Added> = Event::new("added");

fn main() {
    let _ = Endpoint::described(()).emits(ADDED);
}
