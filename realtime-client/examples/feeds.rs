//! A server of one feed, with and without a state, for the tests of clients: `PORT=3000 cargo run --example feeds`.

#![allow(clippy::print_stdout, reason = "a test waits for its address")]

use adapter_hyper::{routes, serve};
use realtime_core::{Call, Endpoint, Feed, Log, Procedure, Realtime, Subscription, Topic};
use serde::{Deserialize, Serialize};
use std::{
    future::pending,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::net::TcpListener;

/// A change of the sum, or all of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Whole(u64),
    Added(u64),
}

const SUM: Feed<Change> = Topic::fixed("sum").log(Log::last(1000));
const CHANGES: Subscription<(), Change> = Subscription::new("changes");
const STATE: Subscription<(), Change> = Subscription::new("state");
const ADD: Procedure<u64, u64> = Procedure::new("add");

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let endpoint = Endpoint::new(AtomicU64::default())
        .feed(CHANGES, |_, ()| async { Ok(SUM.follow()) })
        .feed(STATE, |call: Call<AtomicU64>, ()| async move {
            let load = move || async move { Ok(Change::Whole(call.state().load(Relaxed))) };
            Ok(SUM.follow().or_begin_with(load))
        })
        .procedure(ADD, |call: Call<AtomicU64>, amount| async move {
            let sum = call.state().fetch_add(amount, Relaxed) + amount;
            call.append(&SUM, &Change::Added(amount)).await?;
            Ok(sum)
        });
    let realtime = Realtime::builder().endpoint("feeds", endpoint).build();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("feeds is at http://{}/__realtime/feeds", listener.local_addr()?);
    serve(listener, routes(&realtime), &realtime).shutdown(pending()).await
}
