//! The chat on axum.

use axum::{
    Router,
    http::{StatusCode, Uri, header},
    response::IntoResponse,
};
use std::{net::SocketAddr, time::Duration};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = chat::realtime();
    let app = Router::new().merge(adapter_axum::routes(&realtime)).fallback(page);
    let listener = TcpListener::bind(chat::address()).await?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let shutdown = async move {
        let _ = tokio::signal::ctrl_c().await;
        realtime.drain(Duration::from_secs(5)).await;
    };
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

async fn page(uri: Uri) -> impl IntoResponse {
    match chat::asset(uri.path()) {
        Some((kind, content)) => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
