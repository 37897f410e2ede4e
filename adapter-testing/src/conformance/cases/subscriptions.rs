//! Subscriptions of a client: their items, their ends, and clients that do not keep up.

use super::{each_form, give_turns, start, start_with};
use crate::conformance::{RawClient, Seen, Server, Sight, Subject};
use serde_json::{Value, json};

pub fn a_subscription_gives_its_items_and_ends(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.subscribe("1", "count", 40);
        for item in 0..40 {
            client.expect_data("1", item);
        }
        client.expect_complete("1");
        client.subscribe("1", "count", 0);
        client.expect_complete("1");
        client.echoes();
    }
    let mut client = server.connect("api");
    client.subscribe("s", "count", 1);
    client.expect_text(r#"{"type":"data","id":"s","data":0}"#);
    client.expect_text(r#"{"type":"complete","id":"s"}"#);
}

pub fn items_come_when_they_are_there(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    subscribe_to_feed(&mut client, &seen, "feed", None);
    for value in 0..3 {
        push(&mut client, &[("a", value), ("b", value)]);
        client.expect_data("s", tick("a", value));
        client.expect_data("s", tick("b", value));
    }
    client.unsubscribe("s");
    client.expect_complete("s");
    seen.gone("feed");
}

/// An idle stream is dropped too, without any other wake-up.
pub fn an_unsubscribed_stream_is_dropped_at_once(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for mut client in each_form(&server) {
        client.subscribe("s", "idle", "a");
        seen.began("a");
        client.unsubscribe("s");
        seen.gone("a");
        client.expect_complete("s");
        client.unsubscribe("s");
        client.echoes();
    }
}

pub fn a_cancelled_subscription_ends_with_cancelled(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    client.subscribe("s", "idle", "a");
    seen.began("a");
    client.cancel("s");
    seen.gone("a");
    client.expect_failed("s", "CANCELLED");
    client.unsubscribe("s");
    client.echoes();
}

pub fn streams_of_a_client_that_is_gone_are_dropped_at_once(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for leave in [|client| drop(client), |client: RawClient| client.close(1000, "bye")] {
        let mut client = server.connect("closing");
        client.subscribe("s", "idle", "a");
        seen.began("a");
        leave(client);
        seen.gone("a");
        assert!(matches!(seen.next(), Sight::Closed(..)));
    }
}

/// The stream of a subscription that is still being set up never begins.
pub fn an_unsubscribe_during_the_set_up_starts_nothing(subject: &Subject) {
    let (server, seen, gate) = start(subject);
    let mut client = server.connect("api");
    client.subscribe("s", "slow_start", "a");
    seen.began("a");
    client.unsubscribe("s");
    seen.gone("a");
    client.expect_complete("s");
    client.call("1", "let_go", "a");
    client.expect_result("1", Value::Null);
    // The same while a guard decides.
    client.subscribe("s", "slow.stream", Value::Null);
    client.unsubscribe("s");
    client.expect_complete("s");
    gate.open();
    client.echoes();
    seen.nothing_more();
    // The gates are open now, and let others through.
    client.subscribe("s", "slow_start", "a");
    for item in 0..3 {
        client.expect_data("s", item);
    }
    client.expect_complete("s");
    client.subscribe("s", "slow.stream", Value::Null);
    client.expect_data("s", 1);
    client.expect_complete("s");
}

/// The error follows the items before it, and nothing follows the error.
pub fn a_failing_stream_ends_with_its_error(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.subscribe("s", "failing", "at_once");
        let error = client.expect_failed("s", "FAILED_PRECONDITION");
        assert_eq!(error["message"], "fails as it was told");
        for (when, code) in [("later", "FAILED_PRECONDITION"), ("panicking", "INTERNAL")] {
            client.subscribe("s", "failing", when);
            client.expect_data("s", 0);
            client.expect_data("s", 1);
            client.expect_failed("s", code);
            client.echoes();
        }
    }
}

/// A normal end would hide that items are missing.
pub fn an_item_that_does_not_serialise_is_an_error(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.subscribe("s", "broken", Value::Null);
        let error = client.expect_failed("s", "INTERNAL");
        assert_eq!(error["message"], "internal error");
        client.echoes();
    }
}

