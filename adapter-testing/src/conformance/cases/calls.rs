//! Calls of a client: each has exactly one end.

use super::{each_form, give_turns, start, start_with, works};
use crate::{
    TestFrame,
    conformance::{Command, RawClient, Reply, Sight, Subject},
};
use realtime_core::{CloseCode, Config};
use serde_json::{Value, json};
use std::time::Duration;

/// In both formats, the path is text or an array of its parts, and an absent input is null.
pub fn a_call_is_answered_with_its_result(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "echo", "hello");
        client.expect_result("1", "hello");
        client.packet(json!({ "type": "call", "id": "a b", "path": ["add"], "input": { "a": 2, "b": 3 } }));
        client.expect_result("a b", 5);
        client.packet(json!({ "type": "call", "id": "1", "path": "keep" }));
        client.expect_result("1", Value::Null);
    }
    let mut client = server.connect("api");
    client.call("1", "echo", "é\"");
    client.expect_text(r#"{"type":"result","id":"1","data":"é\""}"#);
    client.close(1000, "done");
}

pub fn an_unknown_name_is_not_found(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "no.such", Value::Null);
        client.expect_failed("1", "NOT_FOUND");
        client.subscribe("1", "no.such", Value::Null);
        client.expect_failed("1", "NOT_FOUND");
        client.call("1", "count", 1);
        client.expect_failed("1", "METHOD_MISMATCH");
        client.subscribe("1", "echo", "a");
        client.expect_failed("1", "METHOD_MISMATCH");
        client.echoes();
    }
}

pub fn bad_input_is_refused_and_its_field_named(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "add", json!({ "a": 1, "b": "two" }));
        let error = client.expect_failed("1", "INVALID_ARGUMENT");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("b: invalid type: string"), "{error}");
        assert_eq!(error["details"], json!({ "path": "b" }));
        client.call("1", "add", json!({ "a": 1 }));
        let error = client.expect_failed("1", "INVALID_ARGUMENT");
        assert!(error["message"].as_str().is_some_and(|message| message.contains("missing field `b`")), "{error}");
        client.subscribe("1", "count", "two");
        client.expect_failed("1", "INVALID_ARGUMENT");
        client.echoes();
    }
}

/// The procedure is not called.
pub fn input_that_does_not_pass_its_check_is_refused(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    client.call("1", "echo", "x".repeat(200_001));
    let error = client.expect_failed("1", "INVALID_ARGUMENT");
    assert_eq!(error["message"], "an echo of 200001 bytes, and it takes 200000");
    client.echoes();
}

/// The error has the call's id if it can be read.
pub fn a_call_with_wrong_fields_is_answered(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.packet(json!({ "type": "call", "id": "1" }));
        client.expect_failed("1", "INVALID_ARGUMENT");
        let wrong = [
            json!({ "type": "call", "id": "1", "path": "a..b" }),
            json!({ "type": "call", "id": "1", "path": 7 }),
            json!({ "type": "call", "id": "1", "path": "echo", "timeoutMs": "soon" }),
            json!({ "type": "subscribe", "id": "1", "path": "count", "credit": -1 }),
            json!({ "type": "subscribe", "id": "1", "path": "count", "after": { "epoch": "", "offset": 1 } }),
        ];
        for packet in wrong {
            client.packet(packet);
            client.expect_failed("1", "PARSE_ERROR");
        }
        client.packet(json!({ "type": "call", "path": "echo", "input": "a" }));
        client.expect_error("INVALID_ARGUMENT");
        for id in [json!(""), json!(7), json!("x".repeat(65))] {
            client.packet(json!({ "type": "call", "id": id, "path": "echo", "input": "a" }));
            client.expect_error("PARSE_ERROR");
        }
        client.echoes();
    }
}

/// Many languages write an absent field as null.
pub fn null_is_an_optional_field_that_is_left_out(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        for (path, input, output) in [("echo", json!("a"), json!("a")), ("keep", json!(null), json!(null))] {
            client.packet(json!({
                "type": "call", "id": "1", "path": path, "input": input, "timeoutMs": null, "idempotencyKey": null,
            }));
            client.expect_result("1", output);
        }
        client.packet(json!({
            "type": "subscribe", "id": "s", "path": "count", "input": 2, "after": null, "credit": null,
        }));
        client.expect_data("s", 0);
        client.expect_data("s", 1);
        client.expect_complete("s");
        // What a frame needs is there, and null is no text.
        client.packet(json!({ "type": "call", "id": "1", "path": null }));
        client.expect_failed("1", "PARSE_ERROR");
        client.echoes();
    }
}

