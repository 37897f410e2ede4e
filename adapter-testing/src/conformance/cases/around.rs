//! Middleware around calls.

use crate::conformance::{Server, Subject, client::PATIENCE};
use futures_util::stream;
use realtime_core::{
    Accepted, Answered, Call, Context, Endpoint, Error, Event, Next, NextCall, Principal, Procedure, Realtime,
    Reject, Result, Subscription,
};
use serde_json::{Value, json};
use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

const HALVE: Procedure<u32, u32> = Procedure::new("halve");
const ROLE: Procedure<(), Option<String>> = Procedure::query("role");
const WAIT: Procedure<(), ()> = Procedure::new("wait").with_timeout(Duration::from_secs(3));
const COUNT: Subscription<u32, u32> = Subscription::new("count");
const POKE: Event<u32> = Event::new("poke");

struct Notes(Sender<String>);

struct Seen(Receiver<String>);

struct Role(&'static str);

impl Notes {
    fn note(&self, text: impl Into<String>) {
        let _ = self.0.send(text.into());
    }
}

impl Seen {
    #[track_caller]
    fn expect(&self, expected: &[&str]) {
        for text in expected {
            assert_eq!(&self.0.recv_timeout(PATIENCE).expect("it is noted"), text);
        }
        assert_eq!(self.0.try_recv().ok(), None);
    }
}

fn start(subject: &Subject) -> (Server, Seen) {
    let (notes, seen) = channel();
    let nested = Endpoint::new(Notes(notes.clone())).procedure(HALVE, halve).around(
        |call: Call<Notes>, next: NextCall| async move {
            call.state().note("inner");
            next.run().await
        },
    );
    let api = Endpoint::new(Notes(notes))
        .around(log)
        .around(roles)
        .guard(|call: Call<Notes>| async move {
            let barred = call.context().header("x-user") == Some("barred");
            if barred { Err(Error::permission_denied("barred")) } else { Ok(()) }
        })
        .procedure(HALVE, halve)
        .procedure(WAIT, |_, ()| std::future::pending())
        .procedure(
            ROLE,
            |call: Call<Notes>, ()| async move { Ok(call.var::<Role>().map(|role| role.0.to_owned())) },
        )
        .subscription(COUNT, |_, to| async move { Ok(stream::iter(0..to)) })
        .on(POKE, |_: Call<Notes>, number| async move {
            if number > 0 { Ok(()) } else { Err(Error::failed_precondition("nothing")) }
        })
        .nest("nested", nested);
    let realtime = Realtime::builder().manual_time().middleware(login).endpoint("api", api).build();
    (subject.start(realtime), Seen(seen))
}

async fn halve(call: Call<Notes>, number: u32) -> Result<u32> {
    call.state().note("runs");
    if number.is_multiple_of(2) { Ok(number / 2) } else { Err(Error::failed_precondition("it is odd")) }
}

async fn log(call: Call<Notes>, next: NextCall) -> Result<Answered> {
    let start = call.realtime().now();
    let outcome = next.run().await;
    let code = outcome.as_ref().err().map_or("OK", |error| error.code().as_str());
    let user = call.context().principal().map_or("nobody", |user| &user.0);
    let seconds = (call.realtime().now() - start).as_secs();
    call.state().note(format!("{} by {user}: {code} in {seconds} s", call.name()));
    outcome
}

async fn roles(call: Call<Notes>, next: NextCall) -> Result<Answered> {
    match call.context().header("x-user") {
        Some("eve") => return Err(Error::permission_denied("not eve")),
        Some("ann") => call.set(Role("admin")),
        _ => {}
    }
    next.run().await
}

/// Sets the principal from the header `x-user`.
async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    if let Some(user) = context.header("x-user").map(str::to_owned) {
        context.set(Principal(user));
    }
    next.run(context).await
}

pub fn a_middleware_sees_each_call_and_its_outcome(subject: &Subject) {
    let (server, seen) = start(subject);
    let mut client = server.request("api").header("x-user", "ann").connect();
    client.call("1", "halve", 8);
    client.expect_result("1", 4);
    seen.expect(&["runs", "halve by ann: OK in 0 s"]);
    client.call("1", "halve", 7);
    client.expect_failed("1", "FAILED_PRECONDITION");
    seen.expect(&["runs", "halve by ann: FAILED_PRECONDITION in 0 s"]);
    // What cannot be read does not run.
    client.call("1", "halve", "x");
    client.expect_failed("1", "INVALID_ARGUMENT");
    seen.expect(&["halve by ann: INVALID_ARGUMENT in 0 s"]);
    // A subscription is seen when it begins.
    client.subscribe("1", "count", 1);
    client.expect_data("1", 0);
    client.expect_complete("1");
    seen.expect(&["count by ann: OK in 0 s"]);
    client.emit("poke", 0);
    client.expect_error("FAILED_PRECONDITION");
    seen.expect(&["poke by ann: FAILED_PRECONDITION in 0 s"]);
}

pub fn a_middleware_sees_calls_by_http_too(subject: &Subject) {
    let (server, seen) = start(subject);
    let http = || server.http("api").header("x-user", "bob");
    http().json(&json!({ "path": "halve", "input": 6 })).gives(&json!(3));
    seen.expect(&["runs", "halve by bob: OK in 0 s"]);
    http().json(&json!({ "path": "halve", "input": 5 })).fails(412, "FAILED_PRECONDITION");
    seen.expect(&["runs", "halve by bob: FAILED_PRECONDITION in 0 s"]);
    http().json(&json!({ "type": "event", "name": "poke", "data": 1 })).answered(204);
    seen.expect(&["poke by bob: OK in 0 s"]);
    let mut events = http().path("count", &json!(1)).header("accept", "text/event-stream").events();
    events.expect("message", "0");
    seen.expect(&["count by bob: OK in 0 s"]);
}

pub fn a_middleware_may_refuse_and_hand_things_to_what_is_called(subject: &Subject) {
    let (server, seen) = start(subject);
    let ask = |user| server.http("api").header("x-user", user).path("role", &Value::Null);
    ask("ann").gives(&json!("admin"));
    ask("bob").gives(&Value::Null);
    ask("eve").fails(403, "PERMISSION_DENIED");
    seen.expect(&["role by ann: OK in 0 s", "role by bob: OK in 0 s", "role by eve: PERMISSION_DENIED in 0 s"]);
    // Guards decide before.
    ask("barred").fails(403, "PERMISSION_DENIED");
    seen.expect(&[]);
}

pub fn a_middleware_is_around_nested_endpoints_too(subject: &Subject) {
    let (server, seen) = start(subject);
    let mut client = server.connect("api");
    client.call("1", "nested.halve", 2);
    client.expect_result("1", 1);
    seen.expect(&["inner", "runs", "nested.halve by nobody: OK in 0 s"]);
}

/// A middleware is dropped with its call, and sees a call with a key once, when it runs.
pub fn a_middleware_lives_as_long_as_its_call(subject: &Subject) {
    let (server, seen) = start(subject);
    let mut client = server.connect("api");
    client.call("late", "wait", Value::Null);
    client.settle();
    server.advance(Duration::from_secs(4));
    client.expect_failed("late", "DEADLINE_EXCEEDED");
    seen.expect(&[]);
    for id in ["1", "2"] {
        client.packet(json!({ "type": "call", "id": id, "path": "halve", "input": 4, "idempotencyKey": "k" }));
        client.expect_result(id, 2);
    }
    seen.expect(&["runs", "halve by nobody: OK in 0 s"]);
}
