use crate::{
    runtime::{Listen, Spawner},
    serve::Watched,
    transport::Io,
};
use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body_util::{BodyDataStream, Either, Full};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::server::conn::auto::upgrade::downcast;
use realtime_core::{
    Context, Error, Reject,
    raw::{self, Answer, EventStream, Route, Runtime},
};
use std::{net::SocketAddr, sync::Arc};

/// The body of a response: bytes, or a stream of server-sent events. Dropping it ends the stream.
pub type Body = Either<Full<Bytes>, EventStream>;

/// The body of a request.
pub trait Incoming: hyper::body::Body<Data = Bytes, Error: Send> + Unpin + Send + 'static {}

impl<B: hyper::body::Body<Data = Bytes, Error: Send> + Unpin + Send + 'static> Incoming for B {}

pub(crate) fn whole(bytes: Bytes) -> Body {
    Either::Left(Full::new(bytes))
}

/// Answers a hyper request. If it becomes a connection, that runs in the background, on the runtime of
/// [`serve`](crate::serve()) or else the current tokio runtime.
pub async fn upgrade(route: &Route, request: Request<impl Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    accept(route, parts, body).await.unwrap_or_else(|reject| reject.into_response().map(whole))
}

async fn accept(route: &Route, mut parts: Parts, body: impl Incoming) -> Result<Response<Body>, Reject> {
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let spawner = parts.extensions.remove().or_else(Spawner::current);
    let protocol = parts.extensions.remove::<hyper::ext::Protocol>();
    let websocket = protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    let extended_connect = parts.method == Method::CONNECT && websocket;
    let peer = parts.extensions.remove::<SocketAddr>();

    let Some(Spawner(runtime)) = spawner else {
        return Err(misuse("requests must be served by `adapter_hyper::serve`, or on tokio"));
    };
    let context = Context::from_parts(parts, peer, extended_connect);
    let mut upgrade = match route.answer(context, &mut BodyDataStream::new(body), runtime.clone()).await {
        Answer::Upgrade(upgrade) => upgrade,
        Answer::Response(response) => return Ok(response.map(whole)),
        Answer::Events(response) => return Ok(response.map(Either::Right)),
    };
    let on_upgrade = on_upgrade.ok_or_else(|| {
        misuse("connections must be served with upgrades, as by `serve_connection_with_upgrades`")
    })?;
    let response = upgrade.response();
    let spawner = Arc::clone(&runtime);
    runtime.spawn(Box::pin(async move {
        match upgrade.timeout(on_upgrade).await {
            Some(Ok(upgraded)) => run(upgrade, &*spawner, upgraded),
            Some(Err(error)) => tracing::debug!(%error, "the client left during the upgrade"),
            None => {}
        }
    }));
    Ok(response.map(|()| whole(Bytes::new())))
}

/// Logs an error of the application in how it serves its connections, and refuses the request with 500.
fn misuse(what: &'static str) -> Reject {
    tracing::error!("{what}");
    Error::internal(what).into()
}

/// Runs a connection on the bare socket if there is one, else on hyper's stream (HTTP/2, TLS). It gets a task of its
/// own, which is smaller than the task that waited for the upgrade.
fn run(upgrade: raw::Upgrade, runtime: &dyn Runtime, upgraded: Upgraded) {
    let run = Some((upgrade, upgraded));
    #[cfg(feature = "tokio")]
    let run = run.and_then(|run| on_socket_of::<tokio::net::TcpListener>(run, runtime));
    #[cfg(feature = "smol")]
    let run = run.and_then(|run| on_socket_of::<smol::net::TcpListener>(run, runtime));
    #[cfg(feature = "async-std")]
    let run = run.and_then(|run| on_socket_of::<async_std::net::TcpListener>(run, runtime));
    if let Some((upgrade, upgraded)) = run {
        runtime.spawn(Box::pin(upgrade.serve(Io(upgraded), Bytes::new())));
    }
}

type Run = (raw::Upgrade, Upgraded);

/// Runs the connection if its stream is a socket of `L`; otherwise returns it.
fn on_socket_of<L: Listen>((upgrade, upgraded): Run, runtime: &dyn Runtime) -> Option<Run> {
    let (io, early) = match downcast::<Watched<L::Io>>(upgraded) {
        Ok(parts) => (parts.io.into_inner(), parts.read_buf),
        Err(upgraded) => match downcast::<L::Io>(upgraded) {
            Ok(parts) => (parts.io, parts.read_buf),
            Err(upgraded) => match upgraded.downcast::<L::Io>() {
                Ok(parts) => (parts.io, parts.read_buf),
                Err(upgraded) => return Some((upgrade, upgraded)),
            },
        },
    };
    runtime.spawn(Box::pin(upgrade.serve(L::transport(io), early)));
    None
}
