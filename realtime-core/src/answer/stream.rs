use super::{admit, input_of_query, of_query};
use crate::{
    context::Context,
    error::Error,
    events::EventStream,
    hub::{Hub, Mounted},
    item::Position,
    middleware::Accepted,
    names::check_path,
    protocol::Packet,
    reject::Reject,
    session::{NoHandler, Opening, Serving, Session},
    upgrade::{before, let_through},
};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use std::{future::poll_fn, sync::Arc};

/// A stream of server-sent events: of a subscription, or of the handler's messages.
pub(super) async fn events(hub: &Arc<Hub>, context: Context) -> Result<Response<EventStream>, Reject> {
    let (endpoint, permit) = admit(hub, &context)?;
    let path = of_query(&context, "path");
    let (endpoint, first) = match path {
        None => (Arc::clone(endpoint), None),
        Some(path) => {
            check_path(&path)?;
            let after = context.header("last-event-id").filter(|id| !id.is_empty()).map(str::parse::<Position>);
            let first = Packet::Subscribe {
                id: STREAM.into(),
                path: path.into(),
                input: input_of_query(&context),
                after: after.transpose()?,
                credit: None,
            };
            (Arc::new(endpoint.without_handler()), Some(Box::new(first)))
        }
    };
    let Accepted { context, typed, headers } = let_through(hub, &endpoint, context, true).await?;
    let protocol = if endpoint.plain { EVENTS_OF_WHOLE } else { EVENTS };
    let opening = Opening {
        hub: Arc::clone(hub),
        endpoint,
        context,
        typed,
        protocol,
        deflate: None,
        welcome: false,
        first,
        permit,
    };
    let mut stream = EventStream::new(|transport| Serving::new(Session::open(opening), transport, Bytes::new()));
    let opened = before(hub, hub.config.handshake_timeout, poll_fn(|cx| stream.poll_opened(cx))).await;
    opened.unwrap_or_else(|| Err(Error::unavailable("the stream took too long to open")))?;
    let mut response = Response::new(stream);
    let own = response.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // Proxies of nginx's kind would hold events back.
    own.insert("x-accel-buffering", HeaderValue::from_static("no"));
    own.extend(headers);
    Ok(response)
}

/// The id of the only subscription on a stream of events; it is not told.
const STREAM: &str = "events";

/// Where the protocols of server-sent events stand in the hub's list.
pub(crate) const EVENTS: u8 = 3;
pub(crate) const EVENTS_OF_WHOLE: u8 = 4;

impl Mounted {
    /// The same, but for messages.
    fn without_handler(&self) -> Self {
        Self {
            id: self.id.clone(),
            plain: false,
            hooks: Arc::new(NoHandler),
            router: Arc::clone(&self.router),
            middleware: self.middleware.clone(),
        }
    }
}
