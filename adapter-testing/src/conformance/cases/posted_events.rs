//! Events by HTTP, without a connection.

use super::{Server, Subject, start_http};
use crate::conformance::HttpRequest;
use realtime_core::{Call, Endpoint, Event, Realtime};
use serde_json::{Value, json};
use std::time::Duration;

pub fn an_event_is_posted_without_a_connection(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let mut response = post(&server, "typing", &json!("a")).header("x-user", "ann").answered(204);
    assert_eq!(response.header("x-lab").as_deref(), Some("seen"));
    assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
    notes.expect("ann types a");
    server.http("http").body(r#" {"data":"b","name":"typing","type":"event","unknown":[]}"#).answered(204);
    notes.expect("nobody types b");
    assert_eq!((server.realtime().connections(), server.realtime().stats().accepted), (0, 0));
}

pub fn an_event_that_needs_a_connection_is_412(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    // The data is null where there is none.
    server.http("http").json(&json!({ "type": "event", "name": "wave" })).fails(412, "FAILED_PRECONDITION");
    let mut client = server.connect("http");
    (0..3).for_each(|_| drop(client.recv_packet()));
    client.packet(json!({ "type": "event", "name": "wave" }));
    assert_eq!(client.recv_packet(), json!({ "type": "event", "name": "chat", "data": "hi" }));
}

pub fn a_posted_event_is_refused_as_a_call_is(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let typing = || post(&server, "typing", &json!("a"));
    typing().header("origin", "https://evil.example").fails(403, "PERMISSION_DENIED");
    typing().header("content-type", "text/plain").fails(415, "UNSUPPORTED_DATA");
    typing().header("x-user", "nobody").fails(401, "UNAUTHENTICATED");
    post(&server, "reboot", &Value::Null).fails(401, "UNAUTHENTICATED");
    post(&server, "reboot", &Value::Null).header("x-user", "ann").fails(403, "PERMISSION_DENIED");
    post(&server, "reboot", &Value::Null).header("x-user", "admin").answered(204);
    post(&server, "nothing", &Value::Null).fails(404, "NOT_FOUND");
    // A name of a procedure is none of an event.
    post(&server, "seven", &Value::Null).fails(404, "NOT_FOUND");
    for name in [json!(""), json!("x".repeat(65)), json!(7), Value::Null] {
        server.http("http").json(&json!({ "type": "event", "name": name })).fails(400, "PARSE_ERROR");
    }
    server.http("http").json(&json!({ "type": "event", "path": "typing" })).fails(400, "PARSE_ERROR");
    let body = post(&server, "typing", &json!(7)).fails(400, "INVALID_ARGUMENT").json();
    assert!(body["error"]["message"].as_str().is_some_and(|message| message.contains("string")), "{body}");
    notes.nothing_more();
}

pub fn a_posted_event_that_fails_is_a_status(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let body = post(&server, "watched", &json!(true)).fails(500, "INTERNAL").json();
    assert!(!body.to_string().contains("secret"), "{body}");
}

pub fn a_client_that_leaves_takes_its_event_with_it(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let mut event = post(&server, "watched", &json!(false)).begin();
    notes.expect("began watched");
    // It has no time limit, as over a WebSocket.
    server.advance(Duration::from_secs(40));
    event.nothing_yet();
    drop(event);
    notes.expect("dropped watched");
}

pub fn an_id_of_events_alone_takes_them(subject: &Subject) {
    const ADD: Event<u32> = Event::new("add");
    let endpoint = Endpoint::new(()).on(ADD, |_: Call<()>, _: u32| async { Ok(()) });
    let server = subject.start(Realtime::builder().manual_time().endpoint("events", endpoint).build());
    let add = json!({ "type": "event", "name": "add", "data": 1 });
    server.http("events").json(&add).answered(204);
    server.http("events").json(&json!({ "path": "add" })).fails(404, "NOT_FOUND");
}

fn post<'a>(server: &'a Server, name: &str, data: &Value) -> HttpRequest<'a> {
    server.http("http").json(&json!({ "type": "event", "name": name, "data": data }))
}
