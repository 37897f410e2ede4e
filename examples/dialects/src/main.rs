//! The server, on axum.

use axum::Router;
use dialects::guide;
use realtime_core::Realtime;
use std::time::Duration;
use tokio::{net::TcpListener, time::interval};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let port = std::env::var("PORT");
    let listener = TcpListener::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("3000"))).await?;
    let realtime = dialects::realtime();
    #[expect(clippy::print_stdout, reason = "this is what the person who started it wants to know")]
    {
        println!("ws://{}", listener.local_addr()?);
    }
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
