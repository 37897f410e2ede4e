//! The chat on axum.

use axum::{
    Router,
    http::{StatusCode, Uri, header},
    response::IntoResponse,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = chat::realtime();
    let app = Router::new().merge(adapter_axum::routes(&realtime)).fallback(page);
    let listener = chat::bound(TcpListener::bind(chat::address()).await);
    chat::announce(listener.local_addr()?);
    adapter_axum::serve(listener, app, &realtime).await
}

async fn page(uri: Uri) -> impl IntoResponse {
    match chat::asset(uri.path()) {
        Some((kind, content)) => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
