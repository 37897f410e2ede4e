//! Calls by HTTP.

use super::{Server, Subject, start_http};
use crate::conformance::{Exchange, HttpRequest, client::PATIENCE};
use http::Method;
use realtime_core::{Code, PrivatePeers};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub fn a_query_is_called_by_get(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let input = json!({ "name": "Ann & co", "number": 7 });
    let mut response = server.http("http").path("echo", &input).answered(200);
    assert_eq!(response.json(), json!({ "ok": true, "data": input }));
    assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
    server.http("http").query("path=echo&name=Ann+%26+co&number=7").gives(&input);
    server.http("http").query("path=echo").gives(&json!({ "name": "", "number": 0 }));
    server.http("http").query("path=seven").gives(&json!(7));
}

pub fn a_procedure_is_called_by_post(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let input = json!({ "name": "é\u{1f600}", "number": 7 });
    for path in [json!("echo"), json!(["echo"])] {
        post(&server, &json!({ "path": path, "type": "query", "input": input })).gives(&input);
    }
    post(&server, &json!({ "path": "seven" })).gives(&json!(7));
    let said = json!({ "roomId": "a", "username": "ann", "content": "hi" });
    let expected = json!({ "id": "m1", "username": "ann", "content": "hi", "timestamp": 1_700_000_000 });
    post(&server, &json!({ "path": ["messages", "send"], "type": "mutation", "input": said })).gives(&expected);
    // Neither a type nor a parameter of it is needed.
    server.http("http").body(r#"{"path":"seven"}"#).gives(&json!(7));
    let request = server.http("http").header("content-type", "Application/JSON; charset=utf-8");
    request.body(r#" {"path":"seven","unknown":[]}"#).gives(&json!(7));
    server.http("http").chunks(&[r#"{"path":"#, r#""sev"#, r#"en"}"#]).gives(&json!(7));
}

/// The rules for null and for whole floats are those of a WebSocket.
pub fn a_call_may_have_null_for_what_is_left_out_and_whole_floats(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let absent =
        json!({ "path": "seven", "type": null, "input": null, "timeoutMs": null, "idempotencyKey": null });
    post(&server, &absent).gives(&json!(7));
    let input = json!({ "name": "Ann", "number": 7.0 });
    let expected = json!({ "name": "Ann", "number": 7 });
    post(&server, &json!({ "path": "echo", "input": input, "timeoutMs": 5000.0 })).gives(&expected);
    server.http("http").path("echo", &input).gives(&expected);
    for timeout in [json!(0.5), json!(-1.0), json!(-0.0), json!(9_007_199_254_740_992.0), json!("soon")] {
        let body =
            post(&server, &json!({ "path": "seven", "timeoutMs": timeout })).fails(400, "PARSE_ERROR").json();
        let message = body["error"]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("the field \"timeoutMs\" must be an integer"), "{body}");
    }
}

pub fn a_wrong_input_names_its_field(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let wrong = json!({ "number": -1 });
    for request in [
        server.http("http").path("echo", &wrong),
        server.http("http").query("path=echo&number=x"),
        post(&server, &json!({ "path": "echo", "input": wrong })),
    ] {
        let body = request.fails(400, "INVALID_ARGUMENT").json();
        assert!(body["error"]["message"].as_str().is_some_and(|message| message.contains("number")), "{body}");
    }
    server.http("http").query("path=echo&input={").fails(400, "INVALID_ARGUMENT");
}

pub fn an_unknown_name_is_404(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    server.http("http").query("path=nothing").fails(404, "NOT_FOUND");
    post(&server, &json!({ "path": "nothing" })).fails(404, "NOT_FOUND");
    server.http("nobody").query("path=echo").fails(404, "NOT_FOUND");
    server.http("nobody").json(&json!({ "path": "echo" })).fails(404, "NOT_FOUND");
    server.http("nobody").header("accept", "text/event-stream").fails(404, "NOT_FOUND");
    for path in [json!(""), json!("a..b"), json!([]), json!("x".repeat(257))] {
        post(&server, &json!({ "path": path })).fails(400, "INVALID_ARGUMENT");
    }
}

pub fn a_mutation_by_get_is_405_and_told_post(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let mut response = server.http("http").query("path=count").fails(405, "METHOD_MISMATCH");
    assert_eq!(response.header("allow").as_deref(), Some("POST"));
    for (call, allow) in [
        (json!({ "path": "count", "type": "query" }), "POST"),
        (json!({ "path": "seven", "type": "mutation" }), "GET, POST"),
    ] {
        let mut response = post(&server, &call).fails(405, "METHOD_MISMATCH");
        assert_eq!(response.header("allow").as_deref(), Some(allow));
    }
    notes.nothing_more();
}

pub fn a_subscription_is_no_call(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let call = json!({ "path": "ticks", "input": 1 });
    for request in [
        server.http("http").query("path=ticks&input=1"),
        post(&server, &call),
        post(&server, &call).header("accept", "text/event-stream"),
    ] {
        let mut response = request.fails(405, "METHOD_MISMATCH");
        assert_eq!(response.header("allow").as_deref(), Some("GET"));
        let message = response.json()["error"]["message"].to_string();
        assert!(message.contains("by GET with Accept: text/event-stream"), "{message}");
    }
}

pub fn other_methods_are_405_and_told_which_are_not(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let request = server.http("http").body(r#"{"path":"seven"}"#).method(method);
        let mut response = request.fails(405, "METHOD_MISMATCH");
        assert_eq!(response.header("allow").as_deref(), Some("GET, HEAD, POST"));
    }
}

pub fn a_body_that_is_no_call_is_400(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    for body in [
        "",
        "seven",
        "{",
        r#"{"path":"seven"} {}"#,
        r#"["seven"]"#,
        "null",
        "{}",
        r#"{"path":7}"#,
        r#"{"path":"seven","path":"seven"}"#,
        r#"{"path":"seven","type":"subscription"}"#,
        r#"{"path":"seven","timeoutMs":"soon"}"#,
    ] {
        server.http("http").body(body).fails(400, "PARSE_ERROR");
    }
    server.http("http").body(&b"{\"path\":\"seven\",\"input\":\"\xff\"}"[..]).fails(400, "PARSE_ERROR");
    for key in ["", &"k".repeat(129)] {
        post(&server, &json!({ "path": "seven", "idempotencyKey": key })).fails(400, "INVALID_ARGUMENT");
    }
}

pub fn a_body_of_another_type_is_415(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let request = server.http("http").header("content-type", content_type);
        request.body(r#"{"path":"seven"}"#).fails(415, "UNSUPPORTED_DATA");
    }
}

/// The length of an encoded body says nothing about its decoded size.
pub fn a_body_in_a_coding_is_415(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let seven = || post(&server, &json!({ "path": "seven" }));
    for coding in ["gzip", "identity, br"] {
        let mut response = seven().header("content-encoding", coding).fails(415, "UNSUPPORTED_DATA");
        assert_eq!(response.header("accept-encoding").as_deref(), Some("identity"));
    }
    seven().header("content-encoding", "identity").gives(&json!(7));
}

pub fn a_mark_of_byte_order_is_passed_over(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    server.http("http").body("\u{feff}{\"path\":\"seven\"}").gives(&json!(7));
    let mut client = server.connect("http");
    (0..3).for_each(|_| drop(client.recv_packet()));
    client.text("\u{feff}{\"type\":\"ping\"}");
    assert_eq!(client.recv_packet(), json!({ "type": "pong" }));
}

/// A repeated header must not bypass the check of the origin or of the content type.
pub fn a_call_whose_head_can_be_read_in_two_ways_is_400(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let call = || post(&server, &json!({ "path": "count", "input": {} })).header("origin", "http://localhost");
    for (name, value) in [
        ("host", "evil.example"),
        ("origin", "https://evil.example"),
        ("content-type", "text/plain"),
        ("idempotency-key", "b"),
    ] {
        call().header("idempotency-key", "a").and_header(name, value).answered(400);
    }
    call().without("host").answered(400);
    let pieces = server.http("http").chunks(&[r#"{"path":"count","input":{}}"#]);
    let pieces = pieces.header("content-type", "application/json");
    pieces.clone().header("transfer-encoding", "chunked, chunked").answered(400);
    notes.nothing_more();
    pieces.gives(&json!(1));
}

/// HTTP/2 sends each cookie in its own field.
pub fn cookies_of_several_headers_are_one(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let request =
        server.http("http").query("path=cookies").header("cookie", "a=1").and_header("cookie", "session=s");
    request.gives(&json!(["a=1; session=s", "s"]));
    server.http("http").query("path=cookies").gives(&json!([null, null]));
}

pub fn a_body_over_the_limit_is_413(subject: &Subject) {
    let (server, ..) = start_http(subject, |config| config.message_bytes = 64);
    let fits = format!("{:64}", r#"{"path":"seven"}"#);
    server.http("http").body(fits.clone()).gives(&json!(7));
    server.http("http").body(fits + " ").fails(413, "INVALID_ARGUMENT");
    let piece = "                                ";
    server.http("http").chunks(&[r#"{"path":"seven"}"#, piece]).gives(&json!(7));
    server.http("http").chunks(&[r#"{"path":"seven"}"#, piece, piece]).fails(413, "INVALID_ARGUMENT");
}

pub fn a_body_that_never_ends_is_timed_out(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut exchange = server.http("http").unfinished(r#"{"path":"seven"}"#).begin();
    let mut whole = server.http("http").unfinished("").begin();
    for exchange in [&mut exchange, &mut whole] {
        late(&server, exchange);
        exchange.expect_status(408);
        assert_eq!(exchange.json()["error"]["retryable"], json!(true));
    }
}

pub fn each_code_has_its_status(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    for (code, status) in [
        ("UNAUTHENTICATED", 401),
        ("PERMISSION_DENIED", 403),
        ("INVALID_ARGUMENT", 400),
        ("FAILED_PRECONDITION", 412),
        ("NOT_FOUND", 404),
        ("ALREADY_EXISTS", 409),
        ("ABORTED", 409),
        ("CANCELLED", 499),
        ("DEADLINE_EXCEEDED", 504),
        ("RESOURCE_EXHAUSTED", 429),
        ("UNAVAILABLE", 503),
        ("UNIMPLEMENTED", 501),
        ("INTERNAL", 500),
        ("PARSE_ERROR", 400),
        ("UNSUPPORTED_DATA", 415),
        ("DUPLICATE_ID", 409),
        ("METHOD_MISMATCH", 405),
        ("MINE", 500),
    ] {
        assert_eq!(Code::from(code.to_owned()).http_status(), status);
        let mut response = post(&server, &json!({ "path": "fail", "input": { "code": code } })).answered(status);
        let error = json!({ "code": code, "message": "as it was told", "details": { "why": 7 } });
        assert_eq!(response.json(), json!({ "ok": false, "error": error }));
        assert_eq!(response.header("retry-after"), None);
    }
    for (after, told) in [(1, "1"), (1000, "1"), (1001, "2")] {
        let input = json!({ "code": "UNAVAILABLE", "retryAfterMs": after });
        let mut response = post(&server, &json!({ "path": "fail", "input": input })).fails(503, "UNAVAILABLE");
        assert_eq!(response.header("retry-after").as_deref(), Some(told));
        assert_eq!(response.json()["error"]["retryAfterMs"], json!(after));
    }
}

pub fn a_panic_is_500_and_nothing_of_it_is_told(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    for request in [
        server.http("http").query("path=panic&input=true"),
        server.http("http").query("path=panic&input=false"),
        server.http("http").query("path=fail_inside"),
        server.http("http").query("path=broken"),
        by_ann(&server, &json!({ "path": "panic", "input": false, "idempotencyKey": "a" })),
        by_ann(&server, &json!({ "path": "panic", "input": true, "idempotencyKey": "b" })),
        server.http("http").query("path=panic_reading&input=1"),
        server.http("http").query("path=panic_writing"),
        post(&server, &json!({ "path": "panic_reading", "input": 1 })),
    ] {
        let body = request.fails(500, "INTERNAL").json();
        assert!(!body.to_string().contains("secret"), "{body}");
        assert!(!body.to_string().contains("data"), "{body}");
    }
    server.http("http").query("path=seven").gives(&json!(7));
}

/// The response is 500 for every kind of request, and the connection's next request is served.
pub fn a_panic_of_a_middleware_is_500(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    for request in [
        server.http("http").query("path=seven"),
        post(&server, &json!({ "path": "seven" })),
        server.http("http").header("accept", "text/event-stream"),
        server.http("http").query("path=quiet").header("accept", "text/event-stream"),
    ] {
        let body = request.header("x-user", "panics").fails(500, "INTERNAL").json();
        assert!(!body.to_string().contains("secret"), "{body}");
    }
    server.request("http").header("x-user", "panics").refused(500);
    assert_eq!(server.realtime().stats().refused, 5);
}

pub fn no_answer_is_to_be_stored(subject: &Subject) {
    let (server, ..) = start_http(subject, |config| config.cors = Some(realtime_core::Cors::default()));
    for (request, status) in [
        (server.http("http").query("path=seven"), 200),
        (post(&server, &json!({ "path": "seven" })), 200),
        (server.http("http").query("path=nothing"), 404),
        (server.http("nobody").query("path=nothing"), 404),
        (server.http("http").query("path=count"), 405),
        (server.http("http").method(Method::PUT), 405),
        (server.http("http").query("path=ticks&input=1"), 405),
        (server.http("http").query("path=seven").header("x-user", "nobody"), 401),
        (server.http("http").query("path=seven").header("origin", "https://evil.example"), 403),
        (server.http("http").query("path=quiet&input=1").header("accept", "text/event-stream"), 200),
        (server.http("http").query("path=nothing").header("accept", "text/event-stream"), 404),
        (server.http("http"), 426),
        (server.http("http").query("path=fail_inside"), 500),
        (server.http("http").method(Method::OPTIONS), 403),
    ] {
        let mut response = request.answered(status);
        let stream = response.header("content-type").as_deref() == Some("text/event-stream");
        let expected = if stream { "no-cache, no-transform" } else { "no-store" };
        assert_eq!(response.headers("cache-control"), [expected], "{response:?}");
    }
    let refused = server.request("nobody").refused(404);
    assert_eq!(refused.header("cache-control").as_deref(), Some("no-store"));
}

/// A body size that proxies pass on.
const LARGE: usize = 1024 * 1024;

/// A piece of a large body.
const PIECE: &str = match std::str::from_utf8(&[b' '; 4096]) {
    Ok(piece) => piece,
    Err(_) => "",
};

/// A client that is still sending receives the response rather than a reset, which a proxy would turn into a 502.
pub fn a_refusal_arrives_though_nobody_wants_the_body(subject: &Subject) {
    let (server, ..) = start_http(subject, |config| config.cors = Some(realtime_core::Cors::default()));
    refuses_large(&server, "nobody", 404, |request| request);
    refuses_large(&server, "http", 413, |request| request);
    refuses_large(&server, "http", 405, |request| request.method(Method::PUT));
    refuses_large(&server, "http", 415, |request| request.header("content-type", "text/plain"));
    refuses_large(&server, "http", 401, |request| request.header("x-user", "nobody"));
    refuses_large(&server, "http", 429, |request| request.header("x-user", "early"));
    refuses_large(&server, "http", 500, |request| request.header("x-user", "panics"));
    refuses_large(&server, "http", 403, |request| request.header("origin", "https://evil.example"));
    refuses_large(&server, "http", 403, |request| request.method(Method::OPTIONS));
    refuses_large(&server, "text", 405, |request| request);
    crate::block_on(server.realtime().drain(Duration::ZERO));
    refuses_large(&server, "http", 503, |request| request);
}

/// Posts a large body, with and without its length, and checks the status.
#[track_caller]
fn refuses_large(
    server: &Server,
    id: &str,
    status: u16,
    change: impl for<'a> Fn(HttpRequest<'a>) -> HttpRequest<'a>,
) {
    let whole = server.http(id).body(vec![b' '; LARGE]);
    let pieces = server.http(id).chunks(&[PIECE; LARGE / PIECE.len()]);
    for request in [whole, pieces] {
        let mut exchange = change(request).answered(status);
        exchange.body();
        exchange.expect_no_reset();
    }
}

/// A body that is only discarded is read for a limited time, and not at all if it is too long.
pub fn a_refusal_does_not_wait_for_an_endless_body(subject: &Subject) {
    let (server, ..) = start_http(subject, |config| config.discarded_bytes = 64 * 1024);
    let mut exchange = server.http("nobody").unfinished("{").begin();
    exchange.nothing_yet();
    late(&server, &mut exchange);
    exchange.expect_status(404);
    let long = server.http("nobody").unfinished("{").header("content-length", "65537");
    long.answered(404);
    server.http("nobody").chunks(&[PIECE; 17]).answered(404);
}

/// The rest of a body that is not read lies before the next request, so a client or proxy must not send one.
pub fn an_answer_before_the_end_of_a_body_closes_the_connection(subject: &Subject) {
    let (server, ..) = start_http(subject, |config| config.discarded_bytes = 64 * 1024);
    for (id, status) in [("nobody", 404), ("http", 413)] {
        let request = server.http(id).unfinished("{").header("content-length", "10000000");
        assert!(closes(&mut request.answered(status)), "{id}");
        let read = server.http(id).body(" ");
        assert!(!closes(&mut read.answered(if status == 413 { 400 } else { status })), "{id}");
    }
    assert!(closes(&mut server.http("nobody").chunks(&[PIECE; 17]).answered(404)));
    for mut exchange in ["nobody", "http"].map(|id| server.http(id).unfinished("{").begin()) {
        late(&server, &mut exchange);
        assert!(closes(&mut exchange));
    }
}

fn closes(exchange: &mut Exchange) -> bool {
    exchange.headers("connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
}

/// A client that waits for a 100 receives the refusal instead, if the framework leaves the 100 to the library.
pub fn a_refusal_comes_in_place_of_a_100(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let large = vec![b' '; LARGE];
    for (id, user, status) in [("nobody", "ann", 404), ("http", "nobody", 401), ("http", "ann", 413)] {
        let request = server.http(id).method(Method::POST).header("x-user", user);
        let request = request.header("content-length", &LARGE.to_string()).header("expect", "100-continue");
        let mut exchange = request.begin();
        exchange.send_if_asked(&large);
        exchange.expect_status(status);
        exchange.body();
        exchange.expect_no_reset();
    }
}

pub fn a_late_call_is_504_and_dropped(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    for (call, what) in
        [(json!({ "path": "short" }), "short"), (json!({ "path": "hang", "timeoutMs": 1000 }), "hang")]
    {
        let mut exchange = post(&server, &call).begin();
        notes.expect(&format!("began {what}"));
        exchange.nothing_yet();
        late(&server, &mut exchange);
        exchange.expect_status(504);
        assert_eq!(exchange.json()["error"]["code"], "DEADLINE_EXCEEDED");
        notes.expect(&format!("dropped {what}"));
    }
    // More than it allows is not granted: so much time does not go by here.
    let mut exchange = post(&server, &json!({ "path": "short", "timeoutMs": 1_000_000_000 })).begin();
    notes.expect("began short");
    exchange.nothing_yet();
    late(&server, &mut exchange);
    exchange.expect_status(504);
    notes.expect("dropped short");
}

pub fn a_client_that_leaves_takes_its_call_with_it(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let exchange = post(&server, &json!({ "path": "hang" })).begin();
    notes.expect("began hang");
    drop(exchange);
    notes.expect("dropped hang");
    notes.nothing_more();
}

pub fn middleware_and_guards_are_those_of_a_websocket(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let described = |method: &str, user: Value| {
        let peer = subject.capabilities().peer_address;
        json!({ "method": method, "user": user, "peer": peer, "connection": false })
    };
    server.http("http").query("path=describe").gives(&described("GET", Value::Null));
    let request = post(&server, &json!({ "path": "describe" })).header("x-user", "ann");
    request.gives(&described("POST", json!("ann")));

    let mut refused = server.http("http").query("path=seven").header("x-user", "nobody").answered(401);
    assert_eq!(refused.header("www-authenticate").as_deref(), Some("Bearer"));
    let secret = || server.http("http").query("path=admin.secret");
    secret().fails(401, "UNAUTHENTICATED");
    secret().header("x-user", "ann").fails(403, "PERMISSION_DENIED");
    secret().header("x-user", "admin").gives(&json!("the secret"));

    for request in [server.http("http").query("path=seven"), server.http("http").query("path=nothing")] {
        assert_eq!(request.begin().header("x-lab").as_deref(), Some("seen"));
    }
}

pub fn a_foreign_origin_is_403(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    for request in [
        server.http("http").query("path=seven"),
        post(&server, &json!({ "path": "count", "input": {} })),
        server.http("http").header("accept", "text/event-stream"),
        server.http("http").query("path=quiet").header("accept", "text/event-stream"),
    ] {
        request.header("origin", "https://evil.example").fails(403, "PERMISSION_DENIED");
    }
    notes.nothing_more();
    server.http("http").query("path=seven").header("origin", "http://localhost").gives(&json!(7));
}

pub fn a_draining_server_refuses_with_503(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    crate::block_on(server.realtime().drain(Duration::from_secs(1)));
    for request in [server.http("http").query("path=seven"), post(&server, &json!({ "path": "seven" }))] {
        assert_eq!(request.fails(503, "UNAVAILABLE").header("retry-after").as_deref(), Some("1"));
    }
}

pub fn calls_and_streams_count_as_connections(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |config| config.connections = 1);
    let seven = || server.http("http").query("path=seven");
    let stream = server.http("http").path("quiet", &Value::Null).events();
    seven().fails(503, "UNAVAILABLE");
    drop(stream);
    notes.expect("dropped quiet");
    notes.expect("left 1006");
    settle(&server);
    let call = post(&server, &json!({ "path": "hang" })).begin();
    notes.expect("began hang");
    seven().fails(503, "UNAVAILABLE");
    drop(call);
    notes.expect("dropped hang");
    settle(&server);
}

pub fn calls_and_streams_count_for_their_peer(subject: &Subject) {
    if !subject.capabilities().peer_address {
        return;
    }
    let (server, ..) = start_http(subject, |config| {
        config.connections_per_peer = 1;
        config.private_peers = PrivatePeers::One;
    });
    let _stream = server.http("http").path("quiet", &Value::Null).events();
    let mut refused = server.http("http").query("path=seven").fails(429, "RESOURCE_EXHAUSTED");
    assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
}

pub fn a_call_with_a_key_runs_once(subject: &Subject) {
    let (server, notes, gate) = start_http(subject, |config| config.connections = 2);
    let call = |key: &str| by_ann(&server, &json!({ "path": "count", "input": {}, "idempotencyKey": key }));
    call("a").gives(&json!(1));
    notes.expect("ran 1");
    call("a").gives(&json!(1));
    let header = by_ann(&server, &json!({ "path": "count", "input": {} })).header("idempotency-key", "a");
    header.gives(&json!(1));
    notes.nothing_more();
    call("b").gives(&json!(2));
    notes.expect("ran 2");

    // While the first still runs, and when its caller has gone.
    let waits = json!({ "path": "count", "input": { "wait": true }, "idempotencyKey": "c" });
    let first = by_ann(&server, &waits).begin();
    notes.expect("ran 3");
    let mut second = by_ann(&server, &waits).begin();
    second.nothing_yet();
    drop(first);
    settle(&server);
    let mut third = by_ann(&server, &waits).begin();
    third.nothing_yet();
    gate.open();
    for exchange in [&mut second, &mut third] {
        assert_eq!(exchange.json(), json!({ "ok": true, "data": 3 }));
    }
    notes.nothing_more();
}

pub fn the_key_of_another_is_another(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let call = |user: &str| {
        let call = json!({ "path": "count", "input": {}, "idempotencyKey": "same" });
        post(&server, &call).header("x-user", user)
    };
    call("ann").gives(&json!(1));
    call("bob").gives(&json!(2));
    call("ann").gives(&json!(1));
    call("bob").gives(&json!(2));
}

/// An address may be shared by many clients: no client may receive the outcome of another's call.
pub fn a_key_of_a_caller_who_is_not_known_is_refused(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let call = json!({ "path": "count", "input": {}, "idempotencyKey": "same" });
    post(&server, &call).fails(412, "FAILED_PRECONDITION");
    notes.nothing_more();
    by_ann(&server, &call).gives(&json!(1));
}

pub fn a_retryable_failure_is_run_again(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let call = || by_ann(&server, &json!({ "path": "count", "input": { "fails": 1 }, "idempotencyKey": "k" }));
    call().fails(503, "UNAVAILABLE");
    call().gives(&json!(2));
    call().gives(&json!(2));
    notes.expect("ran 1");
    notes.expect("ran 2");
    notes.nothing_more();
}

pub fn an_outcome_is_kept_for_its_window(subject: &Subject) {
    let (server, ..) = start_http(subject, |config| config.idempotency_window = Duration::from_secs(60));
    let call = || by_ann(&server, &json!({ "path": "count", "input": {}, "idempotencyKey": "k" }));
    call().gives(&json!(1));
    call().gives(&json!(1));
    server.advance(Duration::from_secs(59));
    call().gives(&json!(1));
    server.advance(Duration::from_secs(2));
    call().gives(&json!(2));
}

/// A message sent by HTTP reaches the subscribers over WebSockets.
pub fn a_posted_message_reaches_a_websocket_once(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut client = server.connect("http");
    for expected in [
        json!({ "type": "message", "value": "hello 0" }),
        json!({ "type": "event", "name": "notification", "data": { "title": "New\nline" } }),
        json!({ "type": "event", "name": "chat", "data": "hi" }),
    ] {
        assert_eq!(client.recv_packet(), expected);
    }
    client.text(r#"{"type":"subscribe","id":"test_1","path":["events"],"input":{"roomId":"general"}}"#);
    client.settle();
    let said = json!({ "roomId": "general", "username": "alice", "content": "Hello WebSocket!" });
    for room in ["other", "general"] {
        let mut input = said.clone();
        input["roomId"] = room.into();
        let call = json!({ "path": ["messages", "send"], "type": "mutation", "input": input });
        assert_eq!(post(&server, &call).answered(200).json()["ok"], json!(true));
    }
    let message =
        json!({ "id": "m2", "username": "alice", "content": "Hello WebSocket!", "timestamp": 1_700_000_000 });
    let data = json!({ "type": "message", "roomId": "general", "message": message });
    assert_eq!(client.recv_packet(), json!({ "type": "data", "id": "test_1", "data": data }));
    client.text(r#"{"type":"unsubscribe","id":"test_1"}"#);
    assert_eq!(client.recv_packet(), json!({ "type": "complete", "id": "test_1" }));
    post(&server, &json!({ "path": "messages.send", "input": said })).answered(200).json();
    client.text(r#"{"type":"ping"}"#);
    assert_eq!(client.recv_packet(), json!({ "type": "pong" }));
}

fn by_ann<'a>(server: &'a Server, call: &Value) -> HttpRequest<'a> {
    post(server, call).header("x-user", "ann")
}

fn post<'a>(server: &'a Server, call: &Value) -> HttpRequest<'a> {
    server.http("http").json(call)
}

/// Advances the clock until a response is received, since the server's progress with the request is unknown.
pub(super) fn late(server: &Server, exchange: &mut Exchange) {
    let end = Instant::now() + PATIENCE;
    while !exchange.has_come() && Instant::now() < end {
        server.advance(Duration::from_secs(1));
    }
}

/// Waits until a connection is free: the server's thread notices disconnections with a delay.
pub(super) fn settle(server: &Server) {
    let end = Instant::now() + PATIENCE;
    while server.http("http").query("path=seven").begin().status() == 503 {
        assert!(Instant::now() < end, "all places are still taken");
    }
}