/// Lua has no other numbers, and JavaScript's are floats in MessagePack from 32 bits on.
pub fn a_whole_float_is_an_integer(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "add", json!({ "a": 4_294_967_296.0, "b": -2.0 }));
        client.expect_result("1", 4_294_967_294_u64);
        client.packet(json!({ "type": "call", "id": "1", "path": "text", "input": 3.0, "timeoutMs": 5000.0 }));
        client.expect_result("1", "xxx");
        let after = json!({ "epoch": "now", "offset": 2.0 });
        client
            .packet(json!({ "type": "subscribe", "id": "s", "path": "numbered", "credit": 1.0, "after": after }));
        let item =
            |offset| json!({ "type": "data", "id": "s", "data": offset * 10, "offset": offset, "epoch": "now" });
        client.expect_packet(item(3));
        client.packet(json!({ "type": "credit", "id": "s", "more": 2.0 }));
        client.expect_packet(item(4));
        client.expect_complete("s");
        client.echoes();
    }
}

/// Numbers are never rounded: from 2⁵³ on, a float is ambiguous.
pub fn a_float_that_is_no_integer_is_refused_and_its_field_named(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        for float in [0.5, -0.0, 9_007_199_254_740_992.0, 1e300] {
            client.call("1", "add", json!({ "a": 1.0, "b": float }));
            let error = client.expect_failed("1", "INVALID_ARGUMENT");
            assert_eq!(error["details"], json!({ "path": "b" }));
            let message = error["message"].as_str().unwrap_or_default();
            assert!(message.starts_with("b: invalid type: floating point"), "{error}");
            for (kind, path, field) in [("call", "echo", "timeoutMs"), ("subscribe", "count", "credit")] {
                let mut frame = json!({ "type": kind, "id": "1", "path": path });
                frame[field] = json!(float);
                client.packet(frame);
                let error = client.expect_failed("1", "PARSE_ERROR");
                let message = error["message"].as_str().unwrap_or_default();
                assert!(message.starts_with(&format!("the field \"{field}\" must be an integer")), "{error}");
            }
        }
        client.echoes();
    }
}

pub fn an_error_of_a_procedure_is_told_whole(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        let details = json!({ "left": [1, null] });
        client.call(
            "1",
            "fail",
            json!({ "code": "MINE", "message": "so", "details": details, "retryAfterMs": 1500 }),
        );
        let error = client.expect_failed("1", "MINE");
        let expected = json!({ "code": "MINE", "message": "so", "details": details, "retryable": true, "retryAfterMs": 1500 });
        assert_eq!(error, expected);
        client.call("1", "fail", json!({ "code": "MINE", "message": "so" }));
        assert_eq!(client.expect_failed("1", "MINE"), json!({ "code": "MINE", "message": "so" }));
        client.call("1", "fail_inside", Value::Null);
        let error = client.expect_failed("1", "INTERNAL");
        assert_eq!(error, json!({ "code": "INTERNAL", "message": "internal error" }), "the cause is not told");
    }
}

/// The panic may be in the function, in its future, or in the future's drop.
pub fn a_panic_is_an_internal_error_and_the_connection_lives(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    client.call("other", "wait", "a");
    for when in ["at_once", "later"] {
        client.call("1", "panic", when);
        let error = client.expect_failed("1", "INTERNAL");
        assert_eq!(error["message"], "internal error");
        client.echoes();
    }
    client.call("1", "panic", "dropped");
    client.settle();
    client.cancel("1");
    client.expect_failed("1", "CANCELLED");
    client.call("1", "let_go", "a");
    client.expect_result("1", Value::Null);
    client.expect_result("other", "a");
}

/// The client receives an error instead of a partial result.
pub fn an_output_that_does_not_serialise_is_an_error(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "unserialisable", Value::Null);
        let error = client.expect_failed("1", "INTERNAL");
        assert_eq!(error["message"], "internal error");
        client.echoes();
    }
}

