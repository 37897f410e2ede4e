//! The dashboard on axum.

use axum::{Router, response::Html, routing::get};
use dashboard::{Dashboard, PAGE, SCRIPT, Shop};
use realtime_core::Realtime;
use std::time::Duration;
use tokio::{net::TcpListener, time::interval};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = address();
    let (dashboard, shop) = (Dashboard::new(dashboard::now().to_string()), Shop::default());
    let realtime = dashboard::realtime(&dashboard, &shop);
    let app = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/app.js", get(|| async { ([("content-type", "text/javascript; charset=utf-8")], SCRIPT) }))
        .merge(adapter_axum::routes(&realtime));
    let listener = TcpListener::bind(&address).await?;
    tokio::spawn(sample(dashboard, shop, realtime.clone()));
    dashboard::visit(&format!("ws://{address}/__realtime/shop"));
    adapter_axum::serve(listener, app, &realtime).await
}

/// Returns the address to listen on: 127.0.0.1, with the port from `PORT` (3000 by default). Prints it, and sets up
/// logging.
fn address() -> String {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let address = format!("127.0.0.1:{}", std::env::var("PORT").as_deref().unwrap_or("3000"));
    #[expect(clippy::print_stdout, reason = "this is what the person who started it wants to know")]
    {
        println!("The dashboard is at http://{address}");
    }
    address
}

/// Adds a sample once a second.
async fn sample(dashboard: Dashboard, shop: Shop, realtime: Realtime) {
    let mut second = interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        dashboard.sample(&realtime.stats(), shop.calls(), dashboard::now());
    }
}
