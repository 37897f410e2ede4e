use super::{
    handshake, head,
    middleware::{Accepted, Next, run_caught},
    registry::{Mounted, Registry},
    reject::Reject,
};
use crate::{
    config::Foreign,
    context::Context,
    hub::{ConnectionPermit, Hub, Refused},
    session::Service,
};
use http::HeaderMap;
use realtime_protocol::{Code, Error};
use std::{
    any::Any,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// What a request wants to be let in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    WebSocket,
    Events,
    Call,
}

/// A request that has passed the checks, and is next shown to the middleware.
///
/// All kinds of requests are checked in this order: the head, the id, the handshake of a WebSocket, whether the server
/// takes requests, the origin, the client's rate and its place. Then its own kind may look at it, and the middleware runs.
pub(super) struct Admission<'a> {
    hub: &'a Arc<Hub>,
    pub(super) mounted: &'a Arc<Mounted>,
    /// What reads the input of the session.
    service: Arc<Service>,
    permit: ConnectionPermit,
}

/// A request that the middleware has let through.
pub(super) struct Admitted {
    pub(super) context: Context,
    pub(super) typed: Box<dyn Any + Send + Sync>,
    /// What the response is to say beside its own headers.
    pub(super) headers: HeaderMap,
    pub(super) permit: ConnectionPermit,
}

impl<'a> Admission<'a> {
    pub(super) fn check(hub: &'a Arc<Hub>, context: &Context, kind: Kind) -> Result<Self, Reject> {
        head::check(context)?;
        let mounted = Registry::of(hub).find(context)?;
        if kind == Kind::WebSocket {
            handshake::check(context)?;
        }
        check_open(hub)?;
        check_origin(hub, context)?;
        Ok(Self { hub, mounted, service: Arc::clone(&mounted.service), permit: permit(hub, context)? })
    }

    /// Has another service than that of the id serve the session.
    pub(super) fn serve_by(&mut self, service: Arc<Service>) {
        self.service = service;
    }

    /// Has the middleware decide; `opens` says whether a session follows, whose input is read.
    pub(super) async fn let_through(self, context: Context, opens: bool) -> Result<Admitted, Reject> {
        let Self { hub, mounted, service, permit } = self;
        let middleware: Vec<_> = Registry::of(hub).middleware.iter().chain(&mounted.middleware).cloned().collect();
        let next = Next { rest: middleware.into_iter(), service, opens };
        let accepted = hub.before(hub.config.handshake_timeout, run_caught(next, context)).await;
        let accepted = accepted.unwrap_or_else(|| Err(Error::unavailable("the handshake took too long").into()));
        let Accepted { context, typed, headers } = accepted?;
        Ok(Admitted { context, typed, headers, permit })
    }
}

/// Counts a refusal, and tells it to the log.
pub(super) fn refused(hub: &Hub, reject: Reject) -> Reject {
    hub.counters.refused.fetch_add(1, Relaxed);
    let (status, error) = (reject.status().as_u16(), reject.error());
    match error.code() == &Code::INTERNAL {
        true => tracing::error!(status, ?error, "request refused"),
        false => tracing::debug!(status, %error, "request refused"),
    }
    reject
}

/// Whether requests are still taken.
fn check_open(hub: &Hub) -> Result<(), Error> {
    if hub.draining.load(Relaxed) {
        return Err(Error::unavailable("the server is going away").with_retry_after(Duration::from_secs(1)));
    }
    Ok(())
}

pub(super) fn check_origin(hub: &Hub, context: &Context) -> Result<(), Reject> {
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

fn permit(hub: &Hub, context: &Context) -> Result<ConnectionPermit, Reject> {
    hub.limit_request(context)?;
    let acquired = hub.permits.acquire(context.client_peer());
    warn_of_proxy(hub, context);
    acquired.map(ConnectionPermit::from).map_err(|refused| {
        let retry = Duration::from_secs(1);
        match refused {
            Refused::All => Error::unavailable("too many connections").with_retry_after(retry).into(),
            Refused::Peer => {
                Error::resource_exhausted("too many connections from this address").with_retry_after(retry).into()
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
