use crate::{
    runtime::{Listen, Spawner},
    transport::Io,
};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::server::conn::auto::upgrade::downcast;
use realtime_core::{Context, Error, Realtime, Reject, raw};
use std::net::SocketAddr;

/// Answers one request of hyper's, and runs its connection in the background if it becomes one:
/// on the runtime of [`serve`](crate::serve()), else on the current one of tokio.
pub async fn upgrade<B>(realtime: &Realtime, request: Request<B>) -> Response<Full<Bytes>> {
    match accept(realtime, request.into_parts().0).await {
        Ok(response) => response.map(|()| Full::default()),
        Err(reject) => reject.into_response().map(Full::new),
    }
}

async fn accept(realtime: &Realtime, mut parts: http::request::Parts) -> Result<Response<()>, Reject> {
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let spawner = parts.extensions.remove().or_else(Spawner::current);
    let protocol = parts.extensions.remove::<hyper::ext::Protocol>();
    let websocket = protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    let extended_connect = parts.method == Method::CONNECT && websocket;
    let peer = parts.extensions.get::<SocketAddr>().copied();

    let mut upgrade = realtime.upgrade(Context::from_parts(parts, peer, extended_connect)).await?;
    let missing = "the connection must be served with upgrades, by `serve` or on tokio";
    let (Some(on_upgrade), Some(Spawner(runtime))) = (on_upgrade, spawner) else {
        tracing::error!(missing);
        return Err(Error::internal(missing).into());
    };
    let response = upgrade.response();
    runtime.clone().spawn(Box::pin(async move {
        match upgrade.timeout(runtime.clone(), on_upgrade).await {
            Some(Ok(upgraded)) => run(upgrade, Spawner(runtime), upgraded).await,
            Some(Err(error)) => tracing::debug!(%error, "the client left during the upgrade"),
            None => {}
        }
    }));
    Ok(response)
}

/// On the bare socket where there is one, else on whatever hyper has: HTTP/2, TLS.
async fn run(upgrade: raw::Upgrade, runtime: Spawner, upgraded: Upgraded) {
    #[cfg(feature = "tokio")]
    let Some((upgrade, upgraded)) = on_socket_of::<tokio::net::TcpListener>(upgrade, &runtime, upgraded).await
    else {
        return;
    };
    #[cfg(feature = "smol")]
    let Some((upgrade, upgraded)) = on_socket_of::<smol::net::TcpListener>(upgrade, &runtime, upgraded).await
    else {
        return;
    };
    #[cfg(feature = "async-std")]
    let Some((upgrade, upgraded)) = on_socket_of::<async_std::net::TcpListener>(upgrade, &runtime, upgraded).await
    else {
        return;
    };
    upgrade.serve(runtime.0, Io(upgraded), Bytes::new()).await;
}

/// Gives both back if the stream is no socket of `L`'s.
async fn on_socket_of<L: Listen>(
    upgrade: raw::Upgrade,
    runtime: &Spawner,
    upgraded: Upgraded,
) -> Option<(raw::Upgrade, Upgraded)> {
    let (io, early) = match downcast::<L::Io>(upgraded) {
        Ok(parts) => (parts.io, parts.read_buf),
        Err(upgraded) => match upgraded.downcast::<L::Io>() {
            Ok(parts) => (parts.io, parts.read_buf),
            Err(upgraded) => return Some((upgrade, upgraded)),
        },
    };
    upgrade.serve(runtime.0.clone(), L::transport(io), early).await;
    None
}
