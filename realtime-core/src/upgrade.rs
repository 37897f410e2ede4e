use crate::{
    context::Context,
    error::{Code, Error},
    hub::{Endpoint, Permit, Refused},
    middleware::{Accepted, Next},
    realtime::Inner,
    reject::Reject,
    session::{Opening, Serving, Session},
    transport::Transport,
    websocket::{CloseCode, PerMessageDeflate, handshake},
};
use bytes::Bytes;
use http::Response;
use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

/// A request that may become a connection: the response to answer it with, and the session to run
/// once the framework has handed over the connection.
///
/// Dropping it gives its place back; no method of the handler has been called.
#[must_use = "a connection is run by `serve`"]
pub struct Upgrade {
    opening: Opening,
    response: Option<Response<()>>,
}

impl Upgrade {
    /// The response that makes the request a WebSocket: 101, or 200 over HTTP/2. To be taken once.
    pub fn response(&mut self) -> Response<()> {
        self.response.take().unwrap_or_default()
    }

    /// Waits for the framework to hand over the connection, but not for ever; gives `None` when
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout) is over first.
    pub async fn timeout<T>(&self, upgrade: impl Future<Output = T>) -> Option<T> {
        let timeout = self.opening.hub.config.handshake_timeout;
        let upgraded = before(&self.opening.hub, timeout, upgrade).await;
        if upgraded.is_none() {
            tracing::debug!(endpoint = %self.opening.endpoint.id, "the framework handed over no connection in time");
        }
        upgraded
    }

    /// The session on its transport, from `on_open` to `on_close`: a future to spawn. `early` is what the client
    /// sent right behind its request.
    ///
    /// The future is `Send` exactly when the transport is. If it is dropped, the connection is
    /// cut, and `on_close` runs on the runtime that [`Realtime::upgrade`](crate::Realtime::upgrade)
    /// was given.
    pub fn serve<T: Transport>(self, transport: T, early: Bytes) -> impl Future<Output = ()> + use<T> {
        let hub = Arc::clone(&self.opening.hub);
        let session = Session::new(hub.next_id(), self.opening);
        hub.connections.insert(Arc::clone(&session));
        hub.counters.accepted.fetch_add(1, Relaxed);
        hub.wheel.watch(session.id, hub.clock.after(hub.config.ping_interval.min(hub.config.idle_timeout)));
        tracing::debug!(connection = %session.id, endpoint = %session.endpoint.id, "opened");
        // A drain that began after the request was accepted has not seen this connection.
        if hub.draining.load(Relaxed) {
            session.close(CloseCode::GOING_AWAY, "the server is going away");
        }
        Serving::new(session, transport, early)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("endpoint", &self.opening.endpoint.id).finish_non_exhaustive()
    }
}

/// Decides on a request.
pub(crate) async fn accept(realtime: &Inner, context: Context) -> Result<Upgrade, Reject> {
    let decided = decide(realtime, context).await;
    if let Err(reject) = &decided {
        realtime.hub.counters.refused.fetch_add(1, Relaxed);
        let (status, error) = (reject.status().as_u16(), reject.error());
        match error.code() == &Code::INTERNAL {
            true => tracing::error!(status, ?error, "upgrade refused"),
            false => tracing::debug!(status, %error, "upgrade refused"),
        }
    }
    decided
}

async fn decide(realtime: &Inner, mut context: Context) -> Result<Upgrade, Reject> {
    let hub = &realtime.hub;
    context.resolve_client(&hub.config.trusted_proxies);
    let Some(endpoint) = realtime.endpoints.get(context.endpoint()) else {
        return Err(Error::not_found("no handler has this id").into());
    };
    handshake::check(&context)?;
    if hub.draining.load(Relaxed) {
        return Err(Error::unavailable("the server is going away").retry_after(Duration::from_secs(1)).into());
    }
    check_origin(realtime, &context)?;
    let (protocol, subprotocol) = choose_protocol(realtime, endpoint, &context)?;
    let permit = permit(realtime, &context)?;
    let (deflate, extension) = PerMessageDeflate::accept(&hub.config, &context).unzip();
    let response = handshake::response(&context, subprotocol, extension);

    let middleware: Vec<_> = realtime.middleware.iter().chain(&endpoint.middleware).cloned().collect();
    let next = Next { rest: middleware.into_iter(), endpoint: Arc::clone(endpoint) };
    let timeout = hub.config.handshake_timeout;
    let accepted = before(hub, timeout, next.run(context)).await;
    let Some(accepted) = accepted else { return Err(Error::unavailable("the handshake took too long").into()) };
    let Accepted { mut context, typed, headers } = accepted?;
    context.forget_handshake();

    let mut response = response;
    response.headers_mut().extend(headers);
    let opening = Opening {
        hub: Arc::clone(hub),
        endpoint: Arc::clone(endpoint),
        context,
        typed,
        protocol,
        deflate,
        welcome: subprotocol.is_some(),
        permit,
    };
    Ok(Upgrade { opening, response: Some(response) })
}

fn check_origin(realtime: &Inner, context: &Context) -> Result<(), Reject> {
    let Some((_, origin)) = context.headers().find(|(name, _)| *name == "origin") else { return Ok(()) };
    let origin = std::str::from_utf8(origin).unwrap_or_default();
    if realtime.hub.config.origins.allows(origin, context.header("host")) {
        return Ok(());
    }
    Err(Reject::forbidden("pages of this origin may not connect"))
}

/// The protocol of a connection: its place in the hub's list, and its name if it was asked for.
fn choose_protocol(
    realtime: &Inner,
    endpoint: &Endpoint,
    context: &Context,
) -> Result<(u8, Option<&'static str>), Reject> {
    let mut native = false;
    for offered in context.header_tokens("sec-websocket-protocol") {
        native |= offered.starts_with("realtime.");
        let known = realtime.hub.protocols.iter().position(|protocol| protocol.subprotocol() == Some(offered));
        if let Some(at) = known.filter(|_| !endpoint.plain) {
            return Ok((at as u8, realtime.hub.protocols[at].subprotocol()));
        }
    }
    if native {
        return Err(Reject::bad_request("none of the offered realtime subprotocols is spoken here"));
    }
    Ok((if endpoint.plain { PLAIN } else { JSON }, None))
}

/// Where the built-in protocols stand in the hub's list.
const PLAIN: u8 = 0;
const JSON: u8 = 1;

fn permit(realtime: &Inner, context: &Context) -> Result<Permit, Reject> {
    realtime.hub.permits.acquire(context.client_ip()).map_err(|refused| {
        let retry = Duration::from_secs(1);
        match refused {
            Refused::All => Error::unavailable("too many connections").retry_after(retry).into(),
            Refused::Peer => {
                Error::resource_exhausted("too many connections from this address").retry_after(retry).into()
            }
        }
    })
}

/// Runs a future until it is ready or `timeout` of the hub's time is over.
async fn before<T>(hub: &crate::hub::Hub, timeout: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut late = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        // Most are ready at once and need no timer.
        let late = late.get_or_insert_with(|| Box::pin(hub.wheel.sleep_until(hub.clock.after(timeout))));
        late.as_mut().poll(cx).map(|()| None)
    })
    .await
}
