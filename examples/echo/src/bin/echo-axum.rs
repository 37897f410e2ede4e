//! The echo on axum.

use axum::Router;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = echo::realtime();
    let app = Router::new().merge(adapter_axum::routes(&realtime));
    adapter_axum::serve(echo::bound(TcpListener::bind(echo::address()).await), app, &realtime).await
}
