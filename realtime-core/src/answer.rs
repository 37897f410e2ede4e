use crate::{
    context::Context,
    cors,
    endpoint::{CallCore, Origin, Reply, Route, Starts},
    error::{Code, Error},
    events::EventStream,
    hub::{Hub, Mounted},
    item::Position,
    middleware::Accepted,
    names::check_path,
    protocol::{Packet, Value},
    reject::Reject,
    runtime::BoxFuture,
    session::{NoHandler, Opening, Serving, Session, catch, late_error, panicked},
    upgrade::{Upgrade, accept, before, check_origin, find, let_through, permit, refused},
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{future::poll_fn, pin::Pin, sync::Arc, time::Duration};

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

/// A stream of server-sent events: of a subscription, or of the handler's messages.
async fn events(hub: &Arc<Hub>, context: Context) -> Result<Response<EventStream>, Reject> {
    let endpoint = find(hub, &context)?;
    check_open(hub)?;
    check_origin(hub, &context)?;
    let permit = permit(hub, &context)?;
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

/// A call by GET or POST.
async fn call<B, E>(hub: &Arc<Hub>, context: Context, body: &mut B) -> Result<Response<Bytes>, Reject>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let endpoint = find(hub, &context)?;
    check_open(hub)?;
    check_origin(hub, &context)?;
    let permit = permit(hub, &context)?;
    let Accepted { context, headers, .. } = let_through(hub, endpoint, context, false).await?;
    let asked = if context.method() == Method::GET {
        Asked::by_get(&context)?
    } else {
        Asked::by_post(hub, &context, body).await?
    };
    let answered = run(hub, endpoint, context, asked).await;
    drop(permit);
    let mut response = answered.unwrap_or_else(|error| refused(hub, error.into()).into_response());
    response.headers_mut().extend(headers);
    Ok(response)
}

/// What is called.
struct Asked {
    path: String,
    input: Value<'static>,
    /// Only what changes nothing may be called so.
    query: bool,
    /// The caller says what it expects it to be.
    expected: Option<bool>,
    timeout: Option<Duration>,
    key: Option<String>,
}

impl Asked {
    fn by_get(context: &Context) -> Result<Self, Error> {
        let path = of_query(context, "path").unwrap_or_default();
        check_path(&path)?;
        Ok(Self { path, input: input_of_query(context), query: true, expected: None, timeout: None, key: None })
    }

    async fn by_post<B, E>(hub: &Hub, context: &Context, body: &mut B) -> Result<Self, Reject>
    where
        B: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        check_content_type(context)?;
        let limit = hub.config.message_bytes;
        let read = before(hub, hub.config.handshake_timeout, read_body(context, body, limit)).await;
        let body = read.unwrap_or_else(|| {
            let error = Error::new(Code::DEADLINE_EXCEEDED, "the body took too long").retryable();
            Err(Reject::new(StatusCode::REQUEST_TIMEOUT, error))
        })?;
        let parse_error = |error: serde_json::Error| {
            let what = error.to_string();
            Error::new(Code::PARSE_ERROR, crate::text::clip(&what, 160).to_owned())
        };
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Error::new(Code::PARSE_ERROR, "the body must be a JSON object").into());
        }
        let posted: Posted<'_> = serde_json::from_slice(&body).map_err(parse_error)?;
        let path = match posted.path {
            Path::Text(path) => path,
            Path::Parts(parts) => parts.join("."),
        };
        check_path(&path)?;
        let input = posted.input.map_or("null", |input| input.get()).to_owned();
        let expected = match posted.kind.as_deref() {
            None => None,
            Some("query") => Some(true),
            Some("mutation") => Some(false),
            Some(other) => {
                let what =
                    format!("type: {:?} is neither \"query\" nor \"mutation\"", crate::text::clip(other, 80));
                return Err(Error::new(Code::PARSE_ERROR, what).into());
            }
        };
        let key = posted.key.or_else(|| context.header("idempotency-key").map(str::to_owned));
        if key.as_ref().is_some_and(|key| !(1..=128).contains(&key.len())) {
            return Err(Error::invalid_argument("an idempotency key has 1 to 128 bytes").into());
        }
        let timeout = posted.timeout.map(Duration::from_millis);
        Ok(Self { path, input: Value::Json(input.into()), query: false, expected, timeout, key })
    }
}

