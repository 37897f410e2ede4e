//! Streams of frames: each event is a frame of `realtime.v1.json`.

use super::{Server, Subject, start_feeds, start_http};
use crate::conformance::{Events, HttpRequest, api_http::NEWS};
use realtime_core::{CloseCode, Connection, Handler, Procedure, Realtime, Result};
use serde_json::{Value, json};
use std::time::Duration;

const FRAMES: &str = "text/event-stream; realtime=v1.json";

pub fn a_stream_of_frames_begins_with_the_welcome(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |config| config.message_bytes = 4096);
    let mut frames = open(server.http("http"));
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-lab", "seen"),
    ] {
        assert_eq!(frames.header(name).as_deref(), Some(value), "{name}");
    }
    let expected = json!({ "type": "welcome", "connection": "0000000000c0ffee-1", "heartbeatMs": 25_000, "messageBytes": 4096 });
    assert_eq!(recv(&mut frames), expected);
    notes.expect("opened");
    let mut frames = open(post(&server, &json!([subscribe("1", "ticks", &json!(1))])));
    assert_eq!(recv(&mut frames)["connection"], "0000000000c0ffee-2");
    // Without the format it is a stream of events as ever.
    server.http("http").events().expect("message", r#""hello 0""#);
}

pub fn a_handlers_frames_are_those_of_a_websocket(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut frames = welcomed(server.http("http").query("open=names&number=7"));
    let mut client = server.request("http").query("open=names&number=7").connect();
    for _ in 0..5 {
        assert_eq!(recv(&mut frames), client.recv_packet());
    }
    // What refuses it then is told as over a WebSocket.
    let mut frames = welcomed(server.http("http").query("open=fail"));
    let error = json!({ "code": "PERMISSION_DENIED", "message": "not today" });
    assert_eq!(recv(&mut frames), json!({ "type": "error", "error": error }));
    expect_close(&mut frames, 1008, "not today");
}

pub fn subscriptions_are_posted_and_end_with_the_last(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let body = json!([subscribe("a", "ticks", &json!(2)), subscribe("b", "missed", &Value::Null)]);
    let mut frames = welcomed(post(&server, &body));
    let mut found = Vec::new();
    while found.iter().filter(|frame: &&Value| frame["type"] == "complete").count() < 2 {
        found.push(recv(&mut frames));
    }
    let of = |id: &str| found.iter().filter(|frame| frame["id"] == id).cloned().collect::<Vec<_>>();
    let tick = |n: u32| json!({ "type": "data", "id": "a", "data": n, "offset": n, "epoch": "lab" });
    assert_eq!(of("a"), [tick(1), tick(2), json!({ "type": "complete", "id": "a" })]);
    let gap = json!({ "type": "gap", "id": "b", "count": 3, "cause": "expired" });
    let item = |n: u32| json!({ "type": "data", "id": "b", "data": n });
    assert_eq!(of("b"), [item(1), gap, item(2), json!({ "type": "complete", "id": "b" })]);
    expect_close(&mut frames, 1000, "");
    // The handler of the same id has nothing to do with it.
    notes.expect("left 1000");
    notes.nothing_more();
}

pub fn a_posted_subscription_goes_on_behind_a_position(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut frame = subscribe("a", "ticks", &json!(3));
    frame["after"] = json!({ "epoch": "lab", "offset": 2 });
    let mut frames = welcomed(post(&server, &json!([frame])));
    assert_eq!(recv(&mut frames)["offset"], 3);
    assert_eq!(recv(&mut frames)["type"], "complete");
    expect_close(&mut frames, 1000, "");
}

