use axum::{
    RequestExt,
    body::Body,
    extract::{ConnectInfo, RawPathParams, Request},
    response::Response,
};
use realtime_core::Realtime;
use std::net::SocketAddr;

/// Answers one request of axum's, which is one of hyper's on tokio.
pub(crate) async fn upgrade(realtime: &Realtime, mut request: Request) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions_mut().remove::<ConnectInfo<SocketAddr>>() {
        request.extensions_mut().insert(peer);
    }
    forget_path_params(&mut request).await;
    adapter_hyper::raw::upgrade(realtime, request).await.map(Body::new)
}

/// axum keeps what it matched of the path in a type of its own, which a connection would hold on to
/// for nothing: 250 bytes. It goes where nothing else but the address is among the extensions.
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
