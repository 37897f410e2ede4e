//! Calls from the server, which a client answers.

use super::{each_form, start, start_with};
use crate::{
    block_on,
    conformance::{RawClient, Server, Subject, api::CONFIRM},
};
use realtime_core::{AnyConnection, Result};
use serde_json::{Value, json};
use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Returns the only connection.
#[track_caller]
fn connection(server: &Server) -> AnyConnection {
    server.realtime().filter(|_| true).pop().expect("a client is connected")
}

/// Checks that the next frame is a call from the server. Returns its id.
#[track_caller]
fn expect_call(client: &mut RawClient, question: &str) -> String {
    let packet = client.recv_packet();
    let id = packet["id"].as_str().unwrap_or_default().to_owned();
    let call = json!({ "type": "call", "id": id, "path": "confirm", "input": question, "timeoutMs": 5000 });
    assert_eq!(packet, call);
    assert!(!id.is_empty());
    id
}

fn answer(client: &mut RawClient, id: &str, data: impl serde::Serialize) {
    client.packet(json!({ "type": "result", "id": id, "data": data }));
}

/// Starts a call, which is sent when it is first polled.
fn begin<T>(call: &mut Pin<&mut impl Future<Output = Result<T>>>) {
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "nobody has answered yet");
}

pub fn the_client_answers_a_call_of_the_server(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        for said in [true, false] {
            client.call("1", "ask", "sure?");
            let id = expect_call(&mut client, "sure?");
            answer(&mut client, &id, said);
            client.expect_result("1", said);
        }
    }
    let mut client = server.connect("api");
    client.call("1", "ask", "sure?");
    client.expect_text(r#"{"type":"call","id":"c1","path":"confirm","input":"sure?","timeoutMs":5000}"#);
}

/// Results reach their callers in the order of the answers.
pub fn several_calls_of_the_server_wait_at_once(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    client.call("1", "ask", "first?");
    let first = expect_call(&mut client, "first?");
    client.call("2", "ask", "second?");
    let second = expect_call(&mut client, "second?");
    assert_ne!(first, second);
    answer(&mut client, &second, true);
    client.expect_result("2", true);
    answer(&mut client, &first, false);
    client.expect_result("1", false);
}

pub fn an_error_of_the_client_is_that_of_the_call(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "ask", "sure?");
        let id = expect_call(&mut client, "sure?");
        let error = json!({ "code": "BUSY", "message": "later", "details": { "in": 7 }, "retryable": true, "retryAfterMs": 50 });
        client.packet(json!({ "type": "error", "id": id, "error": error }));
        assert_eq!(client.expect_failed("1", "BUSY"), error);
    }
}

pub fn an_answer_of_another_type_is_an_error_of_the_call(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "ask", "sure?");
        let id = expect_call(&mut client, "sure?");
        answer(&mut client, &id, "perhaps");
        client.expect_failed("1", "INVALID_ARGUMENT");
        client.echoes();
    }
}

/// The client receives `cancel` when the time is over, not a tick earlier; a later answer is ignored.
pub fn a_client_that_does_not_answer_in_time_is_told_and_waited_for_no_more(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    client.call("1", "ask", "sure?");
    let id = expect_call(&mut client, "sure?");
    server.advance(Duration::from_secs(5));
    client.settle();
    server.advance(Duration::from_millis(250));
    client.expect_packet(json!({ "type": "cancel", "id": id }));
    client.expect_failed("1", "DEADLINE_EXCEEDED");
    answer(&mut client, &id, true);
    client.echoes();
}

pub fn a_client_that_is_gone_is_unavailable(subject: &Subject) {
    let (server, ..) = start(subject);
    for close in [false, true] {
        let mut client = server.connect("api");
        client.echoes();
        let connection = connection(&server);
        let mut call = pin!(connection.call(CONFIRM, "there?".into()));
        begin(&mut call);
        expect_call(&mut client, "there?");
        match close {
            true => client.close(1000, "bye"),
            false => drop(client),
        }
        let error = block_on(call).expect_err("nobody answers");
        assert_eq!((error.code().as_str(), error.is_retryable()), ("UNAVAILABLE", true));
        let error = block_on(connection.call(CONFIRM, "still there?".into())).expect_err("nobody is there");
        assert_eq!(error.code().as_str(), "UNAVAILABLE");
        while server.realtime().connections() > 0 {
            std::thread::yield_now();
        }
    }
}

