use super::{
    handshake, head,
    middleware::Accepted,
    registry::{Mounted, Registry},
    reject::Reject,
    renewal::{Again, run_all},
};
use crate::{
    config::Foreign,
    context::Context,
    hub::{ConnectionPermit, Credentials, Hub, Mark, NewClient, Refused, Renewal},
    protocol::{Format, ProtocolId},
    session::Service,
};
use http::{Extensions, HeaderMap, StatusCode};
use realtime_protocol::{Code, Error};
use std::{
    any::Any,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// The kind of a request that asks for admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    WebSocket,
    Events,
    Call,
    Probe,
}

/// A request that has passed the checks and goes to the middleware next.
///
/// All kinds of requests are checked in this order: the head, the id, the WebSocket handshake, whether the server
/// accepts requests and has memory for them, the origin ([`Checked`]); a WebSocket's subprotocol; the client's rate, and its limit of
/// connections. Then come the checks of its own kind, and the middleware.
pub(super) struct Admission<'a, P = ConnectionPermit> {
    hub: &'a Arc<Hub>,
    pub(super) mounted: &'a Arc<Mounted>,
    /// Parses the input of the session.
    service: Arc<Service>,
    permit: P,
}

/// A request that has passed the checks that cost the client nothing.
pub(super) struct Checked<'a> {
    hub: &'a Arc<Hub>,
    pub(super) mounted: &'a Arc<Mounted>,
}

/// A request that the middleware has accepted.
pub(super) struct Admitted<P = ConnectionPermit> {
    pub(super) context: Context,
    pub(super) typed: Box<dyn Any + Send + Sync>,
    /// Headers to add to the response.
    pub(super) headers: HeaderMap,
    pub(super) permit: P,
    pub(super) term: Term,
}

/// The time for which a request is let in, and what it takes to let it in again.
pub(super) struct Term {
    /// The tick at which it ends, if it does.
    end: Option<u32>,
    mounted: Arc<Mounted>,
    /// The revocations when its middleware began.
    pub(super) since: Mark,
    /// The variables that the request had before any middleware.
    variables: Extensions,
}

impl Admitted {
    /// Returns the client of the session that follows, for whom nothing is open or ahead yet, and the headers to add to
    /// the response. One that `answers` can be asked for fresh credentials.
    pub(super) fn into_client(self, hub: &Arc<Hub>, format: Format, answers: bool) -> (NewClient, HeaderMap) {
        let Self { context, typed, headers, permit, term } = self;
        let client = NewClient {
            hub: Arc::clone(hub),
            endpoint: Arc::clone(&term.mounted.id),
            context,
            typed,
            format,
            opening: None,
            ahead: None,
            since: term.since,
            credentials: term.credentials(hub, answers),
            permit,
        };
        (client, headers)
    }
}

impl Term {
    /// Returns the credentials of a client, if they end.
    fn credentials(self, hub: &Hub, answers: bool) -> Option<Box<Credentials>> {
        let Self { end, mounted, variables, .. } = self;
        let renewal = answers.then(|| Arc::new(Again { mounted, variables }) as Arc<dyn Renewal>);
        end.map(|end| Box::new(Credentials::new(hub, end, renewal)))
    }
}

impl<'a> Checked<'a> {
    pub(super) fn of(hub: &'a Arc<Hub>, context: &Context, kind: Kind) -> Result<Self, Reject> {
        head::check(context)?;
        let mounted = Registry::of(hub).find(context)?;
        if kind == Kind::WebSocket {
            if context.name().is_some() {
                return Err(Error::not_found("a WebSocket is opened at the id, without a name behind it").into());
            }
            handshake::check(context)?;
        }
        check_open(hub)?;
        check_memory(hub)?;
        check_origin(hub, context)?;
        Ok(Self { hub, mounted })
    }

    /// Counts the request for the client's rate and its limit of connections.
    pub(super) fn take_place(self, context: &Context) -> Result<Admission<'a>, Reject> {
        self.hub.limit_request(context)?;
        let acquired = self.hub.permits.acquire(context.client_peer());
        warn_of_proxy(self.hub, context);
        Ok(self.with(acquired.map(ConnectionPermit::from).map_err(no_place)?))
    }

    /// Counts the request for the client's rate, and checks that there is a place for a connection, without taking it.
    pub(super) fn look_for_place(self, context: &Context) -> Result<Admission<'a, ()>, Reject> {
        self.hub.limit_request(context)?;
        self.hub.permits.check(context.client_peer()).map_err(no_place)?;
        Ok(self.with(()))
    }

    fn with<P>(self, permit: P) -> Admission<'a, P> {
        let Self { hub, mounted } = self;
        Admission { hub, mounted, service: Arc::clone(&mounted.service), permit }
    }
}

impl<P> Admission<'_, P> {
    /// Uses another service than the id's for the session.
    pub(super) fn serve_by(&mut self, service: Arc<Service>) {
        self.service = service;
    }

    /// Runs the middleware. `opens` is the protocol of the session that follows, if one does: its input is then parsed.
    pub(super) async fn let_through(
        self,
        context: Context,
        opens: Option<ProtocolId>,
    ) -> Result<Admitted<P>, Reject> {
        let Self { hub, mounted, service, permit } = self;
        let (began, since) = (hub.clock.now(), hub.revocations.mark());
        let variables = if opens.is_some() { context.variables() } else { Extensions::new() };
        let Accepted { context, typed, headers } = run_all(hub, mounted, service, context, opens).await?;
        let end = context.lifetime().map(|lifetime| began + hub.clock.ticks(lifetime));
        let term = Term { end, mounted: Arc::clone(mounted), since, variables };
        Ok(Admitted { context, typed, headers, permit, term })
    }
}

/// Counts and logs a refusal.
pub(super) fn refused(hub: &Hub, reject: Reject) -> Reject {
    hub.counters.refused.fetch_add(1, Relaxed);
    let (status, error) = (reject.status().as_u16(), reject.error());
    match error.code() == &Code::INTERNAL {
        true => tracing::error!(status, ?error, "request refused"),
        false => tracing::debug!(status, %error, "request refused"),
    }
    reject
}

/// Fails once the server is draining.
fn check_open(hub: &Hub) -> Result<(), Error> {
    if hub.draining.load(Relaxed) {
        return Err(Error::unavailable("the server is going away").with_retry_after(Duration::from_secs(1)));
    }
    Ok(())
}

/// Fails while the budget of memory has no room.
fn check_memory(hub: &Hub) -> Result<(), Reject> {
    // Not 429: the client is not at fault.
    hub.admit_to_budget().map_err(|error| Reject::new(StatusCode::SERVICE_UNAVAILABLE, error))
}

pub(super) fn check_origin(hub: &Hub, context: &Context) -> Result<(), Reject> {
    let Some(origin) = context.header_lines("origin").next() else { return Ok(()) };
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

/// The interval at which a warning about the same origin and host is repeated.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

fn no_place(refused: Refused) -> Reject {
    let error = match refused {
        Refused::All => Error::unavailable("too many connections"),
        Refused::Peer => Error::resource_exhausted("too many connections from this address"),
    };
    error.with_retry_after(Duration::from_secs(1)).into()
}

/// Warns once if an address that forwards for others has half of the connections of one client: it may be a proxy that
/// is not trusted, and then all its clients share the limits of its address.
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
