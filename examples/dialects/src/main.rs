//! The server, on axum.

use axum::Router;
use dialects::guide;
use example_address::{address, announce, bound};
use realtime_core::Realtime;
use std::time::Duration;
use tokio::{net::TcpListener, time::interval};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let listener = bound(TcpListener::bind(address()).await);
    let realtime = dialects::realtime();
    announce("The server", format_args!("ws://{}", listener.local_addr()?));
    tokio::spawn(tick(realtime.clone()));
    let app = Router::new().merge(adapter_axum::routes(&realtime));
    adapter_axum::serve(listener, app, &realtime).await
}

/// Publishes a tick every two seconds.
async fn tick(realtime: Realtime) {
    let mut ticks = interval(Duration::from_secs(2));
    loop {
        ticks.tick().await;
        guide::tick(&realtime);
    }
}
