//! The opening handshake of a WebSocket (RFC 6455, section 4).

use crate::{
    connect::{BoxIo, Failure, Socket},
    state::Cause,
    url::Url,
    within::within,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use realtime_protocol::{Error, accept_key, client::error_in};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{Role, WebSocketConfig},
};

/// Requests a WebSocket with this subprotocol.
pub(crate) async fn upgrade(
    mut io: BoxIo,
    url: &Url,
    subprotocol: &'static str,
    headers: &HeaderMap,
) -> Result<Socket, Failure> {
    let key = STANDARD.encode(fastrand::u128(..).to_ne_bytes());
    io.write_all(&request(url, subprotocol, &key, headers)).await.map_err(lost)?;
    io.flush().await.map_err(lost)?;
    let mut received = Vec::new();
    let response = read_response(&mut io, &mut received).await?;
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        let rest = read_body(&mut io, &mut received, &response);
        // Even part of the body is enough.
        let _ = within(BODY_TIME, rest).await;
        return Err(refusal(&response, &received));
    }
    check(&response, subprotocol, &key)?;
    let settings = WebSocketConfig::default().read_buffer_size(READ_BYTES).write_buffer_size(WRITE_BYTES);
    Ok(WebSocketStream::from_partially_read(io, received, Role::Client, Some(settings)).await)
}

fn request(url: &Url, subprotocol: &str, key: &str, headers: &HeaderMap) -> Vec<u8> {
    let Url { path, authority, .. } = url;
    let mut request = format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {authority}\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n"
    )
    .into_bytes();
    for (name, value) in headers {
        request.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    request
}

#[derive(Debug)]
struct Response {
    is_http_1_1: bool,
    status: StatusCode,
    headers: HeaderMap,
}

/// Reads the head of the response. Bytes after it stay in `received`.
async fn read_response(io: &mut BoxIo, received: &mut Vec<u8>) -> Result<Response, Failure> {
    loop {
        if let Some((response, len)) = parse(received)? {
            received.drain(..len);
            let is_interim = response.status.is_informational();
            if !is_interim || response.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(response);
            }
            continue;
        }
        if received.len() >= HEAD_BYTES {
            return Err(no_http(&"its head is too long"));
        }
        if io.read_buf(received).await.map_err(lost)? == 0 {
            return Err(Cause::Lost("it ended before the response".to_owned()).into());
        }
    }
}

/// Parses the first head in `bytes` and returns it with its length, or `None` if it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(Response, usize)>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = head.parse(bytes).map_err(|error| no_http(&error))? else {
        return Ok(None);
    };
    let status =
        head.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| no_http(&"its status"))?;
    let mut headers = HeaderMap::new();
    for header in head.headers.iter() {
        let name = HeaderName::try_from(header.name).map_err(|error| no_http(&error))?;
        let value = HeaderValue::try_from(header.value).map_err(|error| no_http(&error))?;
        headers.append(name, value);
    }
    Ok(Some((Response { is_http_1_1: head.version == Some(1), status, headers }, len)))
}

/// Reads the body of a refusal, up to a limit.
async fn read_body(io: &mut BoxIo, received: &mut Vec<u8>, response: &Response) {
    let length = response.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(usize::MAX).min(BODY_BYTES);
    while received.len() < length {
        if !matches!(io.read_buf(received).await, Ok(1..)) {
            return;
        }
    }
}

/// Checks that the response opens a WebSocket as requested.
fn check(response: &Response, subprotocol: &str, key: &str) -> Result<(), Failure> {
    let headers = &response.headers;
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::trim);
    if !response.is_http_1_1 {
        return Err(no_websocket("it is HTTP/1.0"));
    }
    if !has_token(headers, header::UPGRADE, "websocket") {
        return Err(no_websocket("Upgrade does not contain websocket"));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(no_websocket("Connection does not contain upgrade"));
    }
    if text(header::SEC_WEBSOCKET_ACCEPT) != Some(&*accept_key(key)) {
        return Err(no_websocket("Sec-WebSocket-Accept does not match the key"));
    }
    if headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().any(|value| !value.is_empty()) {
        return Err(no_websocket("it selects an extension that was not offered"));
    }
    match text(header::SEC_WEBSOCKET_PROTOCOL) {
        Some(chosen) if chosen == subprotocol => Ok(()),
        chosen => {
            let chosen = chosen.unwrap_or("none");
            Err(Cause::Invalid(format!("the server does not speak {subprotocol}: it chose {chosen}")).into())
        }
    }
}

/// Returns true if a header of this name, each a list, contains the token.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

fn refusal(response: &Response, body: &[u8]) -> Failure {
    let error = error_in(body);
    let told = error.as_ref().and_then(Error::retry_after);
    let header = || {
        let seconds = response.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    };
    let retry_after = told.or_else(header).map(|after| after.min(LONGEST_RETRY_AFTER));
    let message = error.map(|error| error.to_string()).unwrap_or_default();
    Failure { cause: Cause::Refused { status: response.status.as_u16(), message }, retry_after }
}

fn lost(error: std::io::Error) -> Failure {
    Cause::Lost(error.to_string()).into()
}

fn no_http(wrong: &dyn std::fmt::Display) -> Failure {
    Cause::Lost(format!("the response is not HTTP: {wrong}")).into()
}

fn no_websocket(wrong: &str) -> Failure {
    Cause::Lost(format!("the response does not open a WebSocket: {wrong}")).into()
}

/// Far more than a response's head needs.
const HEAD_BYTES: usize = 32 << 10;

/// Includes headers that proxies add.
const MAX_HEADERS: usize = 128;

/// Enough for an error with its details.
const BODY_BYTES: usize = 16 << 10;

/// The time limit for the body of a refusal, after its head.
const BODY_TIME: Duration = Duration::from_secs(1);

/// A longer delay is a mistake of the server.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The read buffer, which is allocated when the connection starts.
const READ_BYTES: usize = 8 << 10;

/// Enough for frames to share a write; frames beyond it wait in the queue, from which they can still be removed.
const WRITE_BYTES: usize = 8 << 10;