pub fn a_result_larger_than_an_outbox_is_an_error(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.outbox_bytes = 10_000);
    let mut client = server.connect("api");
    client.call("1", "echo", "x".repeat(10_000));
    let error = client.expect_failed("1", "RESOURCE_EXHAUSTED");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("an outbox holds 10000")), "{error}");
    client.echoes();
}

/// No result is lost, and a client that does not read yet is not closed.
pub fn results_wait_for_room_in_the_outbox(subject: &Subject) {
    const CALLS: usize = 60;
    let (server, ..) = start_with(subject, |config| config.outbox_bytes = 150_000);
    let mut client = server.connect("api");
    let text = "x".repeat(50_000);
    for number in 0..CALLS {
        client.call(&number.to_string(), "echo", &text);
    }
    let mut answered: Vec<String> = Vec::new();
    for _ in 0..CALLS {
        let packet = client.recv_packet();
        assert_eq!((&packet["type"], &packet["data"]), (&"result".into(), &text.as_str().into()));
        answered.push(packet["id"].as_str().unwrap_or_default().to_owned());
    }
    answered.sort_by_key(|id| id.parse().unwrap_or(usize::MAX));
    assert!(answered.into_iter().eq((0..CALLS).map(|number| number.to_string())));
    client.echoes();
}

pub fn calls_answer_in_the_order_in_which_they_finish(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    for name in ["a", "b", "c"] {
        client.call(name, "wait", name);
        seen.began(name);
    }
    for name in ["b", "c", "a"] {
        client.call("let go", "let_go", name);
        client.expect_result("let go", Value::Null);
        client.expect_result(name, name);
        seen.gone(name);
    }
}

pub fn calls_and_messages_do_not_wait_for_each_other(subject: &Subject) {
    let (server, seen, gate) = start(subject);
    let mut client = server.connect("both");
    seen.opened();
    client.call("1", "wait", "a");
    seen.began("a");
    works(&mut client);
    client.value(&Command::EchoAtGate("slow".into()));
    assert_eq!((seen.next(), seen.next()), (Sight::Message, Sight::Message));
    client.call("2", "let_go", "a");
    client.expect_result("2", Value::Null);
    client.expect_result("1", "a");
    gate.open();
    client.expect_value(&Reply::Text("slow".into()));
}

/// Calls are held and run in order, including cancellations.
pub fn calls_wait_for_on_open(subject: &Subject) {
    let (server, seen, gate) = start(subject);
    let mut client = server.request("api").header("x-open", "wait").connect();
    client.call("1", "wait", "a");
    client.call("2", "echo", "b");
    client.call("3", "wait", "c");
    client.cancel("3");
    client.subscribe("4", "count", 1);
    client.emit("NOTE", json!({ "text": "noted" }));
    // All of them have been read: the ping behind them was.
    client.settle();
    seen.nothing_more();
    gate.open();
    client.expect_result("2", "b");
    client.expect_failed("3", "CANCELLED");
    client.expect_data("4", 0);
    client.expect_complete("4");
    seen.began("a");
    seen.began("c");
    seen.gone("c");
    seen.event("noted");
}

/// No call is lost, and nothing is read until there is room.
pub fn more_calls_than_may_wait_for_on_open_are_read_later(subject: &Subject) {
    hold_up(subject, 200, 1, |config| config.queued_messages = 4);
}

/// The limit is the bytes of one largest message: these calls exceed it by one.
pub fn larger_calls_than_may_wait_for_on_open_are_read_later(subject: &Subject) {
    hold_up(subject, 40, 9_000, |config| config.message_bytes = 10_000);
}

/// Makes `count` calls of `bytes` each, while `on_open` waits.
fn hold_up(subject: &Subject, count: usize, bytes: usize, change: impl FnOnce(&mut Config)) {
    let (server, _, gate) = start_with(subject, change);
    let mut client = server.request("api").header("x-open", "wait").connect();
    let text = |number: usize| format!("{number}{}", "x".repeat(bytes));
    for number in 0..count {
        client.call("1", "echo", text(number));
    }
    // Its answer does not wait for on_open, but it is not read before there is room for the calls.
    client.packet(json!({ "type": "ping" }));
    give_turns(&server);
    gate.open();
    for number in 0..count {
        client.expect_result("1", text(number));
    }
    client.expect_packet(json!({ "type": "pong" }));
}

