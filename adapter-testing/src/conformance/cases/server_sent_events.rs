//! Server-sent events.

use super::{Server, Subject, start_http};
use crate::conformance::{
    Events, HttpRequest,
    api_http::{CHAT, NEWS},
    client::PATIENCE,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The first messages of the handler.
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

/// The header may have the form of browsers and of other clients.
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
    events.expect_with(Some("end"), "complete", "null");
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
    events.expect_with(Some("end"), "error", r#"{"code":"NOT_FOUND","message":"no more"}"#);
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
    subscribe(&server, "admin.feed", &Value::Null).header("x-user", "admin").events().expect("message", "1");

    let open = |query: &str| server.http("http").query(query).header("accept", "text/event-stream");
    open("number=x").fails(400, "INVALID_ARGUMENT");
    open("open=fail").fails(403, "PERMISSION_DENIED");
    let body = open("open=panic").fails(500, "INTERNAL").json();
    assert!(!body.to_string().contains("secret"), "{body}");
    gone(&server);
}

/// A page's `EventSource` never reconnects after a status other than 200.
pub fn a_refusal_that_may_pass_says_when_to_come_back(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |config| {
        config.connections = 1;
        config.cors = Some(realtime_core::Cors::default());
    });
    let refused = subscribe(&server, "refused", &Value::Null).header("x-user", "ann").events();
    notes.expect("left 1000");
    assert_eq!(server.realtime().stats().refused, 1);
    let mut refused = refused;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-lab", "seen"),
        ("vary", "Origin"),
    ] {
        assert_eq!(refused.header(name).as_deref(), Some(value), "{name}");
    }
    refused.expect_later("UNAVAILABLE", 1);

    let quiet = || subscribe(&server, "quiet", &Value::Null);
    let mut held = quiet().events();
    held.expect_comments(1);
    quiet().events().expect_later("UNAVAILABLE", 1);
    server.http("http").events().expect_later("UNAVAILABLE", 1);
    crate::block_on(server.realtime().drain(Duration::ZERO));
    quiet().events().expect_later("UNAVAILABLE", 1);
    server.http("http").query("path=seven").fails(503, "UNAVAILABLE");
}

/// The same rule applies to a refusal of the middleware, and to its timeout.
pub fn a_middleware_may_say_when_to_come_back(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let quiet = |user: &str| subscribe(&server, "quiet", &Value::Null).header("x-user", user);
    quiet("early").events().expect_later("RESOURCE_EXHAUSTED", 9);
    quiet("nobody").header("accept", "text/event-stream").fails(401, "UNAUTHENTICATED");
    let mut stuck = quiet("stuck").header("accept", "text/event-stream").begin();
    super::http::late(&server, &mut stuck);
    stuck.into_events().expect_later("UNAVAILABLE", 1);
}

