use crate::{
    answer::merge,
    context::Context,
    error::{Code, Error},
    head,
    hub::{Hub, Mounted, Permit, Refused},
    middleware::{Accepted, Next, run_caught},
    origins::Foreign,
    reject::Reject,
    session::{Opening, Serving, Session},
    transport::Transport,
    websocket::{PerMessageDeflate, handshake},
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

    /// The place that the connection takes among those that there may be. The session gives it back at its end; an
    /// adapter whose socket may outlive the session, because the framework still holds what it was given to send, keeps
    /// a clone with that.
    pub fn permit(&self) -> ConnectionPermit {
        self.opening.permit.clone()
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
        Serving::new(Session::open(self.opening), transport, early)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("endpoint", &self.opening.endpoint.id).finish_non_exhaustive()
    }
}

/// One place among the connections that there may be, in all and from one address
/// ([`Config::connections`](crate::Config::connections)). It is free again when the last clone is dropped.
#[derive(Clone, Debug)]
#[must_use = "dropping it gives the place to another"]
pub struct ConnectionPermit {
    _held: Arc<Permit>,
}

/// Decides on a request.
pub(crate) async fn accept(hub: &Arc<Hub>, context: Context) -> Result<Upgrade, Reject> {
    let may_send_early = context.is_http1() && context.header_has("upgrade", "websocket");
    let decided = match head::check(&context) {
        Ok(()) => decide(hub, context).await,
        Err(reject) => Err(reject),
    };
    decided.map_err(|reject| refused(hub, if may_send_early { reject.closing() } else { reject }))
}

/// Counts a refusal, and tells it to the log.
pub(crate) fn refused(hub: &Hub, reject: Reject) -> Reject {
    hub.counters.refused.fetch_add(1, Relaxed);
    let (status, error) = (reject.status().as_u16(), reject.error());
    match error.code() == &Code::INTERNAL {
        true => tracing::error!(status, ?error, "request refused"),
        false => tracing::debug!(status, %error, "request refused"),
    }
    reject
}

pub(crate) fn find<'a>(hub: &'a Hub, context: &Context) -> Result<&'a Arc<Mounted>, Reject> {
    let mounted = hub.registry.mounted.get(&*context.endpoint());
    mounted.ok_or_else(|| Error::not_found("no handler has this id").into())
}

async fn decide(hub: &Arc<Hub>, context: Context) -> Result<Upgrade, Reject> {
    let endpoint = find(hub, &context)?;
    handshake::check(&context)?;
    check_open(hub)?;
    check_origin(hub, &context)?;
    let (protocol, subprotocol) = choose_protocol(hub, endpoint, &context)?;
    let permit = permit(hub, &context)?;
    let (deflate, extension) = PerMessageDeflate::accept(&hub.config, &context).unzip();
    let response = handshake::response(&context, subprotocol, extension);

    let Accepted { mut context, typed, headers } = let_through(hub, endpoint, context, true).await?;
    context.forget_handshake();

    let mut response = response;
    merge(response.headers_mut(), headers);
    let opening = Opening {
        hub: Arc::clone(hub),
        endpoint: Arc::clone(endpoint),
        context,
        typed,
        protocol,
        deflate,
        welcome: subprotocol.is_some(),
        first: None,
        permit,
    };
    Ok(Upgrade { opening, response: Some(response) })
}

/// Has the middleware decide; `opens` says whether a session follows, whose input is read.
pub(crate) async fn let_through(
    hub: &Hub,
    endpoint: &Arc<Mounted>,
    context: Context,
    opens: bool,
) -> Result<Accepted, Reject> {
    let middleware: Vec<_> = hub.registry.middleware.iter().chain(&endpoint.middleware).cloned().collect();
    let next = Next { rest: middleware.into_iter(), endpoint: Arc::clone(endpoint), opens };
    let accepted = before(hub, hub.config.handshake_timeout, run_caught(next, context)).await;
    accepted.unwrap_or_else(|| Err(Error::unavailable("the handshake took too long").into()))
}

/// Whether requests are still taken.
pub(crate) fn check_open(hub: &Hub) -> Result<(), Error> {
    if hub.draining.load(Relaxed) {
        return Err(Error::unavailable("the server is going away").retry_after(Duration::from_secs(1)));
    }
    Ok(())
}

pub(crate) fn check_origin(hub: &Hub, context: &Context) -> Result<(), Reject> {
    let Some((_, origin)) = context.headers().find(|(name, _)| *name == "origin") else { return Ok(()) };
    let origin = std::str::from_utf8(origin).unwrap_or_default();
    let host = context.header("host");
    if hub.config.origins.allows(origin, host) {
        return Ok(());
    }
    let refusal = Foreign { origin, host }.to_string();
    if hub.warnings.is_due(&refusal, hub.clock.now(), hub.clock.ticks(WARNING_INTERVAL)) {
        tracing::warn!("{refusal}");
    }
    Err(Reject::forbidden(refusal))
}

/// How often the same origin and host are warned of.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The protocol of a connection: its place in the hub's list, and its name if it was asked for.
fn choose_protocol(
    hub: &Hub,
    endpoint: &Mounted,
    context: &Context,
) -> Result<(u8, Option<&'static str>), Reject> {
    let mut native = false;
    for offered in context.header_tokens("sec-websocket-protocol") {
        native |= offered.starts_with("realtime.");
        let known = hub.protocols.iter().position(|protocol| protocol.subprotocol() == Some(offered));
        if let Some(at) = known.filter(|_| !endpoint.plain) {
            return Ok((at as u8, hub.protocols[at].subprotocol()));
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

pub(crate) fn permit(hub: &Hub, context: &Context) -> Result<ConnectionPermit, Reject> {
    hub.limit_request(context)?;
    let acquired = hub.permits.acquire(context.client_peer());
    warn_of_proxy(hub, context);
    acquired.map(|permit| ConnectionPermit { _held: Arc::new(permit) }).map_err(|refused| {
        let retry = Duration::from_secs(1);
        match refused {
            Refused::All => Error::unavailable("too many connections").retry_after(retry).into(),
            Refused::Peer => {
                Error::resource_exhausted("too many connections from this address").retry_after(retry).into()
            }
        }
    })
}

/// Behind a proxy that is not trusted, its address has the places of all its clients. Where it is public, that is found out
/// when they run out, and where it is private, when a limit counts for all of them, unless it is told before.
fn warn_of_proxy(hub: &Hub, context: &Context) {
    let Some(peer) = context.client_peer() else { return };
    if hub.warnings.has_proxy() || !context.is_unresolved() || !hub.permits.is_half_taken(peer) {
        return;
    }
    if hub.warnings.is_first_of_proxy() {
        tracing::warn!(
            address = ?context.client_ip(),
            limit = hub.config.connections_per_peer,
            "one address has half of the connections that one client may have, and forwards for others: if it is a proxy of \
             yours, add it to Config::trusted_proxies, and set Config::forwarding_header to the header that it writes"
        );
    }
}

/// Runs a future until it is ready or `timeout` of the hub's time is over.
pub(crate) async fn before<T>(hub: &Hub, timeout: Duration, future: impl Future<Output = T>) -> Option<T> {
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
