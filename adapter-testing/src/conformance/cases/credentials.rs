//! Credentials that end, and fresh ones in their place.

use super::{Server, Subject, api_http, builder, frames::expect_close, works};
use crate::conformance::{RawClient, Request, Seen};
use realtime_core::{Accepted, Config, Context, Error, Next, Principal, Reject};
use serde_json::{Value, json};
use std::time::Duration;

/// Lets in by tokens such as `ann:60`: a name, and a number of seconds. Who has none is let in as nobody, without end.
pub(super) async fn bearer(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    let Some(token) = context.bearer().map(|token| token.into_owned()) else { return next.run(context).await };
    let (name, seconds) = token.split_once(':').ok_or_else(|| Reject::forbidden("the token is none"))?;
    let seconds = seconds.parse().map_err(Error::internal)?;
    // What an earlier run has set is not there.
    assert_eq!(context.set(Principal(name.to_owned())), None);
    context.expires_in(Duration::from_secs(seconds));
    next.run(context).await
}

/// Nobody is pinged, however much time passes.
pub(super) fn patient(config: &mut Config) {
    config.ping_interval = HOUR;
    config.idle_timeout = HOUR;
    config.comment_interval = HOUR;
}

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn start(subject: &Subject) -> (Server, Seen) {
    let (builder, seen, _) = builder(patient);
    (subject.start(builder.middleware(bearer).build()), seen)
}

pub(super) fn with_token<'a>(server: &'a Server, id: &str, token: &str) -> Request<'a> {
    server.request(id).header("authorization", &format!("Bearer {token}"))
}

/// A client that can be asked for a fresh token.
#[track_caller]
fn welcomed(request: Request<'_>, subprotocol: &str) -> RawClient {
    let mut client = request.subprotocol(subprotocol).connect();
    assert_eq!(client.recv_packet()["type"], "welcome");
    client
}

#[track_caller]
fn json_client(server: &Server, token: &str) -> RawClient {
    welcomed(with_token(server, "lab", token), "realtime.v1.json")
}

#[track_caller]
fn asked(client: &mut RawClient) -> u64 {
    let asked = client.recv_packet();
    assert_eq!(asked["type"], "reauthenticate", "{asked}");
    asked["withinMs"].as_u64().expect("a time")
}

fn answer(client: &mut RawClient, token: &str) {
    client.packet(json!({ "type": "authenticate", "token": token }));
}

fn seconds(server: &Server, seconds: u64) {
    server.advance(Duration::from_secs(seconds));
}

pub fn a_fresh_token_is_asked_for_and_extends_the_connection(subject: &Subject) {
    let (server, ..) = start(subject);
    let clients = [
        json_client(&server, "ann:100"),
        welcomed(with_token(&server, "lab", "ann:100"), "realtime.v1.msgpack"),
        welcomed(server.request("lab"), "realtime.v1.json, bearer64.YW5uOjEwMA"),
    ];
    seconds(&server, 69);
    let mut clients = clients.map(|mut client| {
        works(&mut client);
        client
    });
    seconds(&server, 1);
    for client in &mut clients {
        assert_eq!(asked(client), 30_000);
        answer(client, "ann:120");
        works(client);
    }
    seconds(&server, 89);
    clients.iter_mut().for_each(works);
    // And so on, as often as it takes.
    seconds(&server, 1);
    for client in &mut clients {
        assert_eq!(asked(client), 30_000);
        answer(client, "ann:3600");
        works(client);
    }
    seconds(&server, 60);
    clients.iter_mut().for_each(works);
    assert_eq!(server.realtime().connections(), 3);
}

pub fn a_connection_ends_with_its_credentials(subject: &Subject) {
    let (server, seen) = start(subject);
    let mut client = json_client(&server, "ann:100");
    let mut bare = with_token(&server, "lab", "ann:100").connect();
    let mut plain = with_token(&server, "echo", "ann:100").connect();
    let mut other = server.connect("lab");
    // All are served before time goes on: a connection that is not begins with a time limit.
    works(&mut bare);
    works(&mut other);
    plain.text("a");
    plain.expect_text("a");
    seconds(&server, 99);
    assert_eq!(asked(&mut client), 30_000);
    works(&mut bare);
    plain.text("a");
    plain.expect_text("a");
    seconds(&server, 1);
    for client in [&mut client, &mut bare, &mut plain] {
        assert_eq!(client.expect_close(3000), "the credentials have ended");
    }
    assert_eq!(seen.closed().code.get(), 3000);
    works(&mut other);
}

