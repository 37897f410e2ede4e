//! The clock of handlers.

use crate::conformance::{Server, Subject};
use futures_util::StreamExt;
use realtime_core::{Call, Endpoint, Procedure, Realtime, Subscription};
use serde_json::Value;
use std::time::Duration;

const SLEEP: Procedure<u64, ()> = Procedure::new("sleep");
const WITHIN: Procedure<u64, ()> = Procedure::new("within");
const EVERY: Subscription<u64, u64> = Subscription::new("every");

fn start(subject: &Subject) -> Server {
    let clock = Endpoint::new(())
        .procedure(SLEEP, |call: Call<()>, seconds| async move {
            call.sleep(Duration::from_secs(seconds)).await;
            Ok(())
        })
        .procedure(WITHIN, |call: Call<()>, seconds| async move {
            call.timeout(Duration::from_secs(seconds), call.sleep(Duration::from_secs(3))).await
        })
        .subscription(EVERY, |call: Call<()>, seconds| async move {
            Ok(call.interval(Duration::from_secs(seconds)).enumerate().map(|(at, ())| at as u64))
        });
    subject.start(Realtime::builder().endpoint("clock", clock).manual_time().build())
}

pub fn a_call_sleeps_on_the_clock_of_the_server(subject: &Subject) {
    let server = start(subject);
    let mut client = server.connect("clock");
    client.call("1", "sleep", 2);
    client.settle();
    server.advance(Duration::from_millis(1750));
    client.settle();
    server.advance(Duration::from_millis(250));
    client.expect_result("1", Value::Null);
}

pub fn what_takes_longer_than_its_timeout_is_dropped(subject: &Subject) {
    let server = start(subject);
    let mut client = server.connect("clock");
    client.call("late", "within", 2);
    client.call("soon", "within", 4);
    client.settle();
    server.advance(Duration::from_secs(2));
    let error = client.expect_failed("late", "DEADLINE_EXCEEDED");
    assert_eq!((&error["message"], &error["retryable"]), (&"this took longer than 2s".into(), &true.into()));
    server.advance(Duration::from_secs(1));
    client.expect_result("soon", Value::Null);
}

pub fn an_interval_is_a_subscription(subject: &Subject) {
    let server = start(subject);
    let mut client = server.connect("clock");
    client.subscribe("1", "every", 5);
    for item in 0..3 {
        client.expect_data("1", item);
        client.settle();
        server.advance(Duration::from_secs(5));
    }
}
