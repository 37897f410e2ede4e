//! The dashboard on axum.

use axum::{Router, response::Html, routing::get};
use dashboard::{Dashboard, PAGE, SCRIPT, Shop};
use example_address::{address, announce, bound};
use realtime_core::Realtime;
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, time::interval};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (dashboard, shop) = (Dashboard::default(), Shop::default());
    let realtime = dashboard::realtime(&dashboard, &shop);
    let app = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/app.js", get(|| async { ([("content-type", "text/javascript; charset=utf-8")], SCRIPT) }))
        .merge(adapter_axum::routes(&realtime));
    let listener = bound(TcpListener::bind(address()).await);
    let address = listener.local_addr()?;
    say_where(address);
    tokio::spawn(sample(dashboard, shop, realtime.clone()));
    dashboard::visit(&format!("ws://{address}/__realtime/shop"));
    adapter_axum::serve(listener, app, &realtime).await
}

/// Prints the address at which the dashboard is, and sets up logging.
fn say_where(address: SocketAddr) {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    announce("The dashboard", format_args!("http://{address}"));
}

/// Adds a sample once a second.
async fn sample(dashboard: Dashboard, shop: Shop, realtime: Realtime) {
    let mut second = interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let sampled = dashboard.sample(&realtime, &realtime.stats(), shop.calls(), dashboard::now()).await;
        if let Err(error) = sampled {
            tracing::warn!(%error, "a sample is not told");
        }
    }
}
