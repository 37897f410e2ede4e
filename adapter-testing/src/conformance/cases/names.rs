//! Calls and subscriptions whose name stands in the path, behind the id.

use super::{Subject, start_http};
use crate::conformance::HttpRequest;
use http::Method;
use serde_json::{Value, json};

pub fn a_name_may_stand_in_the_path(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    server.http("http/seven").gives(&json!(7));
    let input = json!({ "name": "Ann & co", "number": 7 });
    server.http("http/echo").query("name=Ann+%26+co&number=7").gives(&input);
    let json = "input=%7B%22name%22%3A%22Ann%20%26%20co%22%2C%22number%22%3A7%7D";
    server.http("http/echo").query(json).gives(&input);
    // The query has no name: a pair that is called so is a part of the input.
    server.http("http/seven").query("path=nothing").gives(&json!(7));
    server.http("http").path("echo", &input).gives(&input);
}

pub fn the_body_is_the_input_of_a_name_in_the_path(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let input = json!({ "name": "é\u{1f600}", "number": 7 });
    server.http("http/echo").json(&input).gives(&input);
    server
        .http("http/messages.send")
        .json(&json!({ "roomId": "a", "username": "ann", "content": "hi" }))
        .answered(200);
    server.http("http/seven").json(&Value::Null).gives(&json!(7));
    server.http("http/seven").body("").gives(&json!(7));
    server.http("http/echo").body("\u{feff} {\"number\": 7.0}\n").gives(&json!({ "name": "", "number": 7 }));
    // Not the body of a call that names what it calls.
    server
        .http("http/echo")
        .json(&json!({ "path": "seven", "number": 1 }))
        .gives(&json!({ "name": "", "number": 1 }));
    let body = server.http("http/echo").json(&json!({ "number": -1 })).fails(400, "INVALID_ARGUMENT").json();
    assert!(body["error"]["message"].as_str().is_some_and(|message| message.contains("number")), "{body}");
    for body in ["{", "seven", "{} {}"] {
        server.http("http/echo").body(body).fails(400, "PARSE_ERROR");
    }
    server.http("http/echo").body(&b"{\"name\":\"\xff\"}"[..]).fails(400, "PARSE_ERROR");
    server.http("http/echo").header("content-type", "text/plain").body("{}").fails(415, "UNSUPPORTED_DATA");
}

pub fn a_name_in_the_path_is_percent_decoded(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    server.http("%68ttp/%73even").gives(&json!(7));
    server.http("http/messages%2Esend").json(&json!(7)).fails(400, "INVALID_ARGUMENT");
    for name in ["a%2Fb", "%zz", "%ff", "seven%20"] {
        server.http(&format!("http/{name}")).fails(404, "NOT_FOUND");
    }
}

pub fn a_name_in_the_path_is_refused_as_one_in_the_query_is(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    for id in ["http/nothing", "nobody/seven", "text/seven"] {
        server.http(id).fails(404, "NOT_FOUND");
        server.http(id).json(&Value::Null).fails(404, "NOT_FOUND");
    }
    let long = format!("http/{}", "x".repeat(257));
    server.http(&long).fails(400, "INVALID_ARGUMENT");
    server.http(&long).json(&Value::Null).fails(400, "INVALID_ARGUMENT");
    // Nothing is read for it.
    server
        .http("http/nothing")
        .header("content-type", "text/plain")
        .body(vec![b' '; 1024 * 1024])
        .fails(404, "NOT_FOUND");
    for (request, allow) in [
        (server.http("http/count"), "POST"),
        (server.http("http/ticks").query("input=1"), "GET"),
        (server.http("http/ticks").json(&json!(1)), "GET"),
        (server.http("http/seven").method(Method::DELETE), "GET, HEAD, POST"),
    ] {
        assert_eq!(request.fails(405, "METHOD_MISMATCH").header("allow").as_deref(), Some(allow));
    }
    server.http("nobody/seven").method(Method::PUT).fails(404, "NOT_FOUND");
    server.http("http/admin.secret").fails(401, "UNAUTHENTICATED");
    server.http("http/admin.secret").header("x-user", "nobody").fails(401, "UNAUTHENTICATED");
    server
        .http("http/count")
        .header("origin", "https://evil.example")
        .json(&json!({}))
        .fails(403, "PERMISSION_DENIED");
    let message = server.http("http/typing").json(&json!("a")).fails(404, "NOT_FOUND").json()["error"]["message"]
        .to_string();
    assert!(message.contains("is an event"), "{message}");
    notes.nothing_more();
}

pub fn a_subscription_may_be_named_in_the_path(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    let mut events = server.http("http/ticks").query("input=2").header("last-event-id", "lab:1").events();
    events.expect_with(Some("lab:2"), "tick", "2");
    events.expect_with(Some("end"), "complete", "null");
    events.expect_end();
    server.http("http/nothing").header("accept", "text/event-stream").fails(404, "NOT_FOUND");
    server.http("http/seven").header("accept", "text/event-stream").fails(405, "METHOD_MISMATCH");
}

pub fn a_key_of_a_name_in_the_path_is_in_the_header(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let count =
        || server.http("http/count").header("x-user", "ann").header("idempotency-key", "k").json(&json!({}));
    count().gives(&json!(1));
    count().gives(&json!(1));
    notes.expect("ran 1");
    notes.nothing_more();
    count().header("idempotency-key", &"k".repeat(129)).fails(400, "INVALID_ARGUMENT");
}

pub fn a_probe_of_a_name_in_the_path_says_whether_it_exists(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let head = |id: &str| -> HttpRequest<'_> { server.http(id).method(Method::HEAD) };
    for id in ["http/seven", "http/count", "http/ticks"] {
        head(id).query("number=x").answered(204);
    }
    for id in ["http/nothing", "nobody/seven", "text/seven"] {
        head(id).answered(404);
    }
    notes.nothing_more();
}

pub fn nothing_else_is_behind_an_id(subject: &Subject) {
    let (server, ..) = start_http(subject, |_| {});
    for id in ["http/seven", "http/http", "text/http"] {
        let mut refused = server.request(id).refused(404);
        assert_eq!(refused.body()["error"]["code"], "NOT_FOUND");
    }
    server.http("http/seven/more").answered(404);
    server.http("http/seven/").answered(404);
    server.http("/seven").answered(404);
}
