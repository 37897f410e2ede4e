//! Server-sent events.

use super::{Server, Subject, start_http};
use crate::conformance::{
    Events, HttpRequest,
    api_http::{CHAT, NEWS},
    client::PATIENCE,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What the handler says first.
const GREETING: [(&str, &str); 3] =
    [("message", r#""hello 7""#), ("notification", r#"{"title":"New\nline"}"#), ("chat", r#""hi""#)];

pub fn a_handlers_messages_and_events_are_a_stream(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let mut events = greeted(&server);
    notes.expect("opened");
    assert_eq!(events.header("content-type").as_deref(), Some("text/event-stream"));
    assert_eq!(events.header("cache-control").as_deref(), Some("no-cache, no-transform"));
    assert_eq!(events.header("x-accel-buffering").as_deref(), Some("no"));
    assert_eq!(events.header("x-lab").as_deref(), Some("seen"));
    assert_eq!(server.realtime().connections(), 1);
    assert_eq!(server.realtime().stats().accepted, 1);
}

/// As browsers and others ask for it.
pub fn a_stream_is_asked_for_by_accept(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    for accept in ["text/event-stream", "text/html, Text/Event-Stream;q=0.9"] {
        server.http("http").header("accept", accept).answered(200);
    }
    for accept in ["*/*", "text/event-streams"] {
        server.http("http").header("accept", accept).answered(426);
    }
}

pub fn text_of_several_lines_arrives_as_it_is(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut events = server.http("text").events();
    for text in ["one\ntwo\n", "", "event: forged\n\ndata: too"] {
        events.expect("message", text);
    }
    events.expect_end();
}

pub fn items_come_with_id_event_and_data_and_then_complete(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let mut events = subscribe(&server, "ticks", &json!(2)).events();
    events.expect_with(Some("lab:1"), "tick", "1");
    events.expect_with(Some("lab:2"), "tick", "2");
    events.expect("complete", "null");
    events.expect_end();
    notes.expect("left 1000");
    notes.nothing_more();
    let mut events = server.http("http").query("path=events&roomId=general").events();
    let call = json!({ "path": "messages.send", "input":
        { "roomId": "general", "username": "alice", "content": "Hi" } });
    server.http("http").json(&call).answered(200);
    let data: Value = events.recv().json();
    assert_eq!((&data["roomId"], &data["message"]["content"]), (&json!("general"), &json!("Hi")));
}

pub fn an_error_is_an_event_and_then_the_end(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut events = subscribe(&server, "breaks", &Value::Null).events();
    events.expect("message", "1");
    events.expect("error", r#"{"code":"NOT_FOUND","message":"no more"}"#);
    events.expect_end();
    let mut events = subscribe(&server, "panics", &Value::Null).events();
    let error = events.recv();
    assert_eq!((&*error.event, error.json::<Value>()["code"].as_str()), ("error", Some("INTERNAL")));
    assert!(!error.data.contains("secret"), "{error:?}");
    events.expect_end();
}

pub fn what_fails_before_the_first_item_is_a_status(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let asks = |name: &str, input: Value| subscribe(&server, name, &input).header("accept", "text/event-stream");
    asks("nothing", Value::Null).fails(404, "NOT_FOUND");
    asks("", Value::Null).fails(400, "INVALID_ARGUMENT");
    asks("ticks", json!("many")).fails(400, "INVALID_ARGUMENT");
    asks("admin.feed", Value::Null).fails(401, "UNAUTHENTICATED");
    asks("admin.feed", Value::Null).header("x-user", "ann").fails(403, "PERMISSION_DENIED");
    asks("admin.feed", Value::Null).header("x-user", "nobody").fails(401, "UNAUTHENTICATED");
    asks("seven", Value::Null).fails(405, "METHOD_MISMATCH");
    let mut refused = asks("refused", Value::Null).fails(503, "UNAVAILABLE");
    assert_eq!(refused.header("retry-after").as_deref(), Some("2"));
    subscribe(&server, "admin.feed", &Value::Null).header("x-user", "admin").events().expect("message", "1");

    let open = |query: &str| server.http("http").query(query).header("accept", "text/event-stream");
    open("number=x").fails(400, "INVALID_ARGUMENT");
    open("open=fail").fails(403, "PERMISSION_DENIED");
    gone(&server);
}

pub fn a_stream_is_resumed_behind_the_last_event(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let ticks = || subscribe(&server, "ticks", &json!(3));
    let mut events = ticks().header("last-event-id", "lab:2").events();
    events.expect_with(Some("lab:3"), "tick", "3");
    events.expect("complete", "null");
    ticks().header("last-event-id", "").events().expect_with(Some("lab:1"), "tick", "1");
    for wrong in ["2", "lab:", ":2", "lab:-1"] {
        let asks = ticks().header("accept", "text/event-stream").header("last-event-id", wrong);
        asks.fails(400, "INVALID_ARGUMENT");
    }
}

pub fn a_gap_is_an_event_in_its_place(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut events = subscribe(&server, "missed", &Value::Null).events();
    events.expect("message", "1");
    events.expect("gap", r#"{"count":3,"cause":"expired"}"#);
    events.expect("message", "2");
}

pub fn a_quiet_stream_is_kept_alive_by_comments(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut quiet = subscribe(&server, "quiet", &Value::Null).events();
    let mut talks = greeted(&server);
    quiet.expect_comments(1);
    talks.expect_comments(1);
    for count in 2..6 {
        server.advance(Duration::from_secs(15));
        quiet.expect_comments(count);
        talks.expect_comments(count);
    }
    server.realtime().publish(&NEWS, &"still here".into()).expect("it is published");
    talks.expect("message", r#""still here""#);
}

/// Nothing is sent that would show it.
pub fn a_stream_is_dropped_when_its_client_leaves(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let mut quiet = subscribe(&server, "quiet", &Value::Null).events();
    quiet.expect_comments(1);
    drop(quiet);
    notes.expect("dropped quiet");
    notes.expect("left 1006");
    gone(&server);
    let talks = greeted(&server);
    drop(talks);
    notes.expect("opened");
    notes.expect("left 1006");
    notes.expect("closed 1006");
    gone(&server);
    assert_eq!(server.realtime().stats().topics, 0);
    notes.nothing_more();
}

pub fn a_publication_reaches_streams_and_websockets(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let (mut one, mut two) = (greeted(&server), greeted(&server));
    let mut client = server.connect("http");
    (0..3).for_each(|_| drop(client.recv()));
    server.realtime().publish(&NEWS, &"from the node".into()).expect("it is published");
    server.realtime().publish_event(&NEWS, &CHAT, &"named".into()).expect("it is published");
    client.expect_value(&"from the node");
    assert_eq!(client.recv_packet(), json!({ "type": "event", "name": "chat", "data": "named" }));
    client.value(&"from a client");
    for events in [&mut one, &mut two] {
        events.expect("message", r#""from the node""#);
        events.expect("chat", r#""named""#);
        events.expect("message", r#""from a client""#);
    }
}

pub fn a_stream_that_is_not_read_is_closed(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |config| config.outbox_bytes = 256 * 1024);
    let (mut slow, mut quick) = (greeted(&server), greeted(&server));
    let text = "x".repeat(64 * 1024);
    let mut published = 0;
    while server.realtime().stats().slow_consumers == 0 {
        // More than buffers of sockets hold.
        assert!(published < 1024, "what is not read is queued without end");
        server.realtime().publish(&NEWS, &text).expect("it is published");
        published += 1;
        assert_eq!(quick.recv().data.len(), text.len() + 2);
    }
    // Its place is free again though it never reads.
    server.advance(Duration::from_secs(21));
    assert_eq!(server.realtime().connections(), 1);
    assert!(slow.rest() < published, "what did not fit is dropped");
    for note in ["opened", "opened", "left 1013", "closed 1013"] {
        notes.expect(note);
    }
    notes.nothing_more();
    server.realtime().publish(&NEWS, &"on".into()).expect("it is published");
    quick.expect("message", r#""on""#);
}

pub fn a_drain_ends_all_streams(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let mut talks = greeted(&server);
    let mut quiet = subscribe(&server, "quiet", &Value::Null).events();
    notes.expect("opened");
    let drained = std::thread::scope(|scope| {
        let drain = scope.spawn(|| crate::block_on(server.realtime().drain(Duration::from_secs(10))));
        talks.expect_end();
        quiet.expect_end();
        drain.join().expect("the drain ends")
    });
    assert_eq!((drained.open, drained.cut), (2, 0));
    gone(&server);
}

/// One connection of HTTP/2 has calls and streams, and each ends by itself.
pub fn calls_and_streams_work_over_http2(subject: &Subject) {
    if !subject.capabilities().http2 {
        return;
    }
    #[cfg(feature = "http2")]
    {
        let (server, notes, _) = start_http(subject, |_| {});
        crate::conformance::http2::calls_and_streams(&server, &notes);
        gone(&server);
    }
    #[cfg(not(feature = "http2"))]
    panic!("an adapter that serves HTTP/2 is tested with the feature `http2` of this crate");
}

fn greeted(server: &Server) -> Events {
    let mut events = server.http("http").query("number=7").events();
    for (event, data) in GREETING {
        events.expect(event, data);
    }
    events
}

fn subscribe<'a>(server: &'a Server, name: &str, input: &Value) -> HttpRequest<'a> {
    server.http("http").path(name, input)
}

/// Waits until nobody is connected: who has left is noticed by the server's thread.
fn gone(server: &Server) {
    let end = Instant::now() + PATIENCE;
    while server.realtime().connections() > 0 {
        assert!(Instant::now() < end, "somebody is still connected");
        std::thread::yield_now();
    }
}
