//! The budget of memory: what is refused while it is used up.

use crate::conformance::{RawClient, Server, Subject};
use futures_util::stream;
use realtime_core::{Call, Config, Endpoint, Procedure, Realtime, Subscription};
use serde_json::{Value, json};
use std::time::Duration;

/// Returns a kilobyte, which is stored for a call with a key.
const KEEP: Procedure<(), String> = Procedure::new("keep");
const READ: Procedure<(), u32> = Procedure::query("read");
const TICKS: Subscription<(), u32> = Subscription::new("ticks");

fn start(subject: &Subject) -> Server {
    let mut config = Config::default();
    config.memory = 64 * 1024;
    let endpoint = Endpoint::new(())
        .procedure(KEEP, |_: Call<()>, ()| async { Ok("x".repeat(1000)) })
        .procedure(READ, |_: Call<()>, ()| async { Ok(1) })
        .subscription(TICKS, |_: Call<()>, ()| async { Ok(stream::iter([1])) });
    subject.start(Realtime::builder().config(config).endpoint("api", endpoint).manual_time().build())
}

/// Uses up the budget with stored outcomes, which nothing but time frees.
#[track_caller]
fn fill(client: &mut RawClient) -> Value {
    for number in 0..100 {
        let key = number.to_string();
        client.packet(json!({ "type": "call", "id": "1", "path": "keep", "input": null, "idempotencyKey": key }));
        let answer = client.recv_packet();
        if answer["type"] == "error" {
            return answer["error"].clone();
        }
    }
    panic!("a hundred outcomes of a kilobyte and more were stored in 64");
}

/// The outcomes are dropped after their window.
fn free(server: &Server) {
    server.advance(Duration::from_secs(61));
}

pub fn calls_and_subscriptions_are_refused_without_memory(subject: &Subject) {
    let server = start(subject);
    let mut client = server.connect("api");
    let error = fill(&mut client);
    assert_eq!((&error["code"], &error["retryable"]), (&json!("RESOURCE_EXHAUSTED"), &json!(true)));
    assert_eq!(error["retryAfterMs"], 1000);
    client.call("2", "read", Value::Null);
    client.expect_failed("2", "RESOURCE_EXHAUSTED");
    client.subscribe("3", "ticks", Value::Null);
    client.expect_failed("3", "RESOURCE_EXHAUSTED");
    // Whoever is there is still answered.
    client.packet(json!({ "type": "ping" }));
    client.expect_packet(json!({ "type": "pong" }));
    let memory = server.realtime().stats().memory;
    assert_eq!(memory.used, memory.outcomes);
    assert!(memory.used > 64 * 1024 * 15 / 16 / 100 * 95, "{memory:?}");
    assert_eq!((memory.refused, memory.closed), (3, 0));

    client.close(1000, "");
    free(&server);
    assert_eq!(server.realtime().stats().memory.used, 0);
    let mut client = server.connect("api");
    client.call("2", "read", Value::Null);
    client.expect_result("2", 1);
}

pub fn requests_are_refused_without_memory(subject: &Subject) {
    let server = start(subject);
    let mut client = server.connect("api");
    fill(&mut client);
    let mut refused = server.request("api").refused(503);
    assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
    assert_eq!(refused.body()["error"]["code"], "RESOURCE_EXHAUSTED");
    server.http("api").path("read", &Value::Null).fails(503, "RESOURCE_EXHAUSTED");
    server.http("api").json(&json!({ "path": "keep" })).fails(503, "RESOURCE_EXHAUSTED");
    server.http("api").path("ticks", &Value::Null).events().expect_later("RESOURCE_EXHAUSTED", 1);

    client.close(1000, "");
    free(&server);
    server.http("api").path("read", &Value::Null).gives(&json!(1));
}
