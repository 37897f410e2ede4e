//! An event is handled with its data.

use realtime_core::{Call, Endpoint, Event, Result};

const TYPING: Event<bool> = Event::new("typing");

async fn typing(_: Call<()>) -> Result {
    Ok(())
}

fn main() {
    let _ = Endpoint::new(()).on(TYPING, typing);
}
