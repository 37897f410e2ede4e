//! Calls with an idempotency key.

use crate::conformance::{Gate, RawClient, Server, Subject};
use realtime_core::{
    Accepted, Call, Config, Context, Endpoint, Error, Next, Principal, Procedure, RateLimit, Realtime, Reject,
    Result,
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

/// Returns the number of runs.
const COUNT: Procedure<Input, u32> = Procedure::new("count").with_check(Input::check);
/// Returns the number of runs once the gate is open, with progress.
const WAIT: Procedure<(), u32> = Procedure::new("wait");

#[derive(Serialize, Deserialize)]
struct Input {
    a: u32,
    b: u32,
}

impl Input {
    fn check(&self) -> Result {
        if self.a == 0 { Err(Error::invalid_argument("a is 0")) } else { Ok(()) }
    }
}

struct State {
    runs: AtomicU32,
    gate: Gate,
}

impl State {
    fn run(&self) -> u32 {
        self.runs.fetch_add(1, Relaxed) + 1
    }
}

fn start(subject: &Subject) -> (Server, Gate, Arc<State>) {
    start_with(subject, |_| {}, |endpoint| endpoint)
}

fn start_with(
    subject: &Subject,
    change: impl FnOnce(&mut Config),
    guard: impl FnOnce(Endpoint<Arc<State>>) -> Endpoint<Arc<State>>,
) -> (Server, Gate, Arc<State>) {
    let gate = Gate::default();
    let state = Arc::new(State { runs: AtomicU32::new(0), gate: gate.clone() });
    let endpoint = Endpoint::new(Arc::clone(&state))
        .procedure(COUNT, |call: Call<Arc<State>>, _| async move { Ok(call.state().run()) })
        .procedure(WAIT, |call: Call<Arc<State>>, ()| async move {
            let run = call.state().run();
            call.state().gate.wait().await;
            call.progress(&run)?;
            Ok(run)
        });
    let mut config = Config::default();
    change(&mut config);
    let builder = Realtime::builder().config(config).middleware(login).manual_time();
    (subject.start(builder.endpoint("pay", guard(endpoint)).build()), gate, state)
}

/// Sets the principal from the header `x-user`.
async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    if let Some(user) = context.header("x-user") {
        let user = user.to_owned();
        context.set(Principal(user));
    }
    next.run(context).await
}

fn connect(server: &Server, user: &str) -> RawClient {
    server.request("pay").header("x-user", user).connect()
}

fn count(client: &mut RawClient, key: &str) -> Value {
    count_of(client, key, json!({ "a": 1, "b": 2 }))
}

/// Returns the output of the call, or the code of its error.
fn count_of(client: &mut RawClient, key: &str, input: Value) -> Value {
    client.packet(json!({ "type": "call", "id": "1", "path": "count", "input": input, "idempotencyKey": key }));
    let answer = client.recv_packet();
    assert_eq!(answer["id"], "1", "{answer}");
    if answer["type"] == "error" { answer["error"]["code"].clone() } else { answer["data"].clone() }
}

/// Starts a call that waits.
fn begin(client: &mut RawClient, id: &str, key: &str, timeout: u64) {
    let call = json!({ "type": "call", "id": id, "path": "wait", "idempotencyKey": key, "timeoutMs": timeout });
    client.packet(call);
    client.settle();
}

/// The key also works on another connection: the first may have been lost before the result arrived.
pub fn a_call_with_a_key_is_run_once(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = connect(&server, "ann");
    assert_eq!([count(&mut client, "a"), count(&mut client, "a"), count(&mut client, "b")], [1, 1, 2]);
    drop(client);
    let mut client = connect(&server, "ann");
    assert_eq!(count(&mut client, "a"), 1);
    assert_eq!(count(&mut connect(&server, "bob"), "a"), 3);
    drop(client);
    server.advance(Duration::from_secs(61));
    assert_eq!(count(&mut connect(&server, "ann"), "a"), 4);
}

pub fn a_key_is_its_connections_where_nobody_is_known(subject: &Subject) {
    let (server, ..) = start(subject);
    let (mut one, mut other) = (server.connect("pay"), server.connect("pay"));
    assert_eq!([count(&mut one, "a"), count(&mut one, "a")], [1, 1]);
    assert_eq!([count(&mut other, "a"), count(&mut one, "a")], [2, 1]);
}