pub fn an_item_larger_than_an_outbox_is_an_error(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.outbox_bytes = 10_000);
    let mut client = server.connect("api");
    client.subscribe("s", "flood", json!({ "count": 2, "bytes": 10_000 }));
    client.expect_failed("s", "RESOURCE_EXHAUSTED");
    client.echoes();
}

/// After a position in an old epoch, a gap reports that items may be missing.
pub fn a_subscription_goes_on_behind_a_position(subject: &Subject) {
    let (server, ..) = start(subject);
    let item = |offset: u64| {
        let data = offset * 10;
        json!({ "type": "data", "id": "s", "data": data, "offset": offset, "epoch": "now" })
    };
    for mut client in each_form(&server) {
        client.subscribe("s", "numbered", Value::Null);
        (0..5).for_each(|offset| client.expect_packet(item(offset)));
        client.expect_complete("s");
        for (epoch, offset, from) in [("now", 2, 3), ("now", 4, 5), ("before", 2, 0)] {
            let after = json!({ "epoch": epoch, "offset": offset });
            client.packet(json!({ "type": "subscribe", "id": "s", "path": "numbered", "after": after }));
            if epoch == "before" {
                client.expect_packet(json!({ "type": "gap", "id": "s", "count": 0, "cause": "epoch" }));
            }
            (from..5).for_each(|offset| client.expect_packet(item(offset)));
            client.expect_complete("s");
        }
    }
}

pub fn too_many_subscriptions_are_refused_at_once(subject: &Subject) {
    let (server, seen, _) = start_with(subject, |config| config.subscriptions_per_connection = 2);
    let mut client = server.connect("api");
    for id in ["a", "b"] {
        client.subscribe(id, "idle", id);
        seen.began(id);
    }
    client.subscribe("c", "idle", "c");
    let error = client.expect_failed("c", "RESOURCE_EXHAUSTED");
    assert_eq!((&error["retryable"], &error["retryAfterMs"]), (&true.into(), &100.into()));
    client.echoes();
    client.unsubscribe("a");
    client.expect_complete("a");
    seen.gone("a");
    client.subscribe("c", "idle", "c");
    seen.began("c");
}

/// Other streams and calls continue meanwhile.
pub fn credit_bounds_what_is_sent(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.subscribe_with_credit("s", "endless", Value::Null, 2);
        client.expect_data("s", 0);
        client.expect_data("s", 1);
        client.echoes();
        client.subscribe("other", "count", 2);
        client.expect_data("other", 0);
        client.expect_data("other", 1);
        client.expect_complete("other");
        client.grant("s", 1);
        client.expect_data("s", 2);
        client.grant("s", 0);
        client.echoes();
        client.grant("s", 40);
        (3..43).for_each(|item| client.expect_data("s", item));
        client.echoes();
        client.unsubscribe("s");
        client.expect_complete("s");
    }
}

/// Credit may be granted without limit.
pub fn credit_does_not_overflow(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    client.subscribe_with_credit("s", "count", 3, 0);
    client.echoes();
    client.grant("s", 1);
    client.expect_data("s", 0);
    client.grant("s", u32::MAX);
    client.grant("s", u32::MAX);
    client.expect_data("s", 1);
    client.expect_data("s", 2);
    client.expect_complete("s");
}

/// The stream is not polled, and the client is not closed; when it reads again, no item is missing.
pub fn the_streams_of_a_client_that_does_not_read_stop(subject: &Subject) {
    const COUNT: usize = 1000;
    const BYTES: usize = 50_000;
    let (server, ..) = start(subject);
    let mut stalled = server.connect("api");
    stalled.subscribe("s", "flood", json!({ "count": COUNT, "bytes": BYTES }));
    stalled.subscribe("t", "flood", json!({ "count": 10, "bytes": BYTES }));
    let mut other = server.connect("api");
    let connections = server.realtime().filter(|_| true);
    for _ in 0..200 {
        other.echoes();
        let queued = connections.iter().map(|connection| connection.queued_bytes()).max();
        // What one write takes, one item of each stream, and an echo.
        assert!(queued < Some(64 * 1024 + 3 * BYTES), "{queued:?} bytes wait");
    }
    assert_eq!(connections.iter().filter(|connection| connection.is_closed()).count(), 0);
    let (mut next, mut of_other) = (0, 0);
    while next < COUNT {
        let packet = stalled.recv_packet();
        let number = match &packet["id"] {
            Value::String(id) if id == "s" => &mut next,
            _ => &mut of_other,
        };
        if packet["type"] == "data" {
            let text = packet["data"].as_str().unwrap_or_default();
            assert!(text.starts_with(&format!("{number}:")), "{}", &text[..20.min(text.len())]);
            *number += 1;
        }
    }
    assert_eq!(of_other, 10);
    stalled.expect_complete("s");
    stalled.echoes();
}