pub fn a_posted_subscription_fails_alone(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let body = json!([
        subscribe("a", "nothing", &Value::Null),
        subscribe("b", "admin.feed", &Value::Null),
        subscribe("c", "seven", &Value::Null),
        { "type": "subscribe", "id": "d", "path": 7 },
        subscribe("e", "quiet", &Value::Null),
        subscribe("e", "quiet", &Value::Null),
        subscribe("f", "breaks", &Value::Null),
        subscribe("g", "panics", &Value::Null),
    ]);
    let mut frames = welcomed(post(&server, &body));
    let mut codes: Vec<_> = (0..8).map(|_| recv(&mut frames)).filter(|frame| frame["type"] == "error").collect();
    codes.sort_by_key(|frame| frame["id"].to_string());
    let codes: Vec<_> = codes.iter().map(|frame| (frame["id"].clone(), frame["error"]["code"].clone())).collect();
    let expected = [
        (json!("a"), json!("NOT_FOUND")),
        (json!("b"), json!("UNAUTHENTICATED")),
        (json!("c"), json!("METHOD_MISMATCH")),
        (json!("d"), json!("PARSE_ERROR")),
        (json!("f"), json!("NOT_FOUND")),
        (json!("g"), json!("INTERNAL")),
        (Value::Null, json!("DUPLICATE_ID")),
    ];
    assert_eq!(codes, expected);
    // Where all fail, nothing is left to wait for.
    let body = json!([subscribe("a", "nothing", &Value::Null), subscribe("b", "nothing", &Value::Null)]);
    let mut frames = welcomed(post(&server, &body));
    assert_eq!([recv(&mut frames)["id"].clone(), recv(&mut frames)["id"].clone()], ["a", "b"]);
    expect_close(&mut frames, 1000, "");
}

pub fn more_subscriptions_than_allowed_fail_alone(subject: &Subject) {
    let (server, ..) = start_http(subject, |config| config.subscriptions_per_connection = 2);
    let body: Vec<_> = ["a", "b", "c"].map(|id| subscribe(id, "quiet", &Value::Null)).into();
    let mut frames = welcomed(post(&server, &json!(body)));
    let refused = recv(&mut frames);
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("c"), &json!("RESOURCE_EXHAUSTED")));
}

pub fn credit_holds_in_a_stream_of_frames(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut frame = subscribe("a", "ticks", &json!(9));
    frame["credit"] = json!(2);
    let mut frames = welcomed(post(&server, &json!([frame, subscribe("b", "ticks", &json!(3))])));
    let found: Vec<_> = (0..6).map(|_| recv(&mut frames)["id"].clone()).collect();
    assert_eq!(found.iter().filter(|id| **id == "a").count(), 2);
    server.advance(Duration::from_secs(16));
    frames.expect_comments(1);
}