pub fn an_event_named_error_or_complete_is_an_event(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut events = server.http("http").query("open=names").events();
    events.expect("error", r#""a warning""#);
    events.expect("complete", r#""no end""#);
    events.expect("message", r#""hello 0""#);
}

/// For clients of HTTP/1.0, the end of the connection is the end of the stream.
pub fn a_stream_may_be_asked_for_by_http_1_0(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut events = subscribe(&server, "ticks", &json!(1)).version(http::Version::HTTP_10).events();
    // Chunks are of HTTP/1.1: this one ends with its connection, whatever the client would like.
    assert_eq!(events.header("transfer-encoding"), None);
    let kept =
        subscribe(&server, "ticks", &json!(1)).version(http::Version::HTTP_10).header("connection", "keep-alive");
    let mut kept = kept.events();
    assert_eq!((kept.header("transfer-encoding"), kept.rest()), (None, 2));
    events.expect_with(Some("lab:1"), "tick", "1");
    events.expect_with(Some("end"), "complete", "null");
    events.expect_end();
}

pub fn a_stream_is_resumed_behind_the_last_event(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let ticks = || subscribe(&server, "ticks", &json!(3));
    let mut events = ticks().header("last-event-id", "lab:2").events();
    events.expect_with(Some("lab:3"), "tick", "3");
    events.expect_with(Some("end"), "complete", "null");
    ticks().header("last-event-id", "").events().expect_with(Some("lab:1"), "tick", "1");
    // Of libraries for browsers that cannot set the header.
    let by_query = || server.http("http").query("path=ticks&input=3&lastEventId=lab:1");
    by_query().events().expect_with(Some("lab:2"), "tick", "2");
    by_query().header("last-event-id", "lab:2").events().expect_with(Some("lab:3"), "tick", "3");
    let pairs = server.http("http").query("path=events&roomId=a&lastEventId=");
    pairs.events().expect_comments(1);
}

/// A page would send the same unreadable id again and again.
pub fn a_stream_begins_anew_where_the_last_event_cannot_be_read(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let begins_anew = |request: HttpRequest<'_>| {
        let mut events = request.events();
        events.expect("gap", r#"{"count":0,"cause":"unreadable_position"}"#);
        events.expect_with(Some("lab:1"), "tick", "1");
    };
    let ticks = || subscribe(&server, "ticks", &json!(3));
    for wrong in ["2", "lab:", ":2", "lab:-1", "lab:18446744073709551616", "é"] {
        begins_anew(ticks().header("last-event-id", wrong));
    }
    begins_anew(server.http("http").query("path=ticks&input=3&lastEventId=2"));
    let refused = subscribe(&server, "nothing", &Value::Null).header("last-event-id", "2");
    refused.header("accept", "text/event-stream").fails(404, "NOT_FOUND");
}

/// An `EventSource` reconnects after every end, and stops at this status.
pub fn one_who_comes_back_behind_the_end_is_sent_nothing(subject: &Subject) {
    let page = "https://app.example";
    let (server, notes, _) = start_http(subject, |config| {
        config.origins = realtime_core::Origins::List(vec![page.into()]);
        config.cors = Some(realtime_core::Cors::default());
    });
    let is_over = |request: HttpRequest<'_>| {
        let mut over = request.header("accept", "text/event-stream").header("origin", page).answered(204);
        assert_eq!(over.header("access-control-allow-origin").as_deref(), Some(page));
        assert_eq!(over.header("content-type"), None);
        assert_eq!(over.header("transfer-encoding"), None);
    };
    is_over(subscribe(&server, "ticks", &json!(3)).header("last-event-id", "end"));
    is_over(server.http("http").query("path=ticks&input=3&lastEventId=end"));
    is_over(server.http("http").header("last-event-id", "end"));
    notes.nothing_more();
    let unknown = server.http("nobody").header("accept", "text/event-stream").header("last-event-id", "end");
    unknown.fails(404, "NOT_FOUND");
    let foreign = subscribe(&server, "ticks", &json!(3)).header("accept", "text/event-stream");
    foreign
        .header("last-event-id", "end")
        .header("origin", "https://evil.example")
        .fails(403, "PERMISSION_DENIED");
}

/// A client comes back after any other close, and after an error that may pass.
pub fn a_stream_that_is_over_for_good_ends_in_its_id(subject: &Subject) {
    use realtime_core::CloseCode;
    let (server, notes, _) = start_http(subject, |_| {});
    for (code, last) in [
        (CloseCode::NORMAL, "end"),
        (CloseCode::NO_STATUS, "end"),
        (CloseCode::POLICY, "end"),
        (CloseCode::INTERNAL, ""),
        (CloseCode::GOING_AWAY, ""),
    ] {
        let mut events = greeted(&server);
        notes.expect("opened");
        for connection in server.realtime().filter(|_| true) {
            connection.close(code, "");
        }
        events.expect_end();
        assert_eq!(events.last_id(), last, "{code:?}");
        notes.expect(&format!("left {}", code.get()));
        notes.expect(&format!("closed {}", code.get()));
        gone(&server);
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
        advance_to_comments(&server, &mut quiet, count);
        advance_to_comments(&server, &mut talks, count);
    }
    server.realtime().to(&NEWS).send(&"still here".into()).expect("it is published");
    talks.expect("message", r#""still here""#);
}

/// Advances the clock until this many comments were received. One is due within 15 s after the server has noticed that
/// the last was read, which is when it next runs.
#[track_caller]
fn advance_to_comments(server: &Server, events: &mut Events, count: usize) {
    let begun = Instant::now();
    while !events.has_comments(count) {
        assert!(begun.elapsed() < PATIENCE, "no comment comes");
        server.advance(Duration::from_secs(1));
    }
}

/// The disconnection is noticed although nothing is sent.
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
    server.realtime().to(&NEWS).send(&"from the node".into()).expect("it is published");
    server.realtime().to(&NEWS).emit(CHAT, &"named".into()).expect("it is published");
    client.expect_value(&"from the node");
    assert_eq!(client.recv_packet(), json!({ "type": "event", "name": "chat", "data": "named" }));
    client.value(&"from a client");
    for events in [&mut one, &mut two] {
        events.expect("message", r#""from the node""#);
        events.expect("chat", r#""named""#);
        events.expect("message", r#""from a client""#);
    }
}

/// The session ends on time although the framework neither pulls nor drops the body.
pub fn a_stream_that_is_not_read_is_closed(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |config| config.outbox_bytes = 256 * 1024);
    let (mut slow, mut quick) = (greeted(&server), greeted(&server));
    (0..2).for_each(|_| notes.expect("opened"));
    let text = "x".repeat(64 * 1024);
    let published = publish_until_slow(&server, &text, |text| assert_eq!(quick.recv().data.len(), text.len() + 2));
    end_slow(&server, 1);
    notes.expect("left 1013");
    notes.expect("closed 1013");
    notes.nothing_more();
    server.realtime().to(&NEWS).send(&"on".into()).expect("it is published");
    quick.expect("message", r#""on""#);
    assert!(slow.rest() < published, "what did not fit is dropped");
}

pub fn the_place_of_a_stream_that_is_not_read_is_taken_until_its_socket_is_gone(subject: &Subject) {
    let (server, ..) = start_http(subject, |config| {
        config.outbox_bytes = 256 * 1024;
        config.connections = 2;
    });
    let mut slow = server.http("http").header("connection", "close").events();
    let mut quick = greeted(&server);
    publish_until_slow(&server, &"x".repeat(64 * 1024), |_| drop(quick.recv()));
    end_slow(&server, 1);
    let mut seven = server.http("http").query("path=seven").begin();
    if seven.status() == 200 {
        // The system's buffers took more after all, and then the connection was cut.
        return super::expect_gone(&server, || slow.send(b" "));
    }
    seven.expect_status(503);
    drop(slow);
    super::http::settle(&server);
}

/// Publishes until the only stream that is not read is full. Returns the number of messages.
fn publish_until_slow(server: &Server, text: &String, mut each: impl FnMut(&String)) -> usize {
    let mut published = 0;
    while server.realtime().stats().slow_consumers == 0 {
        // More than buffers of sockets hold.
        assert!(published < 2048, "what is not read is queued without end");
        server.realtime().to(&NEWS).send(text).expect("it is published");
        published += 1;
        each(text);
    }
    published
}

/// Advances the clock by the closing timeout, until this many connections are left.
fn end_slow(server: &Server, left: usize) {
    let end = Instant::now() + PATIENCE;
    while server.realtime().connections() > left {
        assert!(Instant::now() < end, "a stream that is not read goes on");
        server.advance(Duration::from_millis(250));
        // So much time at least as a request takes, in which the others are asked for a sign of life and give it.
        server.http("nobody").answered(404);
    }
}

/// `on_close` may wait for something although the body is not pulled any more.
pub fn on_close_of_a_stream_runs_to_its_end(subject: &Subject) {
    let (server, notes, gate) = start_http(subject, |_| {});
    let mut events = server.http("http").query("open=wait").events();
    events.expect("message", r#""hello 0""#);
    notes.expect("opened");
    for connection in server.realtime().filter(|_| true) {
        connection.close(realtime_core::CloseCode::NORMAL, "");
    }
    while events.recv().event != "chat" {}
    events.expect_end();
    drop(events);
    notes.expect("left 1000");
    notes.expect("closing");
    gate.open();
    notes.expect("closed 1000");
    notes.nothing_more();
    gone(&server);
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
        talks.expect_retry(1);
        quiet.expect_retry(1);
        drain.join().expect("the drain ends")
    });
    assert_eq!((drained.open, drained.cut), (2, 0));
    gone(&server);
}

/// One HTTP/2 connection has calls and streams, each of which ends by itself.
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

/// Waits until no client is connected: the server's thread notices disconnections with a delay.
fn gone(server: &Server) {
    let end = Instant::now() + PATIENCE;
    while server.realtime().connections() > 0 {
        assert!(Instant::now() < end, "somebody is still connected");
        std::thread::yield_now();
    }
}