pub fn the_client_is_told_of_a_call_that_is_dropped(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    client.echoes();
    let connection = connection(&server);
    let id = {
        let mut call = pin!(connection.call(CONFIRM, "sure?".into()));
        begin(&mut call);
        expect_call(&mut client, "sure?")
    };
    client.expect_packet(json!({ "type": "cancel", "id": id }));
    answer(&mut client, &id, true);
    client.echoes();
}

/// Cancelling a call cancels the server's call inside it.
pub fn a_cancelled_call_gives_up_what_it_asks(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    client.call("1", "ask", "sure?");
    let id = expect_call(&mut client, "sure?");
    client.cancel("1");
    client.expect_packet(json!({ "type": "cancel", "id": id }));
    client.expect_failed("1", "CANCELLED");
    answer(&mut client, &id, true);
    client.packet(json!({ "type": "error", "id": id, "error": { "code": "LATE", "message": "" } }));
    client.echoes();
}

/// Answers with ids that were used before, or that belong to the client's own calls, are ignored.
pub fn answers_that_nobody_waits_for_are_ignored(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    client.call("1", "wait", "a");
    seen.began("a");
    client.call("2", "ask", "sure?");
    let id = expect_call(&mut client, "sure?");
    for other in ["1", "2", "c0", "c99", "c", "cc1", "", "c-1", "c18446744073709551616", "never"] {
        answer(&mut client, other, "wrong");
        client.packet(json!({ "type": "error", "id": other, "error": { "code": "WRONG", "message": "" } }));
    }
    // Of those, an id that is empty is no id.
    client.expect_error("PARSE_ERROR");
    client.expect_error("PARSE_ERROR");
    client.echoes();
    answer(&mut client, &id, true);
    answer(&mut client, &id, false);
    client.expect_result("2", true);
    answer(&mut client, &id, false);
    client.cancel("1");
    client.expect_failed("1", "CANCELLED");
}

pub fn too_many_calls_of_the_server_are_refused_at_once(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.calls_per_connection = 2);
    let mut client = server.connect("api");
    client.echoes();
    let connection = connection(&server);
    let (mut first, mut second) =
        (pin!(connection.call(CONFIRM, "1".into())), pin!(connection.call(CONFIRM, "2".into())));
    begin(&mut first);
    begin(&mut second);
    let error = block_on(connection.call(CONFIRM, "3".into())).expect_err("two wait already");
    assert_eq!((error.code().as_str(), error.is_retryable()), ("RESOURCE_EXHAUSTED", true));
    let id = expect_call(&mut client, "1");
    expect_call(&mut client, "2");
    answer(&mut client, &id, true);
    assert!(block_on(first).is_ok_and(|said| said));
    let mut third = pin!(connection.call(CONFIRM, "3".into()));
    begin(&mut third);
    let id = expect_call(&mut client, "3");
    answer(&mut client, &id, false);
    assert!(block_on(third).is_ok_and(|said| !said));
    assert!(matches!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
}

/// Calls of the client wait while `on_open` waits for the answer.
pub fn the_server_may_ask_before_it_lets_a_client_in(subject: &Subject) {
    let (server, ..) = start(subject);
    for welcome in [true, false] {
        let mut client = server.request("api").header("x-open", "ask").connect();
        client.call("1", "echo", "a");
        let id = expect_call(&mut client, "may it come in?");
        client.settle();
        answer(&mut client, &id, welcome);
        if welcome {
            client.expect_result("1", "a");
            continue;
        }
        client.expect_error("PERMISSION_DENIED");
        assert_eq!(client.expect_close(1008), "it may not");
    }
}

/// Messages of the handler are not delayed meanwhile.
pub fn a_handlers_client_is_asked_too(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    super::works(&mut client);
    let connection = connection(&server);
    let mut call = pin!(connection.call(CONFIRM, "sure?".into()));
    begin(&mut call);
    let id = expect_call(&mut client, "sure?");
    super::works(&mut client);
    answer(&mut client, &id, true);
    assert!(block_on(call).is_ok_and(|said| said));
}

pub fn a_plain_connection_cannot_be_asked(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("echo");
    client.text("hello");
    client.expect_text("hello");
    let error = block_on(connection(&server).call(CONFIRM, "sure?".into())).expect_err("it has no envelope");
    assert_eq!(error.code().as_str(), "UNIMPLEMENTED");
    client.text(&Value::Null.to_string());
    client.expect_text("null");
}