/// Which name their subscription, as those of a WebSocket do.
pub fn a_feed_in_a_stream_of_frames_has_frames_of_its_own(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut shared = subscribe("c", "log", &json!("a"));
    shared["shared"] = json!(true);
    let body =
        json!({ "subscribe": [subscribe("a", "log", &json!("a")), subscribe("b", "log", &json!("a")), shared] });
    let mut frames = welcomed(server.http("feeds").json(&body));
    let begun: Vec<_> = (0..3).map(|_| recv(&mut frames)).collect();
    assert_eq!(begun.iter().filter(|frame| frame["type"] == "subscribed").count(), 3);
    assert_eq!(begun.iter().filter(|frame| frame["shared"] == true).count(), 1);
    let entry = json!({ "key": "k", "value": "1" });
    let call = json!({ "path": "append", "input": { "feed": "a", "entries": [entry] } });
    server.http("feeds").json(&call).answered(200);
    let mut names: Vec<_> = (0..3)
        .map(|_| recv(&mut frames))
        .map(|frame| {
            assert_eq!((&frame["type"], &frame["offset"], &frame["data"]), (&json!("data"), &json!(1), &entry));
            format!("{} {}", frame["id"], frame["topic"])
        })
        .collect();
    names.sort();
    assert_eq!(names, [r#""a" null"#, r#""b" null"#, r#"null "a""#]);
}

/// A program reads it, and no `EventSource`, for which a status is the end of all trying.
pub fn a_refused_stream_of_frames_is_a_status(subject: &Subject) {
    let (server, ..) = start_http(subject, |config| config.connections = 1);
    let asks = |user: &str| server.http("http").header("accept", FRAMES).header("x-user", user);
    let mut refused = asks("early").fails(429, "RESOURCE_EXHAUSTED");
    assert_eq!(refused.header("retry-after").as_deref(), Some("9"));
    asks("nobody").fails(401, "UNAUTHENTICATED");
    asks("ann").query("number=x").fails(400, "INVALID_ARGUMENT");
    asks("ann").header("origin", "https://evil.example").fails(403, "PERMISSION_DENIED");
    let posts = |user: &str| post(&server, &json!([subscribe("a", "quiet", &Value::Null)])).header("x-user", user);
    posts("early").fails(429, "RESOURCE_EXHAUSTED");
    posts("ann").header("origin", "https://evil.example").fails(403, "PERMISSION_DENIED");
    posts("ann").header("content-type", "text/plain").fails(415, "UNSUPPORTED_DATA");
    server.http("nobody").header("accept", FRAMES).fails(404, "NOT_FOUND");
    let _held = welcomed(server.http("http"));
    asks("ann").fails(503, "UNAVAILABLE");
    posts("ann").fails(503, "UNAVAILABLE");
}

pub fn a_body_that_has_no_frames_is_400(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let asks = || server.http("http").header("accept", FRAMES);
    for body in [
        "",
        "[]",
        "{}",
        r#"{"path":"ticks"}"#,
        r#"{"subscribe":{}}"#,
        r#"{"subscribe":[7]}"#,
        r#"{"subscribe":[{"id":"a","path":"ticks"}]}"#,
        r#"{"subscribe":[{"type":"subscribe","path":"ticks"}]}"#,
        r#"{"subscribe":[{"type":"subscribe","id":"a","path":"ticks","input":1},{"type":"ping"}]}"#,
    ] {
        let mut response = asks().body(body).answered(400);
        assert_eq!(response.json()["ok"], false);
    }
    asks().body(r#"{"subscribe":[]}"#).fails(400, "INVALID_ARGUMENT");
    asks().query("path=ticks&input=1").fails(400, "INVALID_ARGUMENT");
    let message = asks().body(r#"{"subscribe":[{"type":"ping"}]}"#).fails(400, "PARSE_ERROR").json();
    assert!(message["error"]["message"].to_string().contains("subscribe[0]"), "{message}");
    notes.nothing_more();
}

pub fn an_unknown_format_of_frames_is_400(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    for format in ["v9.json", "v1.msgpack", ""] {
        let accept = format!("text/event-stream; realtime={format}");
        server.http("http").header("accept", &accept).fails(400, "INVALID_ARGUMENT");
    }
    let either = "text/event-stream; realtime=v9.json, text/event-stream; realtime=\"v1.json\"";
    assert_eq!(recv(&mut server.http("http").header("accept", either).begin().into_events())["type"], "welcome");
    // It has no envelope.
    server.http("text").header("accept", FRAMES).fails(400, "INVALID_ARGUMENT");
}

pub fn a_publication_reaches_streams_of_frames(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut frames = welcomed(server.http("http"));
    (0..3).for_each(|_| drop(recv(&mut frames)));
    let mut client = server.connect("http");
    (0..3).for_each(|_| drop(client.recv_packet()));
    server.realtime().to(&NEWS).send(&"news".to_owned()).expect("it serialises");
    let expected = json!({ "type": "message", "value": "news" });
    assert_eq!((recv(&mut frames), client.recv_packet()), (expected.clone(), expected));
}

pub fn a_client_of_frames_cannot_be_asked(subject: &Subject) {
    const CONFIRM: Procedure<(), bool> = Procedure::new("confirm");
    struct Asks;
    impl Handler for Asks {
        type Input = ();
        type ClientMessage = ();
        type ServerMessage = String;

        async fn on_open(&self, connection: &Connection<Self>) -> Result {
            let error = connection.call(CONFIRM, ()).await.expect_err("nobody can answer");
            connection.send(error.code().to_string())?;
            Ok(())
        }

        async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
            Ok(())
        }
    }
    let server = subject.start(Realtime::builder().manual_time().handler("asks", Asks).build());
    let mut frames = welcomed(server.http("asks"));
    assert_eq!(recv(&mut frames), json!({ "type": "message", "value": "UNIMPLEMENTED" }));
}

pub fn a_quiet_stream_of_frames_is_kept_alive_by_comments(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut frames = welcomed(post(&server, &json!([subscribe("a", "quiet", &Value::Null)])));
    for count in 1..=3 {
        server.advance(Duration::from_secs(15));
        frames.expect_comments(count);
    }
}

pub fn a_stream_of_frames_is_dropped_when_its_client_leaves(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let frames = welcomed(post(&server, &json!([subscribe("a", "quiet", &Value::Null)])));
    assert_eq!(server.realtime().connections(), 1);
    drop(frames);
    notes.expect("dropped quiet");
    notes.expect("left 1006");
}

pub fn a_drain_ends_streams_of_frames(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut frames = welcomed(post(&server, &json!([subscribe("a", "quiet", &Value::Null)])));
    let drained = std::thread::scope(|scope| {
        let drain = scope.spawn(|| crate::block_on(server.realtime().drain(Duration::from_secs(10))));
        expect_close(&mut frames, 1001, "the server is going away");
        frames.expect_retry(1);
        drain.join().expect("the drain ends")
    });
    assert_eq!((drained.open, drained.cut), (1, 0));
}

/// A program cannot tell a lost connection from the end by the server, after which it would not come back.
pub fn a_stream_of_frames_says_with_which_code_it_was_closed(subject: &Subject) {
    struct Closes;
    impl Handler for Closes {
        type Input = u16;
        type ClientMessage = ();
        type ServerMessage = ();

        async fn on_open(&self, connection: &Connection<Self>) -> Result {
            let code = CloseCode::new(*connection.input()).expect("a code");
            connection.close(code, "as \"asked\"");
            Ok(())
        }

        async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
            Ok(())
        }
    }
    let server = subject.start(Realtime::builder().manual_time().handler("closes", Closes).build());
    for code in [1000, 1008, 1012, 4001] {
        let mut frames = welcomed(server.http("closes").query(&format!("input={code}")));
        expect_close(&mut frames, code, "as \"asked\"");
        assert_eq!(frames.retry().is_some(), code == 1012, "{code}");
    }
}

/// The last frame, which says what a WebSocket's close frame says.
#[track_caller]
pub(super) fn expect_close(frames: &mut Events, code: u16, reason: &str) {
    assert_eq!(recv(frames), json!({ "type": "close", "code": code, "reason": reason }));
    frames.expect_end();
}

fn post<'a>(server: &'a Server, subscribe: &Value) -> HttpRequest<'a> {
    post_to(server, "http", subscribe)
}

pub(super) fn post_to<'a>(server: &'a Server, id: &str, subscribe: &Value) -> HttpRequest<'a> {
    server.http(id).header("accept", FRAMES).json(&json!({ "subscribe": subscribe }))
}

fn subscribe(id: &str, path: &str, input: &Value) -> Value {
    json!({ "type": "subscribe", "id": id, "path": path, "input": input })
}

#[track_caller]
fn open(request: HttpRequest<'_>) -> Events {
    request.header("accept", FRAMES).begin().into_events()
}

/// A stream whose welcome has come.
#[track_caller]
pub(super) fn welcomed(request: HttpRequest<'_>) -> Events {
    let mut frames = open(request);
    assert_eq!(recv(&mut frames)["type"], "welcome");
    frames
}

/// The next frame: an event without a name or an id.
#[track_caller]
pub(super) fn recv(frames: &mut Events) -> Value {
    let event = frames.recv();
    assert_eq!((event.id.as_deref(), &*event.event), (None, "message"));
    event.json()
}
