use super::Reject;
use crate::context::Context;
use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use realtime_protocol::{Code, Error, accept_key};

/// Checks that a request may become a WebSocket: over HTTP/1.1 by upgrade (RFC 6455, section 4.2.1), over HTTP/2 by
/// extended CONNECT (RFC 8441, section 5).
pub(crate) fn check(context: &Context) -> Result<(), Reject> {
    if context.is_extended_connect() {
        return check_version(context);
    }
    if context.version() < Version::HTTP_11 {
        return Err(Reject::bad_request("a WebSocket needs HTTP/1.1 or HTTP/2"));
    }
    if context.method() != Method::GET {
        let error = Error::new(
            Code::METHOD_MISMATCH,
            "a WebSocket is opened by GET, a stream of events by GET with Accept: text/event-stream",
        );
        return Err(Reject::from(error).with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD")));
    }
    if !context.header_has("upgrade", "websocket") || !context.header_has("connection", "upgrade") {
        return Err(upgrade_required("this is a WebSocket endpoint, and the request has no Upgrade to websocket"));
    }
    // Adapters differ in whether they treat a body as the first frames.
    if has_body(context) {
        return Err(Reject::bad_request("a request that opens a WebSocket must not have a body"));
    }
    check_version(context)?;
    let key = context.header("sec-websocket-key").unwrap_or_default();
    if is_key(key) {
        return Ok(());
    }
    Err(Reject::bad_request("Sec-WebSocket-Key must be 16 bytes in base64"))
}

/// Returns the response that accepts the WebSocket: 101, or 200 over HTTP/2.
pub(crate) fn response(
    context: &Context,
    subprotocol: Option<&'static str>,
    extension: Option<HeaderValue>,
) -> Response<()> {
    let mut response = Response::new(());
    if context.is_extended_connect() {
        *response.status_mut() = StatusCode::OK;
    } else {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    // Over HTTP/2 a proxy may send the key for a client of HTTP/1.1, which expects the answer to it.
    let key = context.header("sec-websocket-key");
    if let Some(accept) = key.and_then(|key| HeaderValue::try_from(accept_key(key)).ok()) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = subprotocol {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    if let Some(extension) = extension {
        response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, extension);
    }
    response
}

/// Returns true if this is a client's key: 16 bytes in base64.
fn is_key(key: &str) -> bool {
    KEY.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// Ignores the bits behind the last byte: in the example of RFC 6455, section 4.1, they are not 0.
const KEY: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

fn has_body(context: &Context) -> bool {
    context.header_lines("transfer-encoding").next().is_some()
        || context.header_lines("content-length").any(|length| length.trim_ascii() != b"0")
}

fn check_version(context: &Context) -> Result<(), Reject> {
    match context.header("sec-websocket-version") {
        Some("13") => Ok(()),
        _ => {
            let error = upgrade_required("Sec-WebSocket-Version must be 13");
            Err(error
                .with_header(HeaderName::from_static("sec-websocket-version"), HeaderValue::from_static("13")))
        }
    }
}

/// A 426 with the header that RFC 9110, section 15.5.22, demands.
fn upgrade_required(message: &'static str) -> Reject {
    Reject::new(StatusCode::UPGRADE_REQUIRED, Error::failed_precondition(message))
        .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
}
