//! Rate limits, and limits of connections by address.

use crate::conformance::{RawClient, Server, Subject};
use realtime_core::{
    Call, Config, Endpoint, FnConnection, ForwardingHeader, Procedure, Rate, RateLimit, Realtime, Result,
    handler_fn, validate::Invalid,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

const ADD: Procedure<u32, u32> = Procedure::new("add");
const COUNT: Procedure<(), u32> = Procedure::query("count");
const DEAR: Procedure<(), ()> = Procedure::new("dear");
const SIGN_UP: Procedure<SignUp, ()> = Procedure::new("sign_up").with_check(SignUp::check);

#[derive(Serialize, Deserialize)]
struct SignUp {
    name: String,
    age: u32,
}

impl SignUp {
    fn check(&self) -> Result {
        let mut invalid = Invalid::new();
        if self.name.is_empty() {
            invalid = invalid.field("name", "is empty");
        }
        if self.age < 18 {
            invalid = invalid.field("age", "is under 18");
        }
        invalid.into_result()
    }
}

type Counter = Arc<AtomicU32>;

fn endpoint(counter: Counter) -> Endpoint<Counter> {
    Endpoint::new(counter)
        .procedure(ADD, |call: Call<Counter>, amount| async move {
            Ok(call.state().fetch_add(amount, Relaxed) + amount)
        })
        .procedure(COUNT, |call: Call<Counter>, ()| async move { Ok(call.state().load(Relaxed)) })
        .procedure(DEAR, |_, ()| async { Ok(()) })
        .procedure(SIGN_UP, |_, _| async { Ok(()) })
}

fn start(
    subject: &Subject,
    change: impl FnOnce(&mut Config),
    guard: impl FnOnce(Endpoint<Counter>) -> Endpoint<Counter>,
) -> Server {
    let mut config = Config::default();
    change(&mut config);
    let echo = handler_fn(|connection: FnConnection<String, String>| async move {
        while let Some(text) = connection.recv().await {
            connection.send(text)?;
        }
        Ok(())
    });
    let realtime = Realtime::builder()
        .config(config)
        .endpoint("counter", guard(endpoint(Counter::default())))
        .handler("echo", echo)
        .manual_time()
        .build();
    subject.start(realtime)
}

fn limited(subject: &Subject, limit: RateLimit) -> Server {
    start(subject, |_| {}, |endpoint| endpoint.guard(limit))
}

#[track_caller]
fn expect_add(client: &mut RawClient, expected: u32) {
    client.call("1", "add", 1);
    client.expect_result("1", expected);
}

/// Checks that the error has a delay, and that a retry after it succeeds.
#[track_caller]
fn expect_exhausted(client: &mut RawClient, path: &str) -> Duration {
    client.call("1", path, 1);
    let error = client.expect_failed("1", "RESOURCE_EXHAUSTED");
    assert_eq!(error["retryable"], true, "{error}");
    Duration::from_millis(error["retryAfterMs"].as_u64().expect("a time"))
}

pub fn a_connection_has_a_bucket_of_its_own(subject: &Subject) {
    let server = limited(subject, RateLimit::new(2, Duration::from_secs(10)));
    let (mut busy, mut other) = (server.connect("counter"), server.connect("counter"));
    expect_add(&mut busy, 1);
    expect_add(&mut busy, 2);
    let after = expect_exhausted(&mut busy, "add");
    assert_eq!(after, Duration::from_secs(5));
    expect_add(&mut other, 3);
    server.advance(after - Duration::from_millis(250));
    expect_exhausted(&mut busy, "add");
    server.advance(Duration::from_millis(250));
    expect_add(&mut busy, 4);
}

pub fn a_procedure_may_have_a_bucket_of_its_own_and_a_cost(subject: &Subject) {
    let by_name = RateLimit::new(1, Duration::from_secs(10)).by_name();
    let costs = RateLimit::new(10, Duration::from_secs(10)).with_cost(|name| if name == "dear" { 9 } else { 1 });
    let server = start(subject, |_| {}, |endpoint| endpoint.guard(by_name).guard(costs));
    let mut client = server.connect("counter");
    client.call("1", "dear", Value::Null);
    client.expect_result("1", Value::Null);
    expect_exhausted(&mut client, "dear");
    expect_add(&mut client, 1);
    client.call("1", "count", Value::Null);
    let error = client.expect_failed("1", "RESOURCE_EXHAUSTED");
    assert_eq!(error["details"], json!({ "cost": 1, "capacity": 10, "remaining": 0 }));
}

/// Another connection from the same address shares its limit.
pub fn an_address_has_one_bucket_for_all_its_connections(subject: &Subject) {
    if !subject.capabilities().peer_address {
        return;
    }
    let server = limited(subject, RateLimit::new(1, Duration::from_secs(10)).by_peer());
    expect_add(&mut server.connect("counter"), 1);
    expect_exhausted(&mut server.connect("counter"), "add");
}

/// Any client can send the header: it counts only from a trusted proxy.
pub fn the_word_of_a_trusted_proxy_is_taken_for_the_address(subject: &Subject) {
    if !subject.capabilities().peer_address {
        return;
    }
    let add_from = |server: &Server, forwarded: &str| {
        let mut client = server.request("counter").header("x-forwarded-for", forwarded).connect();
        client.call("1", "add", 1);
        client.recv_packet()["type"].clone()
    };
    let limit = || RateLimit::new(1, Duration::from_secs(10)).by_peer();
    let server = limited(subject, limit());
    assert_eq!(add_from(&server, "203.0.113.1"), "result");
    assert_eq!(add_from(&server, "203.0.113.2"), "error");

    let server = start(subject, trust, |endpoint| endpoint.guard(limit()));
    assert_eq!(add_from(&server, "203.0.113.1"), "result");
    assert_eq!(add_from(&server, "203.0.113.2"), "result");
    assert_eq!(add_from(&server, "203.0.113.2"), "error");
    // What the client says of itself comes before what the proxy says.
    assert_eq!(add_from(&server, "198.51.100.9, 203.0.113.1"), "error");
}

/// A proxy writes one header, and passes on the other as forged by a client.
pub fn only_the_forwarding_header_that_is_configured_is_read(subject: &Subject) {
    if !subject.capabilities().peer_address {
        return;
    }
    for (header, other, value) in [
        (ForwardingHeader::XForwardedFor, "forwarded", "203.0.113.1"),
        (ForwardingHeader::Forwarded, "x-forwarded-for", "for=203.0.113.1"),
    ] {
        let change = |config: &mut Config| {
            trust(config);
            config.forwarding_header = header;
            config.connections_per_peer = 1;
        };
        let server = start(subject, change, |endpoint| endpoint);
        let written = if other == "forwarded" { "x-forwarded-for" } else { "forwarded" };
        let request = |forged| server.request("counter").header(written, value).header(other, forged);
        let _first = request("198.51.100.1").connect();
        request("for=198.51.100.2").refused(429);
        request("198.51.100.3").refused(429);
        server.request("counter").header(other, "203.0.113.1").connect();
    }
}

fn trust(config: &mut Config) {
    config.trusted_proxies = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network")).into();
}

/// A host has a whole /64 of IPv6: its connections count as those of one client.
pub fn addresses_of_one_network_are_one_client(subject: &Subject) {
    if !subject.capabilities().peer_address {
        return;
    }
    let change = |config: &mut Config| {
        trust(config);
        config.connections_per_peer = 1;
    };
    let server = start(subject, change, |endpoint| endpoint);
    let request = |address| server.request("counter").header("x-forwarded-for", address);
    let _first = request("2001:db8::1").connect();
    request("2001:db8::2").refused(429);
    request("2001:db8:0:1::1").connect();
}

/// The error has the call's id, and none for a message; frames that end something do not count.
pub fn too_many_messages_of_a_connection_are_refused(subject: &Subject) {
    let rate = Rate::new(1, Duration::from_secs(1)).with_burst(2);
    let server = start(subject, |config| config.rates.messages_per_connection = Some(rate), |endpoint| endpoint);
    let (mut client, mut other) = (server.connect("counter"), server.connect("counter"));
    expect_add(&mut client, 1);
    expect_add(&mut client, 2);
    let after = expect_exhausted(&mut client, "add");
    client.emit("any", 1);
    client.expect_error("RESOURCE_EXHAUSTED");
    client.cancel("none");
    expect_add(&mut other, 3);
    server.advance(after);
    expect_add(&mut client, 4);

    let mut client = server.connect("echo");
    for _ in 0..2 {
        client.value(&"a");
        client.expect_value(&"a");
    }
    client.value(&"a");
    client.expect_error("RESOURCE_EXHAUSTED");
    server.advance(Duration::from_secs(1));
    client.value(&"b");
    client.expect_value(&"b");
}

pub fn too_many_bytes_of_a_connection_are_refused(subject: &Subject) {
    let rate = Rate::new(200, Duration::from_secs(1));
    let server = start(subject, |config| config.rates.bytes_per_connection = Some(rate), |endpoint| endpoint);
    let mut client = server.connect("echo");
    let text = "x".repeat(120);
    client.value(&text);
    client.expect_value(&text);
    client.value(&text);
    client.expect_error("RESOURCE_EXHAUSTED");
    client.value(&"x".repeat(300));
    client.expect_error("FAILED_PRECONDITION");
    server.advance(Duration::from_secs(1));
    client.value(&text);
    client.expect_value(&text);
}

pub fn too_many_requests_of_an_address_are_429(subject: &Subject) {
    if !subject.capabilities().peer_address {
        return;
    }
    let rate = Rate::new(2, Duration::from_secs(10));
    let server = start(subject, |config| config.rates.requests_per_peer = Some(rate), |endpoint| endpoint);
    let first = server.connect("counter");
    server.connect("counter").close(1000, "");
    let mut refused = server.request("counter").refused(429);
    assert_eq!(refused.header("retry-after").as_deref(), Some("5"));
    assert_eq!(refused.body()["error"]["code"], "RESOURCE_EXHAUSTED");
    server.advance(Duration::from_secs(5));
    server.connect("counter").close(1000, "");
    first.close(1000, "");
}

pub fn every_field_that_does_not_pass_its_check_is_named(subject: &Subject) {
    let server = start(subject, |_| {}, |endpoint| endpoint);
    let mut client = server.connect("counter");
    client.call("1", "sign_up", json!({ "name": "", "age": 7 }));
    let error = client.expect_failed("1", "INVALID_ARGUMENT");
    let fields = json!([{ "path": "name", "message": "is empty" }, { "path": "age", "message": "is under 18" }]);
    assert_eq!(error["details"], fields);
    client.call("1", "sign_up", json!({ "name": "Ann", "age": 18 }));
    client.expect_result("1", Value::Null);
}