pub fn on_open_may_refuse_and_nothing_is_called(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let call = TestFrame::text(r#"{"type":"call","id":"1","path":"wait","input":"a"}"#).to_bytes();
    let mut client = server.request("closing").header("x-open", "fail").early(&call).connect();
    client.expect_error("PERMISSION_DENIED");
    assert_eq!(client.expect_close(1008), "not today");
    assert!(matches!(seen.next(), Sight::Closed(..)));
    seen.nothing_more();
}

/// The future is dropped before the client is notified, without any other wake-up.
pub fn a_cancelled_call_is_dropped_at_once(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "wait", "a");
        seen.began("a");
        client.cancel("1");
        seen.gone("a");
        client.expect_failed("1", "CANCELLED");
        client.echoes();
    }
}

pub fn a_cancel_while_a_guard_decides_calls_nothing(subject: &Subject) {
    let (server, seen, gate) = start(subject);
    let mut client = server.connect("api");
    client.call("1", "slow.call", Value::Null);
    client.cancel("1");
    client.expect_failed("1", "CANCELLED");
    gate.open();
    client.echoes();
    seen.nothing_more();
    // The guard is open now, and lets others through.
    client.call("1", "slow.call", Value::Null);
    client.expect_result("1", Value::Null);
    seen.began("slow.call");
}

/// Calls are dropped without a further frame, and before `on_close`.
pub fn calls_of_a_client_that_is_gone_are_dropped_at_once(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for leave in [|client| drop(client), |client: RawClient| client.close(1000, "bye")] {
        let mut client = server.connect("closing");
        client.call("1", "wait", "a");
        seen.began("a");
        leave(client);
        seen.gone("a");
        assert!(matches!(seen.next(), Sight::Closed(..)));
    }
}

/// The handler may finish its message, while the calls are dropped.
pub fn a_busy_handler_does_not_keep_the_calls_of_a_client_that_is_gone(subject: &Subject) {
    let (server, seen, gate) = start(subject);
    for leave in [drop, |mut client: RawClient| client.frame(&TestFrame::close(1000, "bye"))] {
        let mut client = server.connect("both");
        seen.opened();
        client.value(&Command::EchoAtGate("slow".into()));
        assert_eq!(seen.next(), Sight::Message);
        client.call("1", "wait", "a");
        seen.began("a");
        leave(client);
        seen.gone("a");
        seen.nothing_more();
    }
    gate.open();
    seen.closed();
    seen.closed();
}

pub fn calls_are_dropped_when_the_server_closes(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    client.call("1", "wait", "a");
    seen.began("a");
    for connection in server.realtime().filter(|_| true) {
        connection.close(CloseCode::GOING_AWAY, "enough");
    }
    seen.gone("a");
    assert_eq!(client.expect_close(1001), "enough");
}

/// The refusal has no id, since it would look like the end of the first call.
pub fn an_id_in_use_is_refused_without_ending_the_first(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "wait", "a");
        seen.began("a");
        client.subscribe("s", "idle", "s");
        seen.began("s");
        for id in ["1", "s"] {
            for kind in ["call", "subscribe"] {
                client.packet(json!({ "type": kind, "id": id, "path": "echo", "input": "x" }));
                let packet = client.recv_packet();
                assert_eq!((&packet["type"], packet.get("id")), (&"error".into(), None), "{packet}");
                let error = &packet["error"];
                assert_eq!((&error["code"], &error["details"]), (&"DUPLICATE_ID".into(), &json!({ "id": id })));
            }
        }
        client.cancel("1");
        client.expect_failed("1", "CANCELLED");
        seen.gone("a");
        client.unsubscribe("s");
        client.expect_complete("s");
        seen.gone("s");
    }
}