/// The stream is dropped although nothing can be sent to its client.
pub fn a_stream_that_waits_for_its_client_is_dropped_at_once(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for leave in [|client: &mut RawClient| client.unsubscribe("s"), |client: &mut RawClient| client.cancel("s")] {
        let mut client = server.connect("api");
        client.subscribe("s", "flood", json!({ "count": 1000, "bytes": 50_000 }));
        seen.began("flood");
        give_turns(&server);
        seen.nothing_more();
        leave(&mut client);
        seen.gone("flood");
    }
    let mut client = server.connect("api");
    client.subscribe("s", "flood", json!({ "count": 1000, "bytes": 50_000 }));
    seen.began("flood");
    give_turns(&server);
    drop(client);
    seen.gone("flood");
}

/// One stream does not delay another either.
pub fn an_endless_stream_does_not_hold_up_calls(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    client.subscribe("s", "endless", Value::Null);
    client.expect_data("s", 0);
    client.call("1", "echo", "a");
    let mut next = 1;
    pass_items(&mut client, &mut next, |packet| packet["type"] == "result");
    client.subscribe("t", "count", 1);
    pass_items(&mut client, &mut next, |packet| packet["type"] == "data" && packet["id"] == "t");
    pass_items(&mut client, &mut next, |packet| packet["type"] == "complete" && packet["id"] == "t");
    client.unsubscribe("s");
    pass_items(&mut client, &mut next, |packet| packet["type"] == "complete" && packet["id"] == "s");
    client.echoes();
}

/// Receives items of the stream `s`, checking that none is missing, until the last frame.
#[track_caller]
fn pass_items(client: &mut RawClient, next: &mut u64, is_last: impl Fn(&Value) -> bool) {
    for _ in 0..1_000_000 {
        let packet = client.recv_packet();
        if is_last(&packet) {
            return;
        }
        assert_eq!(packet, json!({ "type": "data", "id": "s", "data": *next }));
        *next += 1;
    }
    panic!("a million items came first");
}

/// Of the items pushed while the client had no credit, the newest two are kept, after a gap.
pub fn dropped_items_are_told_in_their_place(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for mut client in each_form(&server) {
        subscribe_to_feed(&mut client, &seen, "newest", Some(1));
        push(&mut client, &[("a", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5)]);
        client.expect_data("s", tick("a", 1));
        client.echoes();
        client.grant("s", 1);
        client.expect_packet(json!({ "type": "gap", "id": "s", "count": 2, "cause": "overflow" }));
        client.expect_data("s", tick("a", 4));
        push(&mut client, &[("a", 6), ("a", 7)]);
        client.grant("s", 8);
        client.expect_packet(json!({ "type": "gap", "id": "s", "count": 1, "cause": "overflow" }));
        client.expect_data("s", tick("a", 6));
        client.expect_data("s", tick("a", 7));
        push(&mut client, &[("a", 8)]);
        client.expect_data("s", tick("a", 8));
        client.unsubscribe("s");
        client.expect_complete("s");
        seen.gone("feed");
    }
}

pub fn a_gap_tells_the_offsets_that_are_missing(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    subscribe_to_feed(&mut client, &seen, "newest", Some(0));
    let ticks: Vec<_> = (10..15).map(|offset| json!({ "key": "a", "value": 0, "offset": offset })).collect();
    client.call("push", "push", ticks);
    client.expect_result("push", Value::Null);
    client.grant("s", 1);
    let gap = json!({ "type": "gap", "id": "s", "count": 3, "from": 10, "to": 12, "cause": "overflow" });
    client.expect_packet(gap);
    let item = json!({ "type": "data", "id": "s", "data": tick("a", 0), "offset": 13, "epoch": "now" });
    client.expect_packet(item);
}