pub fn short_credentials_are_asked_for_at_half_of_their_time(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = json_client(&server, "ann:20");
    seconds(&server, 9);
    works(&mut client);
    seconds(&server, 1);
    assert_eq!(asked(&mut client), 10_000);
}

pub fn a_fresh_token_that_is_refused_closes(subject: &Subject) {
    let (server, ..) = start(subject);
    for (token, reason) in [
        ("nonsense", "the token is none"),
        ("ann:0", "the credentials have ended"),
        ("bob:60", "the token is that of another principal"),
        ("ann:60\nx-user: bob", "the token is none that a header may hold"),
        ("ann:long", "internal error"),
    ] {
        let mut client = json_client(&server, "ann:20");
        seconds(&server, 10);
        asked(&mut client);
        answer(&mut client, token);
        assert_eq!(client.expect_close(3000), reason);
    }
}

pub fn a_token_that_was_not_asked_for_is_refused(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = json_client(&server, "ann:20");
    answer(&mut client, "ann:3600");
    client.expect_error("FAILED_PRECONDITION");
    seconds(&server, 10);
    asked(&mut client);
    for token in ["", &"x".repeat(8 * 1024 + 1)] {
        answer(&mut client, token);
        client.expect_error("PARSE_ERROR");
    }
    client.packet(json!({ "type": "authenticate" }));
    client.expect_error("INVALID_ARGUMENT");
    // One answer to each question.
    answer(&mut client, "ann:20");
    answer(&mut client, "bob:20");
    client.expect_error("FAILED_PRECONDITION");
    works(&mut client);
    let mut nobody = server.connect("lab");
    for _ in 0..=32 {
        answer(&mut nobody, "ann:3600");
        nobody.expect_error("FAILED_PRECONDITION");
    }
    assert_eq!(nobody.expect_close(1008), "too many malformed messages");
}

pub fn a_stream_ends_with_its_credentials(subject: &Subject) {
    let (builder, ..) = api_http::builder(patient);
    let server = subject.start(builder.middleware(bearer).build());
    let error = json!({ "code": "UNAUTHENTICATED", "message": "the credentials have ended", "retryable": true });
    let request = || server.http("http").header("authorization", "Bearer ann:60");
    let mut events = request().query("path=events&roomId=general").events();
    let mut frames = request().header("accept", "text/event-stream; realtime=v1.json").begin().into_events();
    assert_eq!(frames.recv().json::<Value>()["type"], "welcome");
    while frames.recv().json::<Value>()["type"] != "event" {}
    seconds(&server, 60);
    let told = events.recv();
    assert_eq!((&*told.event, told.json::<Value>()), ("error", error.clone()));
    let mut told = frames.recv().json::<Value>();
    while told["type"] != "error" {
        told = frames.recv().json();
    }
    assert_eq!(told, json!({ "type": "error", "error": error }));
    events.expect_end();
    events.expect_retry(1);
    expect_close(&mut frames, 3000, "the credentials have ended");
    frames.expect_retry(1);
}

pub fn credentials_that_have_ended_are_401(subject: &Subject) {
    let (builder, ..) = api_http::builder(patient);
    let server = subject.start(builder.middleware(bearer).build());
    let mut refused = with_token(&server, "http", "ann:0").refused(401);
    assert_eq!(refused.body()["error"]["code"], "UNAUTHENTICATED");
    let request = || server.http("http").header("authorization", "Bearer ann:0");
    request().path("seven", &Value::Null).fails(401, "UNAUTHENTICATED");
    request().header("accept", "text/event-stream").fails(401, "UNAUTHENTICATED");
    server.http("http").header("authorization", "Bearer ann:1").path("seven", &Value::Null).gives(&json!(7));
}