/// The error of the second call is not reported as the end of the first.
pub fn a_wrong_call_with_an_id_in_use_does_not_end_the_first(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "wait", "a");
        seen.began("a");
        for kind in ["call", "subscribe"] {
            client.packet(json!({ "type": kind, "id": "1", "path": "a..b" }));
            let packet = client.recv_packet();
            let found = (&packet["type"], &packet["error"]["code"], packet.get("id"));
            assert_eq!(found, (&"error".into(), &"DUPLICATE_ID".into(), None), "{packet}");
        }
        client.packet(json!({ "type": "credit", "id": "1", "more": -1 }));
        client.expect_error("PARSE_ERROR");
        client.cancel("1");
        client.expect_failed("1", "CANCELLED");
        seen.gone("a");
    }
}

/// The id is free after an end of any kind.
pub fn an_id_is_free_after_its_end(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    for _ in 0..3 {
        client.call("1", "echo", "a");
        client.expect_result("1", "a");
        client.call("1", "fail", json!({ "code": "MINE", "message": "so" }));
        client.expect_failed("1", "MINE");
        client.call("1", "panic", "later");
        client.expect_failed("1", "INTERNAL");
        client.call("1", "wait", "a");
        seen.began("a");
        client.cancel("1");
        client.expect_failed("1", "CANCELLED");
        seen.gone("a");
        client.subscribe("1", "count", 0);
        client.expect_complete("1");
        client.subscribe("1", "idle", "a");
        seen.began("a");
        client.unsubscribe("1");
        // It need not wait for the answer: its frames are read in their order.
        client.call("1", "echo", "b");
        client.expect_complete("1");
        client.expect_result("1", "b");
        seen.gone("a");
    }
}

pub fn what_is_not_running_can_be_cancelled_in_vain(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    client.call("1", "echo", "a");
    client.expect_result("1", "a");
    client.call("2", "wait", "a");
    seen.began("a");
    for id in ["1", "never"] {
        client.cancel(id);
        client.unsubscribe(id);
        client.grant(id, 7);
    }
    // A call is not unsubscribed, and takes no credit.
    client.unsubscribe("2");
    client.grant("2", 7);
    client.echoes();
    client.cancel("2");
    client.cancel("2");
    client.expect_failed("2", "CANCELLED");
    client.echoes();
}

pub fn progress_comes_before_the_result_and_not_after(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.call("1", "progress", 2);
        for step in 1..=2 {
            client.expect_packet(json!({ "type": "progress", "id": "1", "data": step }));
        }
        client.expect_result("1", 2);
        // One who keeps the call has no way to say more.
        client.call("1", "keep", Value::Null);
        client.expect_result("1", Value::Null);
        client.call("2", "report_late", Value::Null);
        client.expect_result("2", "CANCELLED");
        client.echoes();
    }
}

/// The call ends at its deadline, not a tick earlier.
pub fn a_call_ends_at_its_callers_deadline(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for mut client in each_form(&server) {
        client.packet(json!({ "type": "call", "id": "1", "path": "wait", "input": "a", "timeoutMs": 2000 }));
        seen.began("a");
        server.advance(Duration::from_millis(2000));
        client.settle();
        seen.nothing_more();
        server.advance(Duration::from_millis(250));
        client.expect_failed("1", "DEADLINE_EXCEEDED");
        seen.gone("a");
        client.echoes();
    }
}

/// A caller cannot extend the procedure's time limit.
pub fn a_call_ends_at_its_procedures_deadline(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    for more in [json!({}), json!({ "timeoutMs": 60_000 })] {
        let mut call = json!({ "type": "call", "id": "1", "path": "wait", "input": "a" });
        if let (Some(call), Some(more)) = (call.as_object_mut(), more.as_object()) {
            call.extend(more.clone());
        }
        client.packet(call);
        seen.began("a");
        server.advance(Duration::from_secs(8));
        client.settle();
        seen.nothing_more();
        server.advance(Duration::from_millis(250));
        client.expect_failed("1", "DEADLINE_EXCEEDED");
        seen.gone("a");
    }
}

pub fn a_deadline_counts_the_time_of_guards(subject: &Subject) {
    let (server, seen, gate) = start(subject);
    let mut client = server.connect("api");
    client.packet(json!({ "type": "call", "id": "1", "path": "slow.call", "timeoutMs": 1000 }));
    client.settle();
    server.advance(Duration::from_millis(1250));
    client.expect_failed("1", "DEADLINE_EXCEEDED");
    gate.open();
    client.echoes();
    seen.nothing_more();
}

