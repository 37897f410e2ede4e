//! The checks of a request's head, the same for all kinds of requests: an ambiguous head is refused (RFC 9112,
//! sections 3.2 and 6.1).

use super::Reject;
use crate::context::Context;
use http::{Version, uri::Authority};
use std::borrow::Cow;

pub(crate) fn check(context: &Context) -> Result<(), Reject> {
    for name in SINGLE {
        if context.header_lines(name).nth(1).is_some() {
            return Err(unclear(context, format!("the request has more than one {name}")));
        }
    }
    check_host(context)?;
    check_transfer_encoding(context)
}

/// If one of these occurs twice, a proxy and this server may use different values.
const SINGLE: [&str; 8] = [
    "host",
    "origin",
    "content-type",
    "authorization",
    "sec-websocket-key",
    "sec-websocket-version",
    "idempotency-key",
    "last-event-id",
];

fn check_host(context: &Context) -> Result<(), Reject> {
    match context.header_lines("host").next() {
        None if context.version() == Version::HTTP_11 => Err(unclear(context, "the request has no Host")),
        Some(host) if !is_host(host) => Err(unclear(context, "the request's Host is not a valid host")),
        _ => Ok(()),
    }
}

/// An empty host is valid: it stands for no authority.
fn is_host(host: &[u8]) -> bool {
    host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
}

/// Accepts a single "chunked" only: with another coding last, or with it twice, parties may disagree on where the body
/// ends.
fn check_transfer_encoding(context: &Context) -> Result<(), Reject> {
    if context.header_lines("transfer-encoding").next().is_none() {
        return Ok(());
    }
    let mut codings = context.header_tokens("transfer-encoding");
    let chunked = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    if chunked && codings.next().is_none() {
        return Ok(());
    }
    Err(unclear(context, "the only accepted Transfer-Encoding is \"chunked\", given once"))
}

/// Refuses an ambiguous head, and closes the connection: it is unclear where the next request begins.
fn unclear(context: &Context, message: impl Into<Cow<'static, str>>) -> Reject {
    let reject = Reject::bad_request(message);
    if context.is_http1() { reject.closing() } else { reject }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(version: Version, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = http::Request::get("/__realtime/lab").version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        check(&Context::from_parts(parts, None, false)).err().map(|reject| reject.error().to_string())
    }

    #[test]
    fn a_host_is_needed_by_http_1_1_alone() {
        assert!(message(Version::HTTP_11, &[]).is_some());
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(message(version, &[]), None);
        }
    }

    #[test]
    fn a_host_names_a_host() {
        let host = |host| message(Version::HTTP_11, &[("host", host)]);
        for fine in ["", "localhost", "a.example:8443", "[::1]:80", "my_service", "127.0.0.1:1"] {
            assert_eq!(host(fine), None, "{fine}");
        }
        for wrong in ["a, b", "a b", "user@a", "a/b", "[::1"] {
            assert!(host(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn chunks_are_the_only_coding() {
        let coded = |coding| message(Version::HTTP_11, &[("host", "a"), ("transfer-encoding", coding)]);
        assert_eq!(coded("Chunked"), None);
        for wrong in ["chunked, chunked", "gzip, chunked", "chunked, identity", "identity", ""] {
            assert!(coded(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn an_absolute_target_does_not_make_two_hosts_one() {
        let request = http::Request::get("http://a/lab").header("host", "b");
        let check = |request: http::request::Builder| {
            check(&Context::from_parts(request.body(()).unwrap().into_parts().0, None, false)).is_ok()
        };
        assert!(check(request));
        assert!(!check(http::Request::get("http://a/lab").header("host", "a").header("host", "b")));
    }
}
