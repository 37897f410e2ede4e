//! Middleware at work: once for each request, and again for a client whose credentials end.

use super::{
    middleware::{Accepted, Next, run_caught},
    registry::{Mounted, Registry},
    reject::Reject,
};
use crate::{
    context::Context,
    hub::{Client, Hub, Renewal},
    protocol::ProtocolId,
    seams::BoxFuture,
    session::Service,
};
use http::Extensions;
use realtime_protocol::{Code, Error, Result};
use std::{sync::Arc, time::Duration};

/// Runs all middleware of a mount. `opens` is the protocol of the session that follows, if one does: its input is then
/// parsed.
pub(super) async fn run_all(
    hub: &Hub,
    mounted: &Mounted,
    service: Arc<Service>,
    context: Context,
    opens: Option<ProtocolId>,
) -> Result<Accepted, Reject> {
    let middleware: Vec<_> = Registry::of(hub).middleware.iter().chain(&mounted.middleware).cloned().collect();
    let opens = opens.map(|protocol| hub.protocols.share(protocol));
    let next = Next { rest: middleware.into_iter(), service, opens };
    let accepted = hub.before(hub.config.handshake_timeout, run_caught(next, context)).await;
    let accepted = accepted.unwrap_or_else(|| Err(Error::unavailable("the handshake took too long").into()))?;
    match accepted.context.lifetime() {
        Some(Duration::ZERO) => Err(Error::new(Code::UNAUTHENTICATED, "the credentials have ended").into()),
        _ => Ok(accepted),
    }
}

/// The parts with which the middleware of a client is run again.
pub(super) struct Again {
    pub(super) mounted: Arc<Mounted>,
    /// The variables that the request had before any middleware.
    pub(super) variables: Extensions,
}

impl Renewal for Again {
    fn renew(&self, client: &Client, token: &str) -> BoxFuture<'static, Result<Option<Duration>>> {
        let Some(context) = client.context.with_token(token, self.variables.clone()) else {
            return Box::pin(async { Err(Error::invalid_argument("the token is none that a header may hold")) });
        };
        let (hub, mounted) = (Arc::clone(&client.hub), Arc::clone(&self.mounted));
        let principal = client.context.principal().cloned();
        Box::pin(async move {
            let service = Arc::clone(&mounted.service);
            let accepted = run_all(&hub, &mounted, service, context, None).await;
            let context = accepted.map_err(|reject| reject.into_parts().1)?.context;
            if context.principal() != principal.as_ref() {
                return Err(Error::permission_denied("the token is that of another principal"));
            }
            Ok(context.lifetime())
        })
    }
}