/// Calls end in the order of their deadlines; others are not affected.
pub fn each_call_has_a_deadline_of_its_own(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("api");
    for (id, timeout) in [("c", 3000), ("a", 1000), ("b", 2000)] {
        client.packet(json!({ "type": "call", "id": id, "path": "wait", "input": id, "timeoutMs": timeout }));
        seen.began(id);
    }
    for id in ["a", "b", "c"] {
        client.settle();
        server.advance(Duration::from_millis(1250));
        client.expect_failed(id, "DEADLINE_EXCEEDED");
        seen.gone(id);
    }
}

pub fn too_many_calls_are_refused_at_once(subject: &Subject) {
    let (server, seen, _) = start_with(subject, |config| config.calls_per_connection = 2);
    let mut client = server.connect("api");
    for id in ["a", "b"] {
        client.call(id, "wait", id);
        seen.began(id);
    }
    client.call("c", "wait", "c");
    let error = client.expect_failed("c", "RESOURCE_EXHAUSTED");
    assert_eq!((&error["retryable"], &error["retryAfterMs"]), (&true.into(), &100.into()));
    seen.nothing_more();
    client.subscribe("s", "count", 0);
    client.expect_complete("s");
    client.cancel("a");
    client.expect_failed("a", "CANCELLED");
    seen.gone("a");
    client.call("c", "wait", "c");
    seen.began("c");
    client.settle();
}

/// The guard runs before the input is read, for calls, subscriptions and events.
pub fn a_guard_decides_by_the_request(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut stranger = server.connect("api");
    stranger.call("1", "admin.secret", "not a number");
    let error = stranger.expect_failed("1", "PERMISSION_DENIED");
    assert_eq!(error["message"], "for admins");
    stranger.subscribe("1", "admin.count", 1);
    stranger.expect_failed("1", "PERMISSION_DENIED");
    stranger.emit("ADMIN", Value::Null);
    stranger.expect_error("PERMISSION_DENIED");
    // What is nested has its prefix and no other name.
    stranger.call("1", "secret", 7);
    stranger.expect_failed("1", "NOT_FOUND");
    stranger.echoes();

    let mut admin = server.request("api").header("x-role", "admin").connect();
    admin.call("1", "admin.secret", 7);
    admin.expect_result("1", "the admins'");
    admin.subscribe("1", "admin.count", 1);
    admin.expect_data("1", 0);
    admin.expect_complete("1");
    admin.emit("ADMIN", Value::Null);
    admin.expect_packet(json!({ "type": "event", "name": "DONE", "data": "ADMIN" }));
}

pub fn a_merged_endpoint_keeps_its_guard_and_state_for_itself(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    client.call("1", "merged", Value::Null);
    client.expect_failed("1", "UNAUTHENTICATED");
    client.echoes();
    let mut client = server.request("api").header("x-merged", "yes").connect();
    client.call("1", "merged", Value::Null);
    client.expect_result("1", 7);
    client.call("1", "admin.secret", 7);
    client.expect_failed("1", "PERMISSION_DENIED");
}

/// Middleware of nested and merged endpoints runs in the order in which these were added.
pub fn middleware_of_a_nested_endpoint_is_kept(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut refused = server.request("api").header("x-role", "nobody").refused(403);
    assert_eq!(refused.body()["error"]["message"], "nobody enters");
    let mut client = server.request("api").header("x-merged", "yes").connect();
    client.call("1", "entered", Value::Null);
    client.expect_result("1", ["admin", "merged"]);
}

pub fn a_message_to_an_endpoint_without_handler_is_not_found(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        client.value(&Command::Echo("anybody?".into()));
        client.expect_error("NOT_FOUND");
        client.echoes();
    }
}

pub fn a_call_to_a_handler_without_endpoint_is_not_found(subject: &Subject) {
    let (server, ..) = start_with(subject, |_| {});
    let mut client = server.connect("lab");
    client.call("1", "echo", "a");
    client.expect_failed("1", "NOT_FOUND");
    client.subscribe("1", "count", 1);
    client.expect_failed("1", "NOT_FOUND");
    works(&mut client);
}

