//! The echo on axum.

use axum::Router;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = echo::realtime();
    let app = Router::new().merge(adapter_axum::routes(&realtime));
    let listener = echo::bound(TcpListener::bind(echo::address()).await);
    echo::announce(listener.local_addr()?);
    adapter_axum::serve(listener, app, &realtime).await
}
