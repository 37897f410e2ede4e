//! The echo on axum.

use axum::Router;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new().merge(adapter_axum::routes(&echo::realtime()));
    axum::serve(TcpListener::bind(echo::address()).await?, app).await
}