/// Ends may come in any order and of any kind; nothing follows an end.
pub fn each_of_many_calls_and_subscriptions_has_one_end(subject: &Subject) {
    const COUNT: usize = 400;
    let (server, ..) = start(subject);
    for mut client in each_form(&server) {
        let mut random = 7_u64;
        let mut next = move |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % limit
        };
        let mut ends: Vec<Value> = Vec::new();
        for number in 0..COUNT {
            let id = number.to_string();
            match next(10) {
                0 => client.call(&id, "echo", "a"),
                1 => client.call(&id, "panic", "later"),
                2 => client.call(&id, "no_such", "a"),
                3 => client.call(&id, "unserialisable", Value::Null),
                4 => client.call(&id, "progress", 3),
                5 => client.subscribe(&id, "count", 5),
                6 => client.subscribe(&id, "failing", "later"),
                7 => {
                    client.call(&id, "wait", "never");
                    ends.push(json!({ "type": "cancel", "id": id }));
                }
                8 => {
                    client.subscribe_with_credit(&id, "endless", Value::Null, 2);
                    ends.push(json!({ "type": "unsubscribe", "id": id }));
                }
                _ => {
                    client.subscribe(&id, "count", 200);
                    ends.push(json!({ "type": "unsubscribe", "id": id }));
                }
            }
            // Some wait long for their end, and some are ended twice.
            if !ends.is_empty() && next(3) > 0 {
                let at = next(ends.len() as u64) as usize;
                client.packet(ends[at].clone());
                if next(4) > 0 {
                    ends.swap_remove(at);
                }
            }
        }
        ends.into_iter().for_each(|end| client.packet(end));
        client.call("last", "echo", "a");
        let mut ended = std::collections::HashSet::new();
        while ended.len() <= COUNT {
            let packet = client.recv_packet();
            let id = packet["id"].as_str().unwrap_or_else(|| panic!("{packet}")).to_owned();
            let is_end = ["result", "error", "complete"].iter().any(|kind| packet["type"] == *kind);
            assert!(!ended.contains(&id), "after its end came {packet}");
            if is_end {
                ended.insert(id);
            }
        }
        client.echoes();
    }
}

/// The queue of a client that does not read stays within its bound: nothing more is read from the client, and after the
/// idle timeout it is closed.
pub fn a_client_that_calls_and_never_reads_is_closed(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.outbox_bytes = 64 * 1024);
    let mut other = server.connect("api");
    other.echoes();
    let client = server.connect("api");
    let calls = client_call("echo", json!("x".repeat(10_000))).repeat(10);
    super::flood_until_closed(&server, client, calls, |queued| {
        assert!(queued < 64 * 1024, "{queued} bytes wait");
        other.echoes();
    });
    other.echoes();
}

/// A client that makes calls without end is served in turns, and loses none.
pub fn a_flood_of_calls_is_answered(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    let call = client_call("echo", json!("x"));
    client.raw(&call.repeat(5000));
    for _ in 0..5000 {
        client.expect_result("1", "x");
    }
}

/// A client that reads gets all results, however many calls it makes at once.
pub fn calls_in_one_write_are_answered_to_one_who_reads(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    client.raw(&client_call("text", json!(2000)).repeat(1000));
    for _ in 0..1000 {
        client.expect_result("1", "x".repeat(2000));
    }
    client.echoes();
}

/// An unreadable frame counts even if its id can be read and the error has that id.
pub fn a_flood_of_calls_that_cannot_be_read_is_closed(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("api");
    let wrong = TestFrame::text(r#"{"type":"call","id":"1","path":7}"#).to_bytes();
    for _ in 0..2 {
        client.raw(&wrong.repeat(32));
        for _ in 0..32 {
            client.expect_failed("1", "PARSE_ERROR");
        }
        client.echoes();
    }
    client.raw(&wrong.repeat(33));
    for _ in 0..33 {
        client.expect_failed("1", "PARSE_ERROR");
    }
    assert_eq!(client.expect_close(1008), "too many malformed messages");
}

fn client_call(path: &str, input: Value) -> Vec<u8> {
    let call = json!({ "type": "call", "id": "1", "path": path, "input": input });
    TestFrame::text(&call.to_string()).to_bytes()
}
