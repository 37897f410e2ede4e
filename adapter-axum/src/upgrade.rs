use axum::{
    RequestExt,
    body::{Body, Bytes, HttpBody},
    extract::{ConnectInfo, RawPathParams, Request},
    http::StatusCode,
    response::Response,
};
use hyper::body::Frame;
use realtime_core::raw::Route;
use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

/// Answers an axum request, as a hyper request on tokio.
pub(crate) async fn upgrade(route: &Route, mut request: Request) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions_mut().remove::<ConnectInfo<SocketAddr>>() {
        request.extensions_mut().insert(peer);
    }
    forget_path_params(&mut request).await;
    let response = adapter_hyper::raw::upgrade(route, request).await;
    match response.status() {
        StatusCode::NO_CONTENT => response.map(|_| Body::new(NoContent)),
        _ => response.map(Body::new),
    }
}

/// A body without a length. To an empty one axum adds `Content-Length: 0`, which a 204 must not have.
struct NoContent;

impl HttpBody for NoContent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
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
