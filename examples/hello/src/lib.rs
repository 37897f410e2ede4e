//! The server of the README, as an application has it in its `main.rs`: what one client says, all clients hear.

#![allow(missing_docs, dead_code, reason = "this is what the README shows")]

use realtime_core::{Endpoint, Event, Procedure, Realtime, Topic};

pub const SAY: Procedure<String, ()> = Procedure::new("say");
pub const SAID: Event<String> = Event::new("said");
const ALL: Topic<String> = Topic::fixed("all");

pub fn realtime() -> Realtime {
    let talk = Endpoint::described(())
        .on_open(|client| async move { client.subscribe(&ALL) })
        .procedure(SAY, |call, text| async move { call.to(&ALL).emit(SAID, &text) })
        .emits(SAID);
    Realtime::builder().endpoint("talk", talk).build()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = realtime();
    let app = axum::Router::new().merge(adapter_axum::routes(&realtime));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    adapter_axum::serve(listener, app, &realtime).await
}

#[cfg(test)]
mod tests;
