use axum::{
    RequestExt,
    body::Body,
    extract::{ConnectInfo, RawPathParams, Request},
    response::Response,
};
use realtime_core::raw::Route;
use std::net::SocketAddr;

/// Answers an axum request, as a hyper request on tokio.
pub(crate) async fn upgrade(route: &Route, mut request: Request) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions_mut().remove::<ConnectInfo<SocketAddr>>() {
        request.extensions_mut().insert(peer);
    }
    forget_path_params(&mut request).await;
    adapter_hyper::raw::upgrade(route, request).await.map(Body::new)
}

/// Drops axum's path parameters, which would cost each connection 250 bytes for nothing. Their type is private, so
/// all extensions are cleared, and only if the application has put none there.
async fn forget_path_params(request: &mut Request) {
    let own = usize::from(request.extract_parts::<RawPathParams>().await.is_ok());
    let address = request.extensions().get::<SocketAddr>().copied();
    let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let protocol = request.extensions_mut().remove::<hyper::ext::Protocol>();
    if own + usize::from(address.is_some()) == request.extensions().len() {
        request.extensions_mut().clear();
    }
    address.map(|address| request.extensions_mut().insert(address));
    upgrade.map(|upgrade| request.extensions_mut().insert(upgrade));
    protocol.map(|protocol| request.extensions_mut().insert(protocol));
}
