//! Responses that pages of other origins may read.

use super::{Server, Subject, start_http};
use crate::conformance::{Exchange, HttpRequest};
use http::Method;
use realtime_core::{Config, Cors, Origins};
use serde_json::{Value, json};
use std::time::Duration;

const PAGE: &str = "https://app.example";

const HEADERS: [&str; 4] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
];

pub fn other_origins_are_told_nothing_by_default(subject: &Subject) {
    let (server, ..) = start_http(subject, |config| config.origins = listed());
    let mut response = seven(&server).header("origin", PAGE).answered(200);
    assert_eq!(HEADERS.map(|name| response.header(name)), [const { None }; 4]);
    let mut refused = preflight(&server).fails(405, "METHOD_MISMATCH");
    assert_eq!(HEADERS.map(|name| refused.header(name)), [const { None }; 4]);
}

pub fn a_preflight_of_a_listed_origin_is_answered(subject: &Subject) {
    let (server, notes, _) = start_http(subject, with(|cors| cors.headers = vec!["x-user".into()]));
    let mut response = preflight(&server).answered(204);
    assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(PAGE));
    assert_eq!(response.header("access-control-allow-methods").as_deref(), Some("GET, POST"));
    let names = "content-type, authorization, cache-control, last-event-id, idempotency-key, x-user";
    assert_eq!(response.header("access-control-allow-headers").as_deref(), Some(names));
    assert_eq!(response.header("access-control-max-age").as_deref(), Some("600"));
    assert_eq!(response.header("access-control-allow-credentials"), None);
    assert_eq!(response.header("vary").as_deref(), Some("Origin"));
    notes.nothing_more();
    let (server, ..) = start_http(subject, with(|cors| cors.max_age = Duration::from_secs(5)));
    assert_eq!(preflight(&server).answered(204).header("access-control-max-age").as_deref(), Some("5"));
}

pub fn a_preflight_of_another_origin_is_403(subject: &Subject) {
    let (server, ..) = start_http(subject, with(|_| {}));
    for origin in ["https://evil.example", "null", "http://app.example"] {
        let mut response = preflight(&server).header("origin", origin).answered(403);
        assert_eq!(HEADERS.map(|name| response.header(name)), [const { None }; 4]);
        assert_eq!(response.header("vary").as_deref(), Some("Origin"));
    }
}

pub fn a_listed_origin_may_read_outputs_errors_and_streams(subject: &Subject) {
    let (server, ..) = start_http(subject, with(|_| {}));
    for (request, status) in [
        (seven(&server), 200),
        (server.http("http").json(&json!({ "path": "seven" })), 200),
        (server.http("http").query("path=nothing"), 404),
        (server.http("nobody").query("path=nothing"), 404),
        (seven(&server).method(Method::PUT), 405),
        (seven(&server).header("x-user", "nobody"), 401),
        (server.http("http").json(&json!({ "path": "fail", "input": { "code": "ABORTED" } })), 409),
        (server.http("http").header("accept", "text/event-stream"), 200),
        (server.http("http").path("quiet", &Value::Null).header("accept", "text/event-stream"), 200),
        (server.http("http").path("nothing", &Value::Null).header("accept", "text/event-stream"), 404),
    ] {
        let mut response = request.header("origin", PAGE).answered(status);
        assert_eq!(allowed(&mut response).as_deref(), Some(PAGE));
        assert_eq!(response.header("vary").as_deref(), Some("Origin"));
        assert_eq!(response.header("access-control-allow-credentials"), None);
    }
    let mut refused = seven(&server).header("origin", "https://evil.example").fails(403, "PERMISSION_DENIED");
    assert_eq!(allowed(&mut refused), None);
    // No page, no origin; but a cache must not give the answer to one.
    let mut response = seven(&server).answered(200);
    assert_eq!((allowed(&mut response), response.header("vary").as_deref()), (None, Some("Origin")));
}

pub fn credentials_are_allowed_where_they_are_configured(subject: &Subject) {
    let (server, ..) = start_http(subject, with(|cors| cors.credentials = true));
    for request in [preflight(&server), seven(&server).header("origin", PAGE)] {
        let mut response = request.begin();
        assert_eq!(allowed(&mut response).as_deref(), Some(PAGE));
        assert_eq!(response.header("access-control-allow-credentials").as_deref(), Some("true"));
    }
}

pub fn what_the_application_says_of_caches_stays(subject: &Subject) {
    let (server, ..) = start_http(subject, with(|_| {}));
    let quiet = server.http("http").path("quiet", &Value::Null).header("accept", "text/event-stream");
    for request in [seven(&server), quiet] {
        let mut response = request.header("x-user", "varies").header("origin", PAGE).answered(200);
        assert_eq!(response.headers("vary"), ["Accept-Language", "Origin"]);
        assert_eq!(response.headers("cache-control"), ["max-age=60"]);
    }
    let mut refused = server.http("http").query("path=nothing").header("x-user", "varies").answered(404);
    assert_eq!(refused.headers("vary"), ["Accept-Language", "Origin"]);
}

fn with(change: fn(&mut Cors)) -> impl FnOnce(&mut Config) {
    move |config| {
        let mut cors = Cors::default();
        change(&mut cors);
        config.cors = Some(cors);
        config.origins = listed();
    }
}

fn listed() -> Origins {
    Origins::List(vec![PAGE.into()])
}

fn seven(server: &Server) -> HttpRequest<'_> {
    server.http("http").query("path=seven")
}

fn preflight(server: &Server) -> HttpRequest<'_> {
    let request = server.http("http").method(Method::OPTIONS).header("origin", PAGE);
    request.header("access-control-request-method", "POST")
}

fn allowed(response: &mut Exchange) -> Option<String> {
    response.header("access-control-allow-origin")
}