/// The body of a call: `{"path":["messages","send"],"type":"mutation","input":{…}}`.
#[derive(Deserialize)]
struct Posted<'a> {
    path: Path,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(rename = "timeoutMs")]
    timeout: Option<u64>,
    #[serde(rename = "idempotencyKey")]
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "path: a string, or an array of strings")]
enum Path {
    Text(String),
    Parts(Vec<String>),
}

/// A page of another origin can send anything but JSON without being asked.
fn check_content_type(context: &Context) -> Result<(), Error> {
    let Some(content_type) = context.header("content-type") else { return Ok(()) };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Error::new(Code::UNSUPPORTED_DATA, "the content type must be application/json"))
}

async fn read_body<B, E>(context: &Context, body: &mut B, limit: usize) -> Result<Bytes, Reject>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let too_large = || {
        let error = Error::invalid_argument(format!("the body is over the limit of {limit} bytes"));
        Reject::new(StatusCode::PAYLOAD_TOO_LARGE, error)
    };
    let declared = context.header("content-length").and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut read = BytesMut::new();
    while let Some(chunk) = poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await {
        let chunk = chunk.map_err(|_| Reject::bad_request("the body ended too early"))?;
        if read.len() + chunk.len() > limit {
            return Err(too_large());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
}

/// Runs a call to its end; when the request is dropped, so is the call.
async fn run(
    hub: &Arc<Hub>,
    endpoint: &Mounted,
    context: Context,
    asked: Asked,
) -> Result<Response<Bytes>, Error> {
    let path = &asked.path;
    let route =
        endpoint.router.find(path).ok_or_else(|| Error::not_found(format!("nothing is named {path:?} here")))?;
    let Starts::Call { query, timeout: allowed, .. } = &*route.starts else {
        let what =
            format!("{path:?} is a subscription: ask for it with Accept: text/event-stream, or over a WebSocket");
        return Err(Error::new(Code::METHOD_MISMATCH, what));
    };
    if asked.query && !query {
        return Ok(method_mismatch("POST", format!("{path:?} changes something: call it by POST")).into_response());
    }
    if asked.expected.is_some_and(|expected| expected != *query) {
        let (is, other) = if *query { ("query", "mutation") } else { ("mutation", "query") };
        return Err(Error::new(Code::METHOD_MISMATCH, format!("{path:?} is a {is} and no {other}")));
    }
    let timeout = asked.timeout.map_or(*allowed, |timeout| timeout.min(*allowed));
    let origin = Origin::Request { hub: Arc::clone(hub), context: Arc::new(context) };
    let mut core = CallCore::of_route(origin, route, "");
    core.deadline = hub.clock.past(timeout);
    let running = Running { call: Arc::new(core) };
    let mut future = start(hub, route, &running.call, asked.input, asked.key.as_deref())?;
    let polled = poll_fn(|cx| match catch(|| future.as_mut().poll(cx)) {
        Ok(polled) => polled,
        Err(panic) => Err(panicked(&running.call, panic)).into(),
    });
    let data = before_tick(hub, running.call.deadline, polled).await.unwrap_or_else(|| Err(late_error()))?;
    let mut json = br#"{"ok":true,"data":"#.to_vec();
    data.encode_json(&mut json)?;
    json.push(b'}');
    let mut response = Response::new(Bytes::from(json));
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn start(
    hub: &Arc<Hub>,
    route: &Arc<Route>,
    call: &Arc<CallCore>,
    input: Value<'static>,
    key: Option<&str>,
) -> Result<BoxFuture<'static, Result<Reply, Error>>, Error> {
    let started = catch(|| match key {
        Some(key) => hub.call_once(route, call, input, key),
        None => route.start(call, input, Starts::as_call),
    });
    started.unwrap_or_else(|panic| Err(panicked(call, panic)))
}

async fn before_tick<T>(hub: &Hub, tick: u32, future: impl Future<Output = T>) -> Option<T> {
    let left = crate::hub::TICK * tick.saturating_sub(hub.clock.now());
    before(hub, left, future).await
}

/// Says that a call is over when it is, or when nobody waits for it any more.
struct Running {
    call: Arc<CallCore>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.call.end();
    }
}

fn check_open(hub: &Hub) -> Result<(), Error> {
    if hub.draining.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(Error::unavailable("the server is going away").retry_after(Duration::from_secs(1)));
    }
    Ok(())
}

fn method_mismatch(allow: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) -> Reject {
    let error = Error::new(Code::METHOD_MISMATCH, message);
    Reject::from(error).header(header::ALLOW, HeaderValue::from_static(allow))
}
