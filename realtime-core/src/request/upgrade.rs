use super::{
    admission::{Checked, Kind},
    handshake,
    headers::merge,
    registry::{Mounted, Registry},
    reject::Reject,
};
use crate::{
    context::{Context, is_bearer},
    hub::{ConnectionPermit, Hub},
    protocol::ProtocolId,
    seams::Transport,
    session::{NewSession, Serving, WebSocket},
};
use bytes::Bytes;
use http::Response;
use std::{fmt, sync::Arc};

/// A request that may become a connection: the response to send, and the session to run once the framework has handed
/// over the connection.
///
/// Dropping it releases the connection's permit; no method of the handler has been called.
#[must_use = "a connection is run by `serve`"]
pub struct Upgrade {
    session: NewSession,
    response: Option<Response<()>>,
}

impl Upgrade {
    /// Returns the response that accepts the WebSocket: 101, or 200 over HTTP/2. Call it once.
    pub fn response(&mut self) -> Response<()> {
        self.response.take().unwrap_or_default()
    }

    /// Returns the permit that counts the connection against its limits. The session releases its permit at its end. An
    /// adapter whose socket may outlive the session, because the framework still holds bytes to send, keeps a clone as
    /// long as the socket.
    pub fn permit(&self) -> ConnectionPermit {
        self.session.client.permit.clone()
    }

    /// Waits for the framework to hand over the connection. Returns `None` after
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout).
    pub async fn timeout<T>(&self, upgrade: impl Future<Output = T>) -> Option<T> {
        let timeout = self.session.client.hub.config.handshake_timeout;
        let upgraded = self.session.client.hub.before(timeout, upgrade).await;
        if upgraded.is_none() {
            tracing::debug!(endpoint = %self.session.client.endpoint, "the framework handed over no connection in time");
        }
        upgraded
    }

    /// Runs the session on its transport, from `on_open` to `on_close`; spawn the future. `early` holds the bytes
    /// that the client sent right behind its request.
    ///
    /// The future is `Send` exactly when the transport is. If it is dropped, the connection is cut, and `on_close`
    /// runs on the runtime passed to [`Realtime::upgrade`](crate::Realtime::upgrade).
    pub fn serve<T: Transport>(self, transport: T, early: Bytes) -> impl Future<Output = ()> + use<T> {
        Serving::new(self.session, WebSocket(transport), early)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("endpoint", &self.session.client.endpoint).finish_non_exhaustive()
    }
}

/// Decides on a WebSocket request.
pub(super) async fn accept(hub: &Arc<Hub>, context: Context) -> Result<Upgrade, Reject> {
    let checked = Checked::of(hub, &context, Kind::WebSocket)?;
    let mounted = Arc::clone(checked.mounted);
    let (protocol, subprotocol) = choose_protocol(hub, &mounted, &context)?;
    let admission = checked.take_place(&context)?;
    let offers = context.header_lines("sec-websocket-extensions");
    let (deflate, extension) = hub.protocols.negotiate(offers).unzip();
    let mut response = handshake::response(&context, subprotocol, extension);

    let admitted = admission.let_through(context, Some(protocol)).await?;
    // A client that chose no protocol of this library knows no frame that asks for a token.
    let (mut client, headers) =
        admitted.into_client(hub, hub.protocols.messages(protocol, deflate), subprotocol.is_some());
    client.context.forget_handshake();
    merge(response.headers_mut(), headers);
    let service = Arc::clone(&mounted.service);
    let welcomes = subprotocol.is_some() || hub.protocols.always_welcomes(protocol);
    let welcome = welcomes.then(|| Registry::of(hub).welcome(&mounted));
    let session = NewSession { client, service, welcome, subscriptions: Vec::new() };
    Ok(Upgrade { session, response: Some(response) })
}

/// Chooses the protocol of a connection; returns its name too if the client asked for it.
pub(super) fn choose_protocol(
    hub: &Hub,
    mounted: &Mounted,
    context: &Context,
) -> Result<(ProtocolId, Option<&'static str>), Reject> {
    let mut native = false;
    // A token is no protocol, whatever protocols there are.
    let offers = context.header_tokens("sec-websocket-protocol").filter(|offered| !is_bearer(offered));
    for offered in offers {
        native |= offered.starts_with("realtime.");
        if let Some(id) = hub.protocols.find(offered, mounted.protocol) {
            return Ok((id, hub.protocols.get(id).subprotocol()));
        }
    }
    if native {
        return Err(Reject::bad_request("none of the offered realtime subprotocols is supported"));
    }
    Ok((hub.protocols.of(mounted.protocol), None))
}