/// The gap follows the items before it; if its own item is dropped, it becomes part of that gap.
pub fn a_gap_of_the_application_stays_in_its_place(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    subscribe_to_feed(&mut client, &seen, "newest", Some(0));
    let tick_after = |value: u32, missing: u32| json!({ "key": "a", "value": value, "missing": missing });
    client.call("push", "push", [tick("a", 1), tick_after(2, 7)]);
    client.expect_result("push", Value::Null);
    client.echoes();
    client.grant("s", 2);
    client.expect_data("s", tick("a", 1));
    client.expect_packet(json!({ "type": "gap", "id": "s", "count": 7, "cause": "lost" }));
    client.expect_data("s", tick("a", 2));
    client.call("push", "push", [tick_after(3, 7), tick("a", 4), tick("a", 5)]);
    client.expect_result("push", Value::Null);
    client.grant("s", 2);
    client.expect_packet(json!({ "type": "gap", "id": "s", "count": 8, "cause": "overflow" }));
    client.expect_data("s", tick("a", 4));
    client.expect_data("s", tick("a", 5));
}

/// The kept items are in the order in which they were produced.
pub fn of_conflated_items_the_newest_of_each_is_left(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    subscribe_to_feed(&mut client, &seen, "newest_of_each", Some(0));
    push(&mut client, &[("a", 1), ("b", 1), ("a", 2), ("c", 1), ("a", 3)]);
    client.echoes();
    client.grant("s", 3);
    client.expect_packet(json!({ "type": "gap", "id": "s", "count": 2, "cause": "conflated" }));
    client.expect_data("s", tick("b", 1));
    client.expect_data("s", tick("c", 1));
    client.expect_data("s", tick("a", 3));
    client.echoes();
}

/// Only the subscription ends: the connection and its other subscriptions continue.
pub fn a_subscription_may_end_where_its_client_does_not_keep_up(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    client.subscribe("other", "idle", "other");
    seen.began("other");
    subscribe_to_feed(&mut client, &seen, "or_end", Some(1));
    push(&mut client, &[("a", 1)]);
    client.expect_data("s", tick("a", 1));
    client.echoes();
    push(&mut client, &[("a", 2)]);
    let error = client.expect_failed("s", "RESOURCE_EXHAUSTED");
    assert_eq!(error["retryable"], true);
    seen.gone("feed");
    client.unsubscribe("other");
    client.expect_complete("other");
}

pub fn one_push_goes_to_all_who_listen(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut clients: Vec<_> = each_form(&server).collect();
    for client in &mut clients {
        subscribe_to_feed(client, &seen, "feed", None);
    }
    let [first, second] = &mut clients[..] else { panic!("there are two forms") };
    push(first, &[("a", 1)]);
    first.expect_data("s", tick("a", 1));
    second.expect_data("s", tick("a", 1));
}

#[track_caller]
fn subscribe_to_feed(client: &mut RawClient, seen: &Seen, feed: &str, credit: Option<u32>) {
    match credit {
        Some(credit) => client.subscribe_with_credit("s", feed, Value::Null, credit),
        None => client.subscribe("s", feed, Value::Null),
    }
    seen.began("feed");
    // It listens when this is answered.
    client.echoes();
}

/// Pushes items to the feeds, all at once.
#[track_caller]
fn push(client: &mut RawClient, ticks: &[(&str, u32)]) {
    let ticks: Vec<_> = ticks.iter().map(|(key, value)| tick(key, *value)).collect();
    client.call("push", "push", ticks);
    client.expect_result("push", Value::Null);
}

fn tick(key: &str, value: u32) -> Value {
    json!({ "key": key, "value": value })
}

/// Ended calls and streams do not keep their connection alive.
pub fn nothing_of_a_subscription_is_left_behind(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for _ in 0..20 {
        let mut client = server.connect("api");
        client.subscribe("s", "idle", "a");
        seen.began("a");
        drop(client);
        seen.gone("a");
    }
    wait_until_nobody_is_connected(&server);
}

fn wait_until_nobody_is_connected(server: &Server) {
    while server.realtime().connections() > 0 {
        std::thread::yield_now();
    }
}
