//! Feeds: topics with a log, over calls, subscriptions, messages and server-sent events.

use super::{Server, Subject, frames, messagepack_of, start_feeds};
use crate::conformance::RawClient;
use serde_json::{Value, json};
use std::time::Duration;

pub fn a_feed_begins_with_its_position(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    for (mut client, entries) in each_form(&server).zip([0, 2]) {
        // Also where nothing was ever appended.
        client.subscribe("s", "log", "a");
        let at = begun(&mut client, "s", "a", entries);
        append(&mut client, "a", &["one"]);
        client.expect_result_at("append", "a", &at, entries + 1);
        expect_entry(&mut client, "s", "one", &at, entries + 1);
        append(&mut client, "a", &["two"]);
        client.expect_result_at("append", "a", &at, entries + 2);
        expect_entry(&mut client, "s", "two", &at, entries + 2);
    }
}

pub fn an_entry_has_its_place(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    client.subscribe("s", "log", "a");
    let at = begun(&mut client, "s", "a", 0);
    append(&mut client, "a", &["\u{0}\"é"]);
    client.expect_text(&format!(
        r#"{{"type":"result","id":"append","data":null,"wrote":[{{"topic":"a","epoch":"{at}","offset":1}}]}}"#
    ));
    client.expect_text(&format!(
        r#"{{"type":"data","id":"s","data":{{"key":"k","value":"\u0000\"é"}},"offset":1,"epoch":"{at}"}}"#
    ));
    client.subscribe("2", "log", "a");
    client.expect_text(&format!(r#"{{"type":"subscribed","id":"2","topic":"a","offset":1,"epoch":"{at}"}}"#));
}

/// Also on another connection, and when the first one is lost.
pub fn a_client_goes_on_where_it_was(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut writer = server.connect("feeds");
    let at = epoch(&mut writer, "a");
    write(&mut writer, "a", &["1", "2", "3"]);
    for mut client in each_form(&server) {
        for from in 0..=3 {
            resume(&mut client, "s", "log", json!("a"), &at, from);
            expect_subscribed(&mut client, "s", "a", &at, from, Some(true));
            for offset in from + 1..=3 {
                expect_entry(&mut client, "s", &offset.to_string(), &at, offset);
            }
            client.unsubscribe("s");
            client.expect_complete("s");
        }
    }
}

pub fn what_the_log_has_dropped_is_a_counted_gap(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    let at = epoch(&mut client, "a");
    write(&mut client, "a", &["1", "2", "3", "4", "5", "6", "7", "8"]);
    for mut client in each_form(&server) {
        resume(&mut client, "s", "log", json!("a"), &at, 1);
        expect_subscribed(&mut client, "s", "a", &at, 1, Some(false));
        expect_gap(&mut client, "s", "retention", 2..=3);
        for offset in 4..=8 {
            expect_entry(&mut client, "s", &offset.to_string(), &at, offset);
        }
        // The first that is kept comes next: nothing is missing.
        resume(&mut client, "t", "log", json!("a"), &at, 3);
        expect_subscribed(&mut client, "t", "a", &at, 3, Some(true));
        expect_entry(&mut client, "t", "4", &at, 4);
    }
}

/// Where no newer entry shows that something is missing, too; and the feed keeps its name for its positions.
pub fn entries_that_are_too_old_are_a_counted_gap(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    let at = epoch(&mut client, "a");
    write(&mut client, "a", &["1", "2"]);
    server.advance(Duration::from_secs(40));
    write(&mut server.connect("feeds"), "a", &["3"]);
    server.advance(Duration::from_secs(30));
    let mut client = server.connect("feeds");
    resume(&mut client, "s", "log", json!("a"), &at, 1);
    expect_subscribed(&mut client, "s", "a", &at, 1, Some(false));
    expect_gap(&mut client, "s", "retention", 2..=2);
    expect_entry(&mut client, "s", "3", &at, 3);
    drop(client);
    server.advance(Duration::from_secs(40));
    let mut client = server.connect("feeds");
    resume(&mut client, "s", "log", json!("a"), &at, 1);
    expect_subscribed(&mut client, "s", "a", &at, 1, Some(false));
    expect_gap(&mut client, "s", "retention", 2..=3);
    client.unsubscribe("s");
    client.expect_complete("s");
    assert_eq!(server.realtime().stats().log_bytes, 0);
    // Nobody has used it for as long as it keeps entries: it is another log.
    server.advance(Duration::from_secs(70));
    assert_eq!(server.realtime().stats().feeds, 0);
    assert_ne!(epoch(&mut server.connect("feeds"), "a"), at);
}

pub fn a_position_of_another_log_is_told(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    let at = epoch(&mut client, "a");
    write(&mut client, "a", &["1", "2"]);
    for (epoch, offset, proof) in [("0000", 1, None), (&*at, 3, None), (&*at, 1, Some("p1"))] {
        let after = json!({ "epoch": epoch, "offset": offset, "proof": proof });
        client.packet(json!({ "type": "subscribe", "id": "s", "path": "log", "input": "a", "after": after }));
        expect_subscribed(&mut client, "s", "a", &at, 2, Some(false));
        client.expect_packet(json!({ "type": "gap", "id": "s", "count": 0, "cause": "diverged" }));
        client.unsubscribe("s");
        client.expect_complete("s");
    }
}

pub fn credit_holds_back_entries_that_are_kept(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut writer = server.connect("feeds");
    for (mut client, name) in each_form(&server).zip(["a", "b"]) {
        for shared in [false, true] {
            let mut subscribe = json!({ "type": "subscribe", "id": "s", "path": "log", "input": name });
            (subscribe["credit"], subscribe["shared"]) = (json!(2), json!(shared));
            client.packet(subscribe);
            let begun = client.recv_packet();
            let (at, from) = (text(&begun["epoch"]), begun["offset"].as_u64().unwrap());
            let expect = |client: &mut RawClient, values: std::ops::RangeInclusive<u64>| {
                for value in values {
                    match shared {
                        true => expect_shared(client, name, &value.to_string(), &at, from + value),
                        false => expect_entry(client, "s", &value.to_string(), &at, from + value),
                    }
                }
            };
            write(&mut writer, name, &["1", "2"]);
            expect(&mut client, 1..=2);
            write(&mut writer, name, &["3", "4", "5", "6", "7", "8"]);
            client.answers();
            client.grant("s", 1);
            expect_gap(&mut client, "s", "retention", from + 3..=from + 3);
            expect(&mut client, 4..=4);
            client.answers();
            client.grant("s", 6);
            expect(&mut client, 5..=8);
            write(&mut writer, name, &["9", "10", "11"]);
            expect(&mut client, 9..=10);
            client.answers();
            client.grant("s", 1);
            expect(&mut client, 11..=11);
            client.unsubscribe("s");
            client.expect_complete("s");
        }
    }
}

pub fn an_entry_is_dropped_for_one_who_does_not_keep_up(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    client.subscribe_with_credit("s", "log", "newest", 1);
    let at = begun(&mut client, "s", "newest", 0);
    append(&mut client, "newest", &["1"]);
    client.expect_result_at("append", "newest", &at, 1);
    expect_entry(&mut client, "s", "1", &at, 1);
    append(&mut client, "newest", &["2", "3", "4", "5"]);
    client.expect_result_at("append", "newest", &at, 5);
    client.grant("s", 9);
    expect_gap(&mut client, "s", "overflow", 2..=3);
    expect_entry(&mut client, "s", "4", &at, 4);
    expect_entry(&mut client, "s", "5", &at, 5);
}

pub fn of_each_key_the_newest_entry_is_kept(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    client.subscribe_with_credit("s", "log", "each", 0);
    let at = begun(&mut client, "s", "each", 0);
    append_keyed(&mut client, "each", &[("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "5")]);
    client.expect_result_at("append", "each", &at, 5);
    client.grant("s", 2);
    expect_gap(&mut client, "s", "conflated", 1..=1);
    expect_keyed(&mut client, "s", ("b", "2"), &at, 2);
    expect_gap(&mut client, "s", "conflated", 3..=3);
    expect_keyed(&mut client, "s", ("c", "4"), &at, 4);
    append_keyed(&mut client, "each", &[("a", "6")]);
    client.expect_result_at("append", "each", &at, 6);
    client.grant("s", 9);
    expect_gap(&mut client, "s", "conflated", 5..=5);
    expect_keyed(&mut client, "s", ("a", "6"), &at, 6);
    append_keyed(&mut client, "each", &[("a", "7")]);
    client.expect_result_at("append", "each", &at, 7);
    expect_keyed(&mut client, "s", ("a", "7"), &at, 7);
}

/// One who comes back is behind like one who is slow: by subscription, with shared frames or without, or by messages.
pub fn one_who_comes_back_gets_what_the_policy_keeps(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut writer = server.connect("feeds");
    let at = epoch(&mut writer, "newest");
    write(&mut writer, "newest", &["1", "2", "3", "4", "5", "6", "7"]);
    let mut client = server.connect("feeds");
    resume(&mut client, "s", "log", json!("newest"), &at, 5);
    expect_subscribed(&mut client, "s", "newest", &at, 5, Some(true));
    expect_entry(&mut client, "s", "6", &at, 6);
    expect_entry(&mut client, "s", "7", &at, 7);
    // The second is kept no more, and the policy leaves out the others.
    for (offset, resumed) in [(1, false), (2, true), (3, true)] {
        let mut client = server.connect("feeds");
        resume(&mut client, "s", "log", json!("newest"), &at, offset);
        expect_subscribed(&mut client, "s", "newest", &at, offset, Some(resumed));
        expect_gap(&mut client, "s", "overflow", offset + 1..=5);
        expect_entry(&mut client, "s", "6", &at, 6);
        expect_entry(&mut client, "s", "7", &at, 7);
    }

    let at = epoch(&mut writer, "each");
    let entries = [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("c", "5"), ("a", "6"), ("d", "7")];
    append_keyed(&mut writer, "each", &entries);
    writer.expect_result_at("append", "each", &at, 7);
    let mut client = server.connect("feeds");
    resume(&mut client, "s", "log", json!("each"), &at, 1);
    expect_subscribed(&mut client, "s", "each", &at, 1, Some(false));
    expect_gap(&mut client, "s", "retention", 2..=2);
    expect_gap(&mut client, "s", "conflated", 3..=3);
    for offset in 4..=7 {
        expect_keyed(&mut client, "s", entries[offset - 1], &at, offset as u64);
    }
    let mut client = server.connect("follower");
    follow(&mut client, "each", Some((&at, 2)), "Some(true) at 2");
    client.expect_packet(
        json!({ "type": "gap", "topic": "each", "count": 1, "from": 3, "to": 3, "cause": "conflated" }),
    );
    for offset in 4..=7_usize {
        let (key, value) = entries[offset - 1];
        let value = json!({ "key": key, "value": value });
        client.expect_packet(
            json!({ "type": "message", "value": value, "topic": "each", "offset": offset, "epoch": at }),
        );
    }
}

/// Also where the feed ends those who do not keep up: it is behind because it was away.
pub fn one_who_comes_back_has_time_to_catch_up(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut writer = server.connect("feeds");
    let at = epoch(&mut writer, "close");
    write(&mut writer, "close", &["1", "2", "3"]);
    let mut client = server.connect("feeds");
    let after = json!({ "epoch": at, "offset": 0 });
    client.packet(
        json!({ "type": "subscribe", "id": "s", "path": "log", "input": "close", "credit": 1, "after": after }),
    );
    expect_subscribed(&mut client, "s", "close", &at, 0, Some(true));
    expect_entry(&mut client, "s", "1", &at, 1);
    client.answers();
    client.grant("s", 2);
    expect_entry(&mut client, "s", "2", &at, 2);
    expect_entry(&mut client, "s", "3", &at, 3);
    client.answers();
    // From here on it has to keep up.
    write(&mut writer, "close", &["4"]);
    client.expect_failed("s", "RESOURCE_EXHAUSTED");
}

pub fn one_who_does_not_keep_up_is_ended_where_the_feed_says_so(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    client.subscribe_with_credit("s", "log", "close", 1);
    let at = begun(&mut client, "s", "close", 0);
    append(&mut client, "close", &["1"]);
    client.expect_result_at("append", "close", &at, 1);
    expect_entry(&mut client, "s", "1", &at, 1);
    append(&mut client, "close", &["2"]);
    client.expect_result_at("append", "close", &at, 2);
    client.expect_failed("s", "RESOURCE_EXHAUSTED");
    write(&mut client, "close", &["3"]);
}

pub fn shared_frames_come_under_the_name_of_the_feed(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut writer = server.connect("feeds");
    let at = epoch(&mut writer, "a");
    let clients: Vec<_> = each_form(&server).collect();
    let mut offset = 0;
    for mut client in clients {
        share(&mut client, "s", "a", None);
        let begun = client.recv_packet();
        assert_eq!((&begun["shared"], &begun["offset"]), (&json!(true), &json!(offset)));
        write(&mut writer, "a", &["1", "2"]);
        expect_shared(&mut client, "a", "1", &at, offset + 1);
        expect_shared(&mut client, "a", "2", &at, offset + 2);
        client.unsubscribe("s");
        client.expect_complete("s");
        share(&mut client, "t", "a", Some((&at, offset + 1)));
        let begun = client.recv_packet();
        assert_eq!((&begun["resumed"], &begun["offset"]), (&json!(true), &json!(offset + 1)));
        expect_shared(&mut client, "a", "2", &at, offset + 2);
        offset += 2;
    }
    let mut client = server.connect("feeds");
    share(&mut client, "s", "a", None);
    client.expect_text(&format!(
        r#"{{"type":"subscribed","id":"s","topic":"a","offset":4,"epoch":"{at}","shared":true}}"#
    ));
    write(&mut writer, "a", &["5"]);
    client.expect_text(&format!(
        r#"{{"type":"data","topic":"a","data":{{"key":"k","value":"5"}},"offset":5,"epoch":"{at}"}}"#
    ));
}

/// It may be elsewhere in the log, and a frame under the name of the feed does not say whom it is for.
pub fn a_second_subscription_of_a_feed_has_frames_of_its_own(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    let at = epoch(&mut client, "a");
    write(&mut client, "a", &["1"]);
    share(&mut client, "s", "a", None);
    assert_eq!(client.recv_packet()["shared"], true);
    share(&mut client, "t", "a", Some((&at, 0)));
    expect_subscribed(&mut client, "t", "a", &at, 0, Some(true));
    expect_entry(&mut client, "t", "1", &at, 1);
    append(&mut client, "a", &["2"]);
    let mut frames: Vec<_> = (0..3).map(|_| client.recv_packet()).collect();
    frames.retain(|frame| frame["type"] == "data");
    assert_eq!(frames.len(), 2);
    assert_eq!(frames.iter().filter(|frame| frame["topic"] == "a" && frame["id"].is_null()).count(), 1);
    assert_eq!(frames.iter().filter(|frame| frame["id"] == "t" && frame["topic"].is_null()).count(), 1);
    // Its place is free again.
    client.unsubscribe("s");
    client.expect_complete("s");
    share(&mut client, "u", "a", None);
    assert_eq!(client.recv_packet()["shared"], true);
}

pub fn nothing_comes_after_an_unsubscribe_of_a_feed(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    let at = epoch(&mut client, "a");
    for shared in [false, true] {
        client.packet(json!({ "type": "subscribe", "id": "s", "path": "log", "input": "a", "shared": shared }));
        assert_eq!(client.recv_packet()["type"], "subscribed");
        client.unsubscribe("s");
        client.expect_complete("s");
        append(&mut client, "a", &["1"]);
        client.expect_result_at("append", "a", &at, 1 + u64::from(shared));
    }
}

pub fn a_state_comes_first_and_its_changes_behind_it(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    client.call("1", "add", 7);
    let wrote = client.recv_packet()["wrote"][0].clone();
    let at = text(&wrote["epoch"]);
    for (mut client, from) in each_form(&server).zip([1, 2]) {
        // What is added while the state is loaded is in it, or comes behind it, or both.
        let sum = 7 + 100 * (i64::try_from(from).unwrap() - 1);
        client.subscribe("s", "sum", "while_another_adds");
        expect_state(&mut client, "s", "changes", &at, from, None);
        let whole = json!({ "whole": sum + 100 });
        client.expect_packet(json!({ "type": "data", "id": "s", "data": whole, "offset": from, "epoch": at }));
        let added = json!({ "added": 100 });
        client.expect_packet(json!({ "type": "data", "id": "s", "data": added, "offset": from + 1, "epoch": at }));
        client.unsubscribe("s");
        client.expect_complete("s");
        // One who can go on gets the changes alone.
        resume(&mut client, "s", "sum", json!("fails"), &at, from);
        expect_subscribed(&mut client, "s", "changes", &at, from, Some(true));
        client.expect_packet(json!({ "type": "data", "id": "s", "data": added, "offset": from + 1, "epoch": at }));
        client.unsubscribe("s");
        client.expect_complete("s");
        // And one who cannot gets the state, and no gap.
        resume(&mut client, "s", "sum", json!("at_once"), "0000", 1);
        expect_state(&mut client, "s", "changes", &at, from + 1, Some(false));
        client.expect_packet(json!({ "type": "data", "id": "s", "data": whole, "offset": from + 1, "epoch": at }));
    }
    // The same behind what the log keeps.
    for offset in 4..=6 {
        client.call("1", "add", 0);
        assert_eq!(client.recv_packet()["wrote"][0]["offset"], offset);
    }
    resume(&mut client, "s", "sum", json!("at_once"), &at, 1);
    expect_state(&mut client, "s", "changes", &at, 6, Some(false));
    client.expect_packet(json!({ "type": "data", "id": "s", "data": { "whole": 207 }, "offset": 6, "epoch": at }));
}

pub fn a_state_that_fails_ends_the_subscription(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    client.subscribe("s", "sum", "fails");
    assert_eq!(client.recv_packet()["type"], "subscribed");
    client.expect_failed("s", "UNAVAILABLE");
    client.subscribe("s", "sum", "at_once");
    assert_eq!(client.recv_packet()["type"], "subscribed");
    assert_eq!(client.recv_packet()["data"], json!({ "whole": 0 }));
}

pub fn a_result_says_what_was_written(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    for mut client in each_form(&server) {
        let at = epoch(&mut client, "a");
        append(&mut client, "a", &[]);
        client.expect_result("append", Value::Null);
        append(&mut client, "a", &["1", "2"]);
        let result = client.recv_packet();
        let last = result["wrote"][0]["offset"].as_u64().unwrap();
        let wrote = json!([{ "topic": "a", "epoch": at, "offset": last }]);
        assert_eq!(result, json!({ "type": "result", "id": "append", "data": null, "wrote": wrote }));
    }
}

/// Its caller is told the same as the first one, and nothing is appended again.
pub fn a_retried_call_says_what_was_written(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    let at = epoch(&mut client, "a");
    let input = json!({ "feed": "a", "entries": [{ "key": "k", "value": "1" }] });
    for id in ["1", "2"] {
        client.packet(
            json!({ "type": "call", "id": id, "path": "append", "input": input, "idempotencyKey": "once" }),
        );
        client.expect_result_at(id, "a", &at, 1);
    }
    assert_eq!(server.realtime().stats().appended, 1);
}

pub fn a_call_by_http_says_what_was_written(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let call = json!({ "path": "append", "input": { "feed": "a", "entries": [{ "key": "k", "value": "1" }] } });
    let answer = server.http("feeds").json(&call).answered(200).json();
    let at = epoch(&mut server.connect("feeds"), "a");
    let wrote = json!([{ "topic": "a", "epoch": at, "offset": 1 }]);
    assert_eq!(answer, json!({ "ok": true, "data": null, "wrote": wrote }));
    server.http("feeds").path("last", &json!("a")).gives(&json!({ "values": ["1"], "begin": 0, "whole": true }));
}

/// Which a page keeps, and is not shown.
pub fn a_stream_of_a_feed_begins_with_an_id(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    let at = epoch(&mut client, "a");
    write(&mut client, "a", &["1"]);
    let mut events = server.http("feeds").path("log", &json!("a")).events();
    events.expect_last_id(&format!("{at}:1"));
    write(&mut client, "a", &["2"]);
    events.expect_with(Some(&format!("{at}:2")), "message", r#"{"key":"k","value":"2"}"#);
}

/// Unless it is asked to leave that out.
pub fn a_stream_of_frames_of_feeds_says_which_subscription_an_entry_is_for(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    let at = epoch(&mut client, "a");
    let after = json!({ "epoch": at, "offset": 0 });
    write(&mut client, "a", &["1"]);
    for shared in [false, true] {
        let frame = json!({
            "type": "subscribe", "id": "s", "path": "log", "input": "a", "after": after, "shared": shared
        });
        let mut frames = frames::welcomed(frames::post_to(&server, "feeds", &json!([frame])));
        let mut begun =
            json!({ "type": "subscribed", "id": "s", "topic": "a", "offset": 0, "epoch": at, "resumed": true });
        if shared {
            begun["shared"] = json!(true);
        }
        assert_eq!(frames::recv(&mut frames), begun);
        let (name, value) = if shared { ("topic", "a") } else { ("id", "s") };
        let data = json!({ "key": "k", "value": "1" });
        let entry = json!({ "type": "data", name: value, "data": data, "offset": 1, "epoch": at });
        assert_eq!(frames::recv(&mut frames), entry);
    }
}

pub fn a_stream_of_a_feed_goes_on_behind_its_last_id(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    let at = epoch(&mut client, "a");
    write(&mut client, "a", &["1", "2", "3", "4", "5", "6", "7"]);
    let resume = |id: &str| server.http("feeds").path("log", &json!("a")).header("last-event-id", id).events();
    let mut events = resume(&format!("{at}:5"));
    for offset in 6..=7 {
        let data = format!(r#"{{"key":"k","value":"{offset}"}}"#);
        events.expect_with(Some(&format!("{at}:{offset}")), "message", &data);
    }
    let mut events = resume(&format!("{at}:1"));
    events.expect("gap", r#"{"count":1,"from":2,"to":2,"cause":"retention"}"#);
    events.expect_with(Some(&format!("{at}:3")), "message", r#"{"key":"k","value":"3"}"#);
    let mut events = resume("other:1");
    events.expect("gap", r#"{"count":0,"cause":"diverged"}"#);
    events.expect_last_id(&format!("{at}:7"));
}

pub fn a_handler_follows_a_feed(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut writer = server.connect("feeds");
    let at = epoch(&mut writer, "a");
    let clients = [server.connect("follower"), messagepack_of(&server, "follower")];
    for (mut client, offset) in clients.into_iter().zip([0, 2]) {
        follow(&mut client, "a", None, &format!("None at {offset}"));
        write(&mut writer, "a", &["1"]);
        expect_message(&mut client, "a", "1", &at, offset + 1);
        // Following it again changes nothing.
        follow(&mut client, "a", None, &format!("None at {}", offset + 1));
        write(&mut writer, "a", &["2"]);
        expect_message(&mut client, "a", "2", &at, offset + 2);
    }
}

pub fn a_handler_goes_on_behind_a_position(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut writer = server.connect("feeds");
    let at = epoch(&mut writer, "a");
    write(&mut writer, "a", &["1", "2", "3", "4", "5", "6", "7"]);
    for mut client in [server.connect("follower"), messagepack_of(&server, "follower")] {
        follow(&mut client, "a", Some((&at, 6)), "Some(true) at 6");
        expect_message(&mut client, "a", "7", &at, 7);
    }
    let mut client = server.connect("follower");
    follow(&mut client, "a", Some((&at, 1)), "Some(false) at 1");
    client.expect_packet(
        json!({ "type": "gap", "topic": "a", "count": 1, "from": 2, "to": 2, "cause": "retention" }),
    );
    expect_message(&mut client, "a", "3", &at, 3);
    let mut client = server.connect("follower");
    follow(&mut client, "a", Some(("0000", 1)), "Some(false) at 7");
    client.expect_packet(json!({ "type": "gap", "topic": "a", "count": 0, "cause": "diverged" }));
    write(&mut writer, "a", &["8"]);
    expect_message(&mut client, "a", "8", &at, 8);
}

pub fn a_handler_begins_with_a_state(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut writer = server.connect("feeds");
    let at = epoch(&mut writer, "a");
    let ask = |client: &mut RawClient, feed: &str, after: Option<(&str, u64)>| {
        let after = after.map(|(epoch, offset)| json!({ "epoch": epoch, "offset": offset }));
        client.packet(json!({ "type": "message", "value": { "feed": feed, "after": after } }));
    };
    let mut end = 0;
    for after in [None, Some(("another", 3))] {
        for mut client in [server.connect("stateful"), messagepack_of(&server, "stateful")] {
            ask(&mut client, "a", after);
            expect_message(&mut client, "a", "state", &at, end);
            expect_message(&mut client, "a", "meanwhile", &at, end + 1);
            write(&mut writer, "a", &["1"]);
            expect_message(&mut client, "a", "1", &at, end + 2);
            // It goes on, and nothing is loaded.
            ask(&mut client, "a", Some((&at, end + 1)));
            expect_message(&mut client, "a", "1", &at, end + 2);
            // Again, the state comes behind what it has followed until now.
            ask(&mut client, "a", None);
            expect_message(&mut client, "a", "state", &at, end + 2);
            expect_message(&mut client, "a", "meanwhile", &at, end + 3);
            end += 3;
        }
    }
    let mut client = server.connect("stateful");
    ask(&mut client, "fails", None);
    assert_eq!(client.recv_packet()["error"]["message"], "the state is away");
    write(&mut writer, "fails", &["1"]);
    client.answers();
}

pub fn a_plain_handler_follows_a_feed(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("plain");
    client.text(r#"{"feed":"a"}"#);
    client.expect_text(r#"{"key":"begun","value":"None at 0"}"#);
    write(&mut server.connect("feeds"), "a", &["1"]);
    client.expect_text(r#"{"key":"k","value":"1"}"#);
}

/// Nobody is closed for being slow on a feed: it is told what it has missed when it reads again.
pub fn a_client_that_reads_nothing_of_a_feed_is_not_closed(subject: &Subject) {
    let server = start_feeds(subject, |config| config.outbox_bytes = 64 * 1024);
    let mut writer = server.connect("feeds");
    let at = epoch(&mut writer, "a");
    let (mut item, mut message) = (server.connect("feeds"), server.connect("follower"));
    item.subscribe("s", "log", "a");
    expect_subscribed(&mut item, "s", "a", &at, 0, None);
    follow(&mut message, "a", None, "None at 0");
    // More than all buffers on the way take.
    let large = "x".repeat(20_000);
    for _ in 0..400 {
        write(&mut writer, "a", &[&large]);
    }
    assert_eq!(server.realtime().stats().slow_consumers, 0);
    for client in [&mut item, &mut message] {
        let (mut seen, mut missing) = (0, 0);
        while seen + missing < 400 {
            let frame = client.recv_packet();
            match frame["type"].as_str() {
                Some("gap") => missing += frame["count"].as_u64().unwrap(),
                _ => seen += 1,
            }
        }
        assert!(missing > 0, "all of eight megabytes was on the way");
    }
    write(&mut writer, "a", &["last"]);
    expect_entry(&mut item, "s", "last", &at, 401);
    expect_message(&mut message, "a", "last", &at, 401);
}

pub fn the_past_of_a_feed_is_read(subject: &Subject) {
    let server = start_feeds(subject, |_| {});
    let mut client = server.connect("feeds");
    for (values, past) in [
        (&[][..], json!({ "values": [], "begin": 0, "whole": true })),
        (&["1"], json!({ "values": ["1"], "begin": 0, "whole": true })),
        (&["2", "3"], json!({ "values": ["2", "3"], "begin": 1, "whole": false })),
    ] {
        append(&mut client, "a", values);
        assert_eq!(client.recv_packet()["type"], "result");
        client.call("1", "last", "a");
        client.expect_result("1", past);
    }
}

/// One that only was looked at makes place.
pub fn too_many_feeds_are_refused(subject: &Subject) {
    let server = start_feeds(subject, |config| config.feeds = 2);
    let mut client = server.connect("feeds");
    client.call("1", "last", "looked at");
    assert_eq!(client.recv_packet()["type"], "result");
    write(&mut client, "a", &["1"]);
    client.subscribe("s", "log", "b");
    assert_eq!(client.recv_packet()["type"], "subscribed");
    append(&mut client, "c", &["1"]);
    client.expect_failed("append", "RESOURCE_EXHAUSTED");
    client.subscribe("t", "log", "c");
    client.expect_failed("t", "RESOURCE_EXHAUSTED");
    client.unsubscribe("s");
    client.expect_complete("s");
    write(&mut client, "c", &["1"]);
    assert_eq!(server.realtime().stats().feeds, 2);
    append(&mut client, "", &["1"]);
    client.expect_failed("append", "INVALID_ARGUMENT");
}

/// The oldest entries of the largest log go first, and who has not got them is told.
pub fn all_logs_together_are_bounded(subject: &Subject) {
    let server = start_feeds(subject, |config| config.log_bytes = 16 * 1024);
    let mut client = server.connect("feeds");
    let at = epoch(&mut client, "large");
    write(&mut client, "small", &["1"]);
    let large = "x".repeat(3500);
    write(&mut client, "large", &[&large, &large, &large, &large]);
    assert!(server.realtime().stats().log_bytes <= 16 * 1024);
    write(&mut client, "medium", &["1", "2", "3"]);
    write(&mut client, "medium", &["4", "5"]);
    let bytes = server.realtime().stats().log_bytes;
    assert!(bytes <= 16 * 1024, "{bytes}");
    resume(&mut client, "s", "log", json!("large"), &at, 0);
    expect_subscribed(&mut client, "s", "large", &at, 0, Some(false));
    let gap = client.recv_packet();
    assert_eq!((&gap["cause"], &gap["from"]), (&json!("retention"), &json!(1)));
    client.call("1", "last", "small");
    loop {
        let frame = client.recv_packet();
        if frame["type"] == "result" {
            assert_eq!(frame["data"]["values"], json!(["1"]));
            break;
        }
    }
    append(&mut client, "large", &[&"x".repeat(17_000)]);
    client.expect_failed("append", "RESOURCE_EXHAUSTED");
}

/// Clients of the endpoint, one of each form.
fn each_form(server: &Server) -> impl Iterator<Item = RawClient> {
    let connect = [|server: &Server| server.connect("feeds"), |server: &Server| messagepack_of(server, "feeds")];
    connect.into_iter().map(|connect| connect(server))
}

fn append(client: &mut RawClient, feed: &str, values: &[&str]) {
    let entries: Vec<_> = values.iter().map(|value| ("k", *value)).collect();
    append_keyed(client, feed, &entries);
}

fn append_keyed(client: &mut RawClient, feed: &str, entries: &[(&str, &str)]) {
    let entries: Vec<_> = entries.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    client.call("append", "append", json!({ "feed": feed, "entries": entries }));
}

/// Appends, and waits for the result.
#[track_caller]
fn write(client: &mut RawClient, feed: &str, values: &[&str]) {
    append(client, feed, values);
    let result = client.recv_packet();
    assert_eq!((&result["type"], &result["id"]), (&json!("result"), &json!("append")), "{result}");
}

/// The epoch of a feed.
#[track_caller]
fn epoch(client: &mut RawClient, feed: &str) -> String {
    client.subscribe("epoch", "log", feed);
    let begun = client.recv_packet();
    client.unsubscribe("epoch");
    client.expect_complete("epoch");
    text(&begun["epoch"])
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}

fn resume(client: &mut RawClient, id: &str, path: &str, input: Value, epoch: &str, offset: u64) {
    let after = json!({ "epoch": epoch, "offset": offset });
    client.packet(json!({ "type": "subscribe", "id": id, "path": path, "input": input, "after": after }));
}

fn share(client: &mut RawClient, id: &str, feed: &str, after: Option<(&str, u64)>) {
    let after = after.map(|(epoch, offset)| json!({ "epoch": epoch, "offset": offset }));
    let subscribe =
        json!({ "type": "subscribe", "id": id, "path": "log", "input": feed, "shared": true, "after": after });
    client.packet(subscribe);
}

fn follow(client: &mut RawClient, feed: &str, after: Option<(&str, u64)>, begun: &str) {
    let after = after.map(|(epoch, offset)| json!({ "epoch": epoch, "offset": offset }));
    client.packet(json!({ "type": "message", "value": { "feed": feed, "after": after } }));
    client.expect_packet(json!({ "type": "message", "value": { "key": "begun", "value": begun } }));
}

/// A subscription without a position has begun; gives the epoch.
#[track_caller]
fn begun(client: &mut RawClient, id: &str, feed: &str, offset: u64) -> String {
    let begun = client.recv_packet();
    let epoch = text(&begun["epoch"]);
    let expected = json!({ "type": "subscribed", "id": id, "topic": feed, "offset": offset, "epoch": epoch });
    assert_eq!(begun, expected);
    epoch
}

#[track_caller]
fn expect_subscribed(
    client: &mut RawClient,
    id: &str,
    feed: &str,
    epoch: &str,
    offset: u64,
    resumed: Option<bool>,
) {
    let mut frame = json!({ "type": "subscribed", "id": id, "topic": feed, "offset": offset, "epoch": epoch });
    if let Some(resumed) = resumed {
        frame["resumed"] = json!(resumed);
    }
    client.expect_packet(frame);
}

/// The same, and a state follows.
#[track_caller]
fn expect_state(client: &mut RawClient, id: &str, feed: &str, epoch: &str, offset: u64, resumed: Option<bool>) {
    let mut frame = json!({ "type": "subscribed", "id": id, "topic": feed, "offset": offset, "epoch": epoch });
    if let Some(resumed) = resumed {
        frame["resumed"] = json!(resumed);
    }
    frame["state"] = json!(true);
    client.expect_packet(frame);
}

#[track_caller]
fn expect_entry(client: &mut RawClient, id: &str, value: &str, epoch: &str, offset: u64) {
    expect_keyed(client, id, ("k", value), epoch, offset);
}

#[track_caller]
fn expect_keyed(client: &mut RawClient, id: &str, (key, value): (&str, &str), epoch: &str, offset: u64) {
    let data = json!({ "key": key, "value": value });
    client.expect_packet(json!({ "type": "data", "id": id, "data": data, "offset": offset, "epoch": epoch }));
}

#[track_caller]
fn expect_shared(client: &mut RawClient, feed: &str, value: &str, epoch: &str, offset: u64) {
    let data = json!({ "key": "k", "value": value });
    client.expect_packet(json!({ "type": "data", "topic": feed, "data": data, "offset": offset, "epoch": epoch }));
}

#[track_caller]
fn expect_message(client: &mut RawClient, feed: &str, value: &str, epoch: &str, offset: u64) {
    let value = json!({ "key": "k", "value": value });
    client.expect_packet(
        json!({ "type": "message", "value": value, "topic": feed, "offset": offset, "epoch": epoch }),
    );
}

#[track_caller]
fn expect_gap(client: &mut RawClient, id: &str, cause: &str, missing: std::ops::RangeInclusive<u64>) {
    let (from, to) = missing.into_inner();
    let count = to - from + 1;
    client
        .expect_packet(json!({ "type": "gap", "id": id, "count": count, "from": from, "to": to, "cause": cause }));
}

impl RawClient {
    /// The server answers, and nothing else has come before.
    #[track_caller]
    fn answers(&mut self) {
        self.packet(json!({ "type": "ping" }));
        self.expect_packet(json!({ "type": "pong" }));
    }

    /// The next frame is the result of a call that has appended one entry.
    #[track_caller]
    fn expect_result_at(&mut self, id: &str, feed: &str, epoch: &str, offset: u64) {
        let wrote = json!([{ "topic": feed, "epoch": epoch, "offset": offset }]);
        self.expect_packet(json!({ "type": "result", "id": id, "data": null, "wrote": wrote }));
    }
}
