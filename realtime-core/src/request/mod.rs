//! Requests and their answers: what is mounted, the checks, the middleware, CORS, an upgrade, a call or an event stream.
//!
//! May import `handles` and the layers beneath it; no typed handler.

mod accept;
mod admission;
mod body;
mod call;
mod cors;
mod event_stream;
mod events;
mod frames;
mod handshake;
mod head;
mod headers;
mod middleware;
mod posted;
mod probe;
mod realtime;
mod registry;
mod reject;
mod renewal;
mod target;
mod upgrade;

pub use event_stream::EventStream;
pub(crate) use middleware::ErasedMiddleware;
pub use middleware::{Accepted, Middleware, Next};
pub use realtime::Route;
pub(crate) use registry::{Mounted, Registry};
pub use reject::{Reject, error_response};
pub use upgrade::Upgrade;

use crate::{context::Context, hub::Hub, seams::BoxFuture};
use accept::{accepts_events, accepts_frames};
use admission::{check_origin, refused};
use body::RequestBody;
use bytes::Bytes;
use call::call;
use events::{come_back, events};
use frames::frames;
use futures_core::Stream;
use headers::{closing, merge};
use http::{HeaderMap, HeaderValue, Method, Response, header};
use probe::probe;
use realtime_protocol::{Code, Error};
use std::{borrow::Cow, sync::Arc};
use target::name_of;

/// The answer to a request.
#[derive(Debug)]
#[must_use = "a request is answered"]
pub enum Answer {
    /// A complete response.
    Response(Response<Bytes>),
    /// A WebSocket, to serve once the framework hands over the connection.
    Upgrade(Upgrade),
    /// A response whose body is a stream.
    Events(Response<EventStream>),
}

/// Answers a request of any kind. Reads only as much of `body` as that kind needs, and discards the rest before the
/// answer. `spawn` runs the session of an event stream.
pub(crate) async fn answer<B, E>(
    hub: &Arc<Hub>,
    context: Context,
    body: &mut B,
    spawn: impl FnOnce(BoxFuture<'static>),
) -> Answer
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let cors = cors::headers(&hub.config, &context);
    let is_http1 = context.is_http1();
    let mut body = RequestBody::new(&context, body);
    let mut answer = decide(hub, context, &cors, &mut body, spawn).await;
    match &mut answer {
        Answer::Response(response) => {
            merge(response.headers_mut(), cors);
            // Caches may store some answers to GET that set no caching policy, a 404 among them.
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().entry(header::CACHE_CONTROL).or_insert(no_store);
            body.discard(hub).await;
            // What is left of the body lies before the next request, so there can be none.
            if is_http1 && body.is_unread() {
                merge(response.headers_mut(), closing());
            }
        }
        Answer::Events(response) => merge(response.headers_mut(), cors),
        Answer::Upgrade(_) => {}
    }
    answer
}

async fn decide<B, E>(
    hub: &Arc<Hub>,
    context: Context,
    cors: &HeaderMap,
    body: &mut RequestBody<'_, B>,
    spawn: impl FnOnce(BoxFuture<'static>),
) -> Answer
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    match Kind::of(hub, &context) {
        Kind::WebSocket => upgrade(hub, context).await.map_or_else(Answer::refusal, Answer::Upgrade),
        Kind::Preflight => {
            if let Err(reject) = head::check(&context) {
                return Answer::refusal(refused(hub, reject));
            }
            // Only for the log: without CORS headers no page can read the response.
            let _ = check_origin(hub, &context);
            Answer::Response(cors::preflight(&hub.config, cors))
        }
        Kind::Events => match events(hub, context, spawn).await {
            Ok(answer) => answer,
            Err(reject) if reject.error().is_retryable() => Answer::Events(come_back(refused(hub, reject))),
            Err(reject) => Answer::refusal(refused(hub, reject)),
        },
        Kind::Frames => match frames(hub, context, body, spawn).await {
            Ok(response) => Answer::Events(response),
            Err(reject) => Answer::refusal(refused(hub, reject)),
        },
        Kind::Call => match call(hub, context, body).await {
            Ok(response) => Answer::Response(response),
            Err(reject) => Answer::refusal(refused(hub, reject)),
        },
        Kind::Probe => {
            let response = probe(hub, context).await;
            Answer::Response(response.unwrap_or_else(|reject| probe::refusal(refused(hub, reject))))
        }
        Kind::None => {
            let check = || Ok(Registry::of(hub).find(&context).map(drop)?);
            let reject = head::check(&context).and_then(|()| check()).err();
            let mismatch = || method_mismatch("GET, HEAD, POST", "this is asked by GET or POST");
            Answer::refusal(refused(hub, reject.unwrap_or_else(mismatch)))
        }
    }
}

/// Decides on a WebSocket request.
pub(crate) async fn upgrade(hub: &Arc<Hub>, context: Context) -> Result<Upgrade, Reject> {
    let may_send_early = context.is_http1() && context.header_has("upgrade", "websocket");
    let decided = upgrade::accept(hub, context).await;
    decided.map_err(|reject| refused(hub, if may_send_early { reject.closing() } else { reject }))
}

impl Answer {
    fn refusal(reject: Reject) -> Self {
        Self::Response(reject.into_response())
    }
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A WebSocket, or nothing known; the checks of the handshake say what is wrong.
    WebSocket,
    Events,
    Frames,
    /// A call, or an event of the client.
    Call,
    /// Would a WebSocket be let in?
    Probe,
    Preflight,
    None,
}

impl Kind {
    fn of(hub: &Hub, context: &Context) -> Self {
        if context.is_extended_connect() || context.header_has("upgrade", "websocket") {
            return Self::WebSocket;
        }
        let find = || Registry::of(hub).find(context);
        let has_names = context.name().is_some() || find().is_ok_and(|mounted| mounted.has_names());
        match *context.method() {
            Method::OPTIONS if hub.config.cors.is_some() => Self::Preflight,
            Method::HEAD => Self::Probe,
            Method::GET if accepts_frames(context) => Self::Frames,
            Method::GET if accepts_events(context) => Self::Events,
            Method::GET if has_names && name_of(context).is_some() => Self::Call,
            Method::POST if has_names && context.name().is_none() && accepts_frames(context) => Self::Frames,
            Method::POST if has_names => Self::Call,
            Method::GET => Self::WebSocket,
            _ if has_names => Self::None,
            _ => Self::WebSocket,
        }
    }
}

fn method_mismatch(allow: &'static str, message: impl Into<Cow<'static, str>>) -> Reject {
    let error = Error::new(Code::METHOD_MISMATCH, message);
    Reject::from(error).with_header(header::ALLOW, HeaderValue::from_static(allow))
}