/// Knowing a key gives no permission.
pub fn a_guard_decides_on_each_caller(subject: &Subject) {
    async fn admins(call: Call<Arc<State>>) -> Result {
        let is_admin = call.context().header("x-admin").is_some();
        if is_admin { Ok(()) } else { Err(Error::permission_denied("for admins")) }
    }
    let (server, ..) = start_with(subject, |_| {}, |endpoint| endpoint.guard(admins));
    let mut admin = server.request("pay").header("x-user", "ann").header("x-admin", "yes").connect();
    let mut other = connect(&server, "ann");
    assert_eq!(count(&mut other, "k"), "PERMISSION_DENIED");
    assert_eq!(count(&mut admin, "k"), 1);
    assert_eq!(count(&mut other, "k"), "PERMISSION_DENIED");
    assert_eq!(count(&mut admin, "k"), 1);
}

pub fn what_a_guard_counts_is_counted_for_each_caller(subject: &Subject) {
    let limit = RateLimit::new(2, Duration::from_secs(10));
    let (server, ..) = start_with(subject, |_| {}, |endpoint| endpoint.guard(limit));
    let mut client = connect(&server, "ann");
    assert_eq!([(); 3].map(|()| count(&mut client, "a")), [json!(1), json!(1), json!("RESOURCE_EXHAUSTED")]);
}

/// Inputs that differ only in the order of fields are equal.
pub fn a_key_used_with_another_input_is_refused(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = connect(&server, "ann");
    assert_eq!(count(&mut client, "a"), 1);
    assert_eq!(count_of(&mut client, "a", json!({ "a": 2, "b": 1 })), "INVALID_ARGUMENT");
    client.text(r#"{"type":"call","id":"2","path":"count","idempotencyKey":"a","input":{ "b":2, "a":1 }}"#);
    client.expect_result("2", 1);
}

pub fn input_that_is_wrong_uses_up_no_key(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = connect(&server, "ann");
    for input in [json!({ "a": 1 }), json!({ "a": 0, "b": 0 })] {
        assert_eq!(count_of(&mut client, "a", input), "INVALID_ARGUMENT");
    }
    assert_eq!(count(&mut client, "a"), 1);
}

/// A call that continues after its cancellation still counts: cancelling does not allow more calls at a time.
pub fn a_call_that_runs_on_counts_for_its_connection(subject: &Subject) {
    let (server, gate, state) = start_with(subject, |config| config.calls_per_connection = 4, |endpoint| endpoint);
    let mut client = connect(&server, "ann");
    for key in ["a", "b", "c", "d"] {
        begin(&mut client, "1", key, 5000);
        client.cancel("1");
        client.expect_failed("1", "CANCELLED");
    }
    for key in ["e", "f"] {
        assert_eq!(count(&mut client, key), "RESOURCE_EXHAUSTED");
    }
    // They are tasks of their own, which begin when the server comes to them.
    while state.runs.load(Relaxed) < 4 {
        client.settle();
    }
    // Others are not held up by that, and when they are over the places are free again.
    assert_eq!(count(&mut connect(&server, "bob"), "mine"), 5);
    gate.open();
    while count(&mut client, "after") == "RESOURCE_EXHAUSTED" {}
    assert_eq!(count(&mut client, "after"), 6);
}

pub fn each_caller_waits_as_long_as_it_wants(subject: &Subject) {
    let (server, gate, _) = start(subject);
    let (mut hasty, mut patient) = (connect(&server, "ann"), connect(&server, "ann"));
    begin(&mut hasty, "1", "k", 500);
    begin(&mut patient, "2", "k", 25_000);
    server.advance(Duration::from_secs(3));
    hasty.expect_failed("1", "DEADLINE_EXCEEDED");
    patient.settle();
    gate.open();
    patient.expect_result("2", 1);
}

/// There is no progress after the end, although the call continues: the id may be in use again.
pub fn nothing_comes_for_an_id_that_has_ended(subject: &Subject) {
    let (server, gate, _) = start(subject);
    let (mut client, mut other) = (connect(&server, "ann"), connect(&server, "ann"));
    begin(&mut client, "1", "k", 5000);
    begin(&mut other, "1", "k", 5000);
    client.cancel("1");
    client.expect_failed("1", "CANCELLED");
    gate.open();
    other.expect_result("1", 1);
    client.settle();
}
