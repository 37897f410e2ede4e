use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use realtime_core::Realtime;
use std::net::SocketAddr;

/// Answers one request of axum's, which is one of hyper's on tokio.
pub(crate) async fn upgrade(realtime: &Realtime, mut request: Request) -> Response {
    let extensions = request.extensions_mut();
    if let Some(&ConnectInfo(peer)) = extensions.get::<ConnectInfo<SocketAddr>>() {
        extensions.insert(peer);
    }
    adapter_hyper::raw::upgrade(realtime, request).await.map(Body::new)
}
