//! Requests by HEAD: would a WebSocket be let in?

use super::{Server, Subject, start_http, start_with};
use crate::conformance::{Exchange, HttpRequest};
use http::Method;
use realtime_core::{Config, Cors, Origins, PrivatePeers, Rate};
use serde_json::{Value, json};
use std::time::Duration;

const PAGE: &str = "https://app.example";

pub fn who_would_be_let_in_is_told_so(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    for id in ["http", "text"] {
        let mut response = head(&server, id).answered(204);
        assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(response.header("x-lab").as_deref(), Some("seen"));
        assert_eq!(response.header("content-length"), None, "RFC 9110, section 8.6");
        ends(&mut response);
    }
    head(&server, "http").header("sec-websocket-protocol", "realtime.v1.json, bearer.x").answered(204);
    head(&server, "http").query("open=fail&number=7").answered(204);
    notes.nothing_more();
    assert_eq!(server.realtime().stats().refused, 0);
}

pub fn a_probe_is_refused_as_an_upgrade_is(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    for (request, status) in [
        (head(&server, "nothing"), 404),
        (head(&server, "http").header("origin", "https://evil.example"), 403),
        (head(&server, "http").header("sec-websocket-protocol", "realtime.v9.json"), 400),
        (head(&server, "http").query("number=x"), 400),
        (head(&server, "http").header("x-user", "panics"), 500),
        (head(&server, "http").without("host"), 400),
    ] {
        ends(&mut request.answered(status));
    }
    let mut refused = head(&server, "http").header("x-user", "nobody").answered(401);
    assert_eq!(refused.header("www-authenticate").as_deref(), Some("Bearer"));
    ends(&mut refused);
    let mut stuck = head(&server, "http").header("x-user", "stuck").begin();
    super::http::late(&server, &mut stuck);
    stuck.expect_status(503);
}

pub fn a_probe_opens_nothing_and_takes_no_place(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |config| config.connections = 1);
    for _ in 0..3 {
        head(&server, "http").answered(204);
    }
    notes.nothing_more();
    assert_eq!((server.realtime().connections(), server.realtime().stats().accepted), (0, 0));
    let _client = server.connect("http");
    head(&server, "http").answered(503);
    if !subject.capabilities().peer_address {
        return;
    }
    let (server, ..) = start_http(subject, |config| {
        config.connections_per_peer = 1;
        config.private_peers = PrivatePeers::One;
    });
    head(&server, "http").answered(204);
    let _client = server.connect("http");
    head(&server, "http").answered(429);
}

pub fn a_probe_counts_as_a_request(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| {
        config.rates.requests_per_peer = Some(Rate::new(2, Duration::from_secs(10)));
    });
    head(&server, "lab").answered(204);
    head(&server, "lab").answered(204);
    let mut refused = head(&server, "lab").answered(429);
    assert!(refused.header("retry-after").is_some());
    server.advance(Duration::from_secs(10));
    head(&server, "lab").answered(204);
}

pub fn a_probe_is_told_when_to_come_back(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut refused = head(&server, "http").header("x-user", "early").answered(429);
    assert_eq!(refused.header("retry-after").as_deref(), Some("9"));
    // Not a stream that says so, as for who wants one.
    let early = head(&server, "http").header("accept", "text/event-stream").header("x-user", "early");
    assert_eq!(early.answered(429).header("retry-after").as_deref(), Some("9"));
    crate::block_on(server.realtime().drain(Duration::ZERO));
    assert_eq!(head(&server, "http").answered(503).header("retry-after").as_deref(), Some("1"));
}

pub fn a_page_of_another_origin_reads_when_to_come_back(subject: &Subject) {
    let (server, ..) = start_http(subject, |config: &mut Config| {
        config.cors = Some(Cors::default());
        config.origins = Origins::List(vec![PAGE.into()]);
    });
    for (request, status) in [
        (head(&server, "http"), 204),
        (head(&server, "http").header("x-user", "early"), 429),
        (server.http("http").query("path=seven").header("x-user", "early"), 429),
    ] {
        let mut response = request.header("origin", PAGE).answered(status);
        assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(PAGE));
        assert_eq!(response.header("access-control-expose-headers").as_deref(), Some("retry-after"));
    }
    let mut refused = head(&server, "http").header("origin", "https://evil.example").answered(403);
    assert_eq!(refused.header("access-control-expose-headers"), None);
}

pub fn a_probe_calls_nothing_and_opens_no_stream(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    for request in [
        head(&server, "http").path("count", &json!({})),
        head(&server, "http").path("quiet", &Value::Null).header("accept", "text/event-stream"),
        head(&server, "http").header("accept", "text/event-stream"),
    ] {
        ends(&mut request.answered(204));
    }
    ends(&mut head(&server, "http").path("nothing", &Value::Null).answered(404));
    notes.nothing_more();
}

fn head<'a>(server: &'a Server, id: &str) -> HttpRequest<'a> {
    // It ends the connection, so that a body would be seen.
    server.http(id).method(Method::HEAD).header("connection", "close")
}

/// No body follows, whatever its length is said to be.
#[track_caller]
fn ends(response: &mut Exchange) {
    assert_eq!(response.rest(), b"");
}
