mod call;
mod stream;

pub(crate) use stream::{EVENTS, EVENTS_OF_WHOLE};

use crate::{
    context::Context,
    cors,
    error::{Code, Error},
    events::EventStream,
    hub::{Hub, Mounted, Permit},
    protocol::Value,
    reject::Reject,
    upgrade::{Upgrade, accept, check_open, check_origin, find, permit, refused},
};
use bytes::Bytes;
use call::call;
use futures_core::Stream;
use http::{HeaderValue, Method, Response, header};
use std::{borrow::Cow, sync::Arc};
use stream::events;

/// What a request is answered with.
#[derive(Debug)]
#[must_use = "a request is answered"]
pub enum Answer {
    /// A response that is whole.
    Response(Response<Bytes>),
    /// A WebSocket, once the framework hands over the connection.
    Upgrade(Upgrade),
    /// A response whose body lasts.
    Events(Response<EventStream>),
}

/// Answers a request of any kind. Of `body` only as much is read as the kind has use for.
pub(crate) async fn answer<B, E>(hub: &Arc<Hub>, context: Context, body: &mut B) -> Answer
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let headers = cors::headers(&hub.config, &context);
    let answered = match Kind::of(hub, &context) {
        Kind::WebSocket => match accept(hub, context).await {
            Ok(upgrade) => return Answer::Upgrade(upgrade),
            Err(reject) => Err(reject),
        },
        Kind::Preflight => Ok(Answer::Response(cors::preflight(&hub.config, &headers))),
        Kind::Events => events(hub, context).await.map_err(|reject| refused(hub, reject)).map(Answer::Events),
        Kind::Call => call(hub, context, body).await.map_err(|reject| refused(hub, reject)).map(Answer::Response),
        Kind::None => Err(refused(hub, method_mismatch("GET, POST", "this is asked by GET or POST"))),
    };
    let mut answer = answered.unwrap_or_else(|reject| Answer::Response(reject.into_response()));
    match &mut answer {
        Answer::Response(response) => response.headers_mut().extend(headers),
        Answer::Events(response) => response.headers_mut().extend(headers),
        Answer::Upgrade(_) => {}
    }
    answer
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A WebSocket, or nothing that is known; its own checks say what is wrong.
    WebSocket,
    Events,
    Call,
    Preflight,
    None,
}

impl Kind {
    fn of(hub: &Hub, context: &Context) -> Self {
        if context.is_extended_connect() || context.header_has("upgrade", "websocket") {
            return Self::WebSocket;
        }
        let endpoint = hub.registry.mounted.get(context.endpoint());
        let has_names = endpoint.is_some_and(|endpoint| !endpoint.router.is_empty());
        match *context.method() {
            Method::OPTIONS if hub.config.cors.is_some() => Self::Preflight,
            Method::GET if accepts_events(context) => Self::Events,
            Method::GET if has_names && of_query(context, "path").is_some() => Self::Call,
            Method::POST if has_names => Self::Call,
            Method::GET => Self::WebSocket,
            _ if has_names => Self::None,
            _ => Self::WebSocket,
        }
    }
}

fn accepts_events(context: &Context) -> bool {
    let media_type = |accepted: &str| accepted.split(';').next().map(str::trim).unwrap_or_default().to_owned();
    context.header_tokens("accept").any(|accepted| media_type(accepted).eq_ignore_ascii_case("text/event-stream"))
}

fn of_query(context: &Context, name: &str) -> Option<String> {
    let query = context.query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The input of a call in the query: `input` with JSON, or else the other pairs.
fn input_of_query(context: &Context) -> Value<'static> {
    if let Some(json) = of_query(context, "input") {
        return Value::Json(json.into());
    }
    let query = context.query().unwrap_or_default().as_bytes();
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.extend_pairs(form_urlencoded::parse(query).filter(|(key, _)| key != "path"));
    Value::Pairs(pairs.finish())
}

/// What is asked of requests that are no WebSockets, before the middleware is.
fn admit<'a>(hub: &'a Hub, context: &Context) -> Result<(&'a Arc<Mounted>, Permit), Reject> {
    let endpoint = find(hub, context)?;
    check_open(hub)?;
    check_origin(hub, context)?;
    Ok((endpoint, permit(hub, context)?))
}

fn method_mismatch(allow: &'static str, message: impl Into<Cow<'static, str>>) -> Reject {
    let error = Error::new(Code::METHOD_MISMATCH, message);
    Reject::from(error).header(header::ALLOW, HeaderValue::from_static(allow))
}
