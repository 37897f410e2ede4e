use super::{
    Reject,
    body::RequestBody,
    target::{input_of_query, name_of},
};
use crate::{
    context::Context,
    hub::Hub,
    ledger::{Account, Class},
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::{HeaderValue, StatusCode, header};
use realtime_protocol::{
    Code, Error,
    format::Value,
    internal::{check_path, clip, read_timeout},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// A call or event as a request describes it.
pub(super) enum Asked {
    Call(AskedCall),
    Event(AskedEvent),
}

pub(super) struct AskedCall {
    pub(super) path: String,
    pub(super) input: Value<'static>,
    /// True for a GET: it may only call a query.
    pub(super) query: bool,
    /// The kind that the caller expects: true for a query.
    pub(super) expected: Option<bool>,
    pub(super) timeout: Option<Duration>,
    pub(super) key: Option<String>,
}

pub(super) struct AskedEvent {
    pub(super) name: String,
    pub(super) data: Value<'static>,
}

impl AskedCall {
    pub(super) fn by_get(context: &Context) -> Result<Self, Error> {
        let path = name_of(context).unwrap_or_default().into_owned();
        check_path(&path)?;
        let input = input_of_query(context, None);
        Ok(Self { path, input, query: true, expected: None, timeout: None, key: None })
    }

    /// Reads a call of the name in the path, which is checked: the body is its input.
    fn of_input(context: &Context, path: String, body: &[u8]) -> Result<Self, Error> {
        let input = match body.trim_ascii() {
            [] => "null",
            body => serde_json::from_slice::<&RawValue>(body).map_err(parse_error)?.get(),
        };
        let (input, key) = (Value::Json(input.to_owned().into()), key(context, None)?);
        Ok(Self { path, input, query: false, expected: None, timeout: None, key })
    }
}

/// Reads the body of a POST. The account counts it until the call has ended: its input is made of the body.
pub(super) async fn posted<B, E>(
    hub: &Hub,
    context: &Context,
    body: &mut RequestBody<'_, B>,
) -> Result<(Asked, Account), Reject>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let (body, account) = read_json(hub, context, body).await?;
    let asked = match context.name() {
        Some(name) => Asked::Call(AskedCall::of_input(context, name.into_owned(), &body)?),
        None => read_object::<Posted<'_>>(&body)?.asked(context)?,
    };
    Ok((asked, account))
}

/// Reads a whole body that is said to be JSON, without a byte order mark. The account counts it.
pub(super) async fn read_json<B, E>(
    hub: &Hub,
    context: &Context,
    body: &mut RequestBody<'_, B>,
) -> Result<(Bytes, Account), Reject>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    check_content_type(context)?;
    check_content_encoding(context)?;
    let limit = hub.config.message_bytes;
    let read = hub.before(hub.config.handshake_timeout, read_body(hub, body, limit)).await;
    let (body, account) = read.unwrap_or_else(|| {
        body.give_up();
        let error = Error::new(Code::DEADLINE_EXCEEDED, "the body took too long").with_retry();
        Err(Reject::new(StatusCode::REQUEST_TIMEOUT, error))
    })?;
    let mark = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    Ok((body.slice(mark..), account))
}

/// Parses a body that must be an object: the derived form would take an array as well.
pub(super) fn read_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Error::new(Code::PARSE_ERROR, "the body must be a JSON object"));
    }
    serde_json::from_slice(body).map_err(parse_error)
}

/// Some libraries write a byte order mark before any text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

fn parse_error(error: serde_json::Error) -> Error {
    Error::new(Code::PARSE_ERROR, clip(&error.to_string(), 160).to_owned())
}

/// The body of a call, `{"path":["messages","send"],"type":"mutation","input":{…}}`, or of an event,
/// `{"type":"event","name":"typing","data":{…}}`.
#[derive(Deserialize)]
struct Posted<'a> {
    path: Option<Path>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow, rename = "timeoutMs")]
    timeout: Option<&'a RawValue>,
    #[serde(rename = "idempotencyKey")]
    key: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "path: a string, or an array of strings")]
enum Path {
    Text(String),
    Parts(Vec<String>),
}

impl Posted<'_> {
    fn asked(self, context: &Context) -> Result<Asked, Error> {
        let expected = match self.kind.as_deref() {
            None => None,
            Some("query") => Some(true),
            Some("mutation") => Some(false),
            Some("event") => return self.event().map(Asked::Event),
            Some(other) => {
                let what = format!("type: {:?} is not \"query\", \"mutation\" or \"event\"", clip(other, 80));
                return Err(Error::new(Code::PARSE_ERROR, what));
            }
        };
        let path = match self.path.ok_or_else(|| missing("path"))? {
            Path::Text(path) => path,
            Path::Parts(parts) => parts.join("."),
        };
        check_path(&path)?;
        let (input, key) = (or_null(self.input), key(context, self.key)?);
        let timeout = self.timeout.map(read_timeout).transpose()?;
        Ok(Asked::Call(AskedCall { path, input, query: false, expected, timeout, key }))
    }

    fn event(self) -> Result<AskedEvent, Error> {
        let name = self.name.ok_or_else(|| missing("name"))?;
        if !(1..=64).contains(&name.len()) {
            return Err(Error::new(Code::PARSE_ERROR, "name: the name of an event has 1 to 64 bytes"));
        }
        Ok(AskedEvent { name, data: or_null(self.data) })
    }
}

fn missing(field: &str) -> Error {
    Error::new(Code::PARSE_ERROR, format!("missing field `{field}`"))
}

fn or_null(json: Option<&RawValue>) -> Value<'static> {
    Value::Json(json.map_or("null", RawValue::get).to_owned().into())
}

/// Returns the idempotency key: that of the body, or of the header.
fn key(context: &Context, posted: Option<String>) -> Result<Option<String>, Error> {
    let key = posted.or_else(|| context.header("idempotency-key").map(str::to_owned));
    if key.as_ref().is_some_and(|key| !(1..=128).contains(&key.len())) {
        return Err(Error::invalid_argument("an idempotency key has 1 to 128 bytes"));
    }
    Ok(key)
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

async fn read_body<B, E>(
    hub: &Hub,
    body: &mut RequestBody<'_, B>,
    limit: usize,
) -> Result<(Bytes, Account), Reject>
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
    let mut account = Account::new(&hub.ledger, Class::Inbound);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Reject::bad_request("the body ended too early"))?;
        if read.len() + chunk.len() > limit {
            return Err(too_large());
        }
        read.extend_from_slice(&chunk);
        account.set(read.capacity());
    }
    Ok((read.freeze(), account))
}
