use super::{
    Mounted, Reject,
    admission::{Admitted, Checked, Kind},
    body::RequestBody,
    headers::merge,
    input_of_query, method_mismatch, of_query,
};
use crate::{
    calls::{CallCore, Origin, Starts, begin_call, run_call},
    context::Context,
    hub::Hub,
    util::panics::catch,
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::{HeaderValue, Method, Response, StatusCode, header};
use realtime_protocol::{
    Code, Error,
    format::Value,
    internal::{check_path, clip, read_timeout},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};

/// Answers a call by GET or POST.
pub(super) async fn call<B, E>(
    hub: &Arc<Hub>,
    context: Context,
    body: &mut RequestBody<'_, B>,
) -> Result<Response<Bytes>, Reject>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let admission = Checked::of(hub, &context, Kind::Call)?.take_place(&context)?;
    let mounted = admission.mounted;
    let Admitted { context, headers, permit: _permit, .. } = admission.let_through(context, false).await?;
    let asked = match *context.method() {
        Method::GET => Asked::by_get(&context).map_err(Reject::from),
        _ => Asked::by_post(hub, &context, body).await,
    };
    let answered = match asked {
        Ok(asked) => run(hub, mounted, context, asked).await.map_err(Reject::from),
        Err(reject) => Err(reject),
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(reject) => return Err(reject.behind(headers)),
    };
    merge(response.headers_mut(), headers);
    Ok(response)
}

/// Some libraries write a byte order mark before any text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A call as the request describes it.
struct Asked {
    path: String,
    input: Value<'static>,
    /// True for a GET: it may only call a query.
    query: bool,
    /// The kind that the caller expects: true for a query.
    expected: Option<bool>,
    timeout: Option<Duration>,
    key: Option<String>,
}

impl Asked {
    fn by_get(context: &Context) -> Result<Self, Error> {
        let path = of_query(context, "path").unwrap_or_default();
        check_path(&path)?;
        let input = input_of_query(context, &["path"]);
        Ok(Self { path, input, query: true, expected: None, timeout: None, key: None })
    }

    async fn by_post<B, E>(hub: &Hub, context: &Context, body: &mut RequestBody<'_, B>) -> Result<Self, Reject>
    where
        B: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        check_content_type(context)?;
        check_content_encoding(context)?;
        let limit = hub.config.message_bytes;
        let read = hub.before(hub.config.handshake_timeout, read_body(body, limit)).await;
        let body = read.unwrap_or_else(|| {
            body.give_up();
            let error = Error::new(Code::DEADLINE_EXCEEDED, "the body took too long").with_retry();
            Err(Reject::new(StatusCode::REQUEST_TIMEOUT, error))
        })?;
        let parse_error = |error: serde_json::Error| {
            let what = error.to_string();
            Error::new(Code::PARSE_ERROR, clip(&what, 160).to_owned())
        };
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&body);
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Error::new(Code::PARSE_ERROR, "the body must be a JSON object").into());
        }
        let posted: Posted<'_> = serde_json::from_slice(body).map_err(parse_error)?;
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
                let what = format!("type: {:?} is neither \"query\" nor \"mutation\"", clip(other, 80));
                return Err(Error::new(Code::PARSE_ERROR, what).into());
            }
        };
        let key = posted.key.or_else(|| context.header("idempotency-key").map(str::to_owned));
        if key.as_ref().is_some_and(|key| !(1..=128).contains(&key.len())) {
            return Err(Error::invalid_argument("an idempotency key has 1 to 128 bytes").into());
        }
        let timeout = posted.timeout.map(read_timeout).transpose()?;
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
    #[serde(borrow, rename = "timeoutMs")]
    timeout: Option<&'a RawValue>,
    #[serde(rename = "idempotencyKey")]
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "path: a string, or an array of strings")]
enum Path {
    Text(String),
    Parts(Vec<String>),
}

/// Requires JSON: a page of another origin can send other types without a preflight request.
fn check_content_type(context: &Context) -> Result<(), Error> {
    let Some(content_type) = context.header("content-type") else { return Ok(()) };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Error::new(Code::UNSUPPORTED_DATA, "the content type must be application/json"))
}

/// Refuses a compressed body: its declared length is not the length of the content.
fn check_content_encoding(context: &Context) -> Result<(), Reject> {
    if context.header_tokens("content-encoding").all(|coding| coding.eq_ignore_ascii_case("identity")) {
        return Ok(());
    }
    let error = Error::new(Code::UNSUPPORTED_DATA, "a body with a Content-Encoding is not supported");
    Err(Reject::from(error).with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

async fn read_body<B, E>(body: &mut RequestBody<'_, B>, limit: usize) -> Result<Bytes, Reject>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let too_large = || {
        let error = Error::invalid_argument(format!("the body is over the limit of {limit} bytes"));
        Reject::new(StatusCode::PAYLOAD_TOO_LARGE, error)
    };
    if body.declared().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut read = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Reject::bad_request("the body ended too early"))?;
        if read.len() + chunk.len() > limit {
            return Err(too_large());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
}

/// Runs a call to its end; dropping the future cancels it.
async fn run(hub: &Arc<Hub>, mounted: &Mounted, context: Context, asked: Asked) -> Result<Response<Bytes>, Error> {
    let path = &asked.path;
    let route = mounted
        .service
        .router
        .find(path)
        .ok_or_else(|| Error::not_found(format!("nothing is named {path:?} here")))?;
    let Starts::Call { query, timeout: allowed, .. } = &*route.starts else {
        let what = format!(
            "{path:?} is a subscription: ask for it by GET with Accept: text/event-stream, or over a WebSocket"
        );
        return Ok(method_mismatch("GET", what).into_response());
    };
    if asked.query && !query {
        return Ok(method_mismatch("POST", format!("{path:?} changes something: call it by POST")).into_response());
    }
    if asked.expected.is_some_and(|expected| expected != *query) {
        let (is, other) = if *query { ("query", "mutation") } else { ("mutation", "query") };
        let allow = if *query { "GET, POST" } else { "POST" };
        return Ok(method_mismatch(allow, format!("{path:?} is a {is}, not a {other}")).into_response());
    }
    let timeout = asked.timeout.map_or(*allowed, |timeout| timeout.min(*allowed));
    let origin = Origin::Request { hub: Arc::clone(hub), context: Arc::new(context) };
    let mut core = CallCore::of_route(origin, route, "");
    core.deadline = hub.clock.past(timeout);
    let running = Running { call: Arc::new(core) };
    let future = begin_call(hub, route, &running.call, asked.input, asked.key.as_deref())?;
    let data = run_call(hub, &running.call, future).await?;
    let mut json = br#"{"ok":true,"data":"#.to_vec();
    // The output's own `Serialize` may panic.
    catch(|| data.encode_json(&mut json)).map_err(|panic| Error::internal(panic.0))??;
    let wrote = running.call.take_wrote();
    if !wrote.is_empty() {
        json.extend_from_slice(br#","wrote":"#);
        serde_json::to_writer(&mut json, &wrote).map_err(Error::internal)?;
    }
    json.push(b'}');
    let mut response = Response::new(Bytes::from(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Marks a call as ended when it returns or is dropped.
struct Running {
    call: Arc<CallCore>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.call.end();
    }
}
