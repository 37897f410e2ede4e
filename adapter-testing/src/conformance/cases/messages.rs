//! Messages in both directions, in order.

use super::{builder, messagepack, said, start, start_with, subscribe, works};
use crate::{
    TestFrame,
    conformance::{Command, Reply, Sight, Subject},
};
use bytes::Bytes;
use realtime_core::{FnConnection, Handler, Result, handler_fn, websocket::Opcode};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
    mpsc::channel,
};

pub fn text_and_binary_come_back_as_they_came(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("echo");
    for text in ["", "a", "žluťoučký kůň 🐎", "\n\0\u{7f}", "{\"type\":\"message\"}"] {
        client.text(text);
        client.expect_text(text);
    }
    for bytes in [&b""[..], b"\xff\x00\xfe", b"text"] {
        client.frame(&TestFrame::new(Opcode::Binary, bytes));
        assert_eq!(client.recv(), TestFrame::new(Opcode::Binary, bytes));
    }
    client.close(1000, "done");
}

pub fn every_length_of_a_frame_works(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.message_bytes = 1 << 20);
    let mut client = server.connect("echo");
    for len in [1, 124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537, 300_000] {
        let frame = TestFrame::new(Opcode::Binary, (0..len).map(|at| at as u8).collect::<Vec<_>>());
        client.frame(&frame);
        assert!(client.recv() == frame, "{len} bytes came back otherwise");
    }
}

pub fn a_message_may_come_in_pieces_with_pings_between(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("echo");
    // The pieces cut through a character.
    client.frame(&TestFrame::new(Opcode::Text, b"h\xc3").unfinished());
    client.frame(&TestFrame::new(Opcode::Ping, "between"));
    assert_eq!(client.recv(), TestFrame::new(Opcode::Pong, "between"));
    client.frame(&TestFrame::new(Opcode::Continuation, b"").unfinished());
    client.frame(&TestFrame::new(Opcode::Continuation, b"\xa9\xe2\x82").unfinished());
    client.frame(&TestFrame::new(Opcode::Pong, "unasked"));
    client.frame(&TestFrame::new(Opcode::Continuation, b"\xac"));
    client.expect_text("hé€");
}

pub fn a_message_of_the_limit_is_taken(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.message_bytes = 1000);
    let mut client = server.connect("echo");
    let text = "x".repeat(1000);
    client.text(&text);
    client.expect_text(&text);
}

pub fn the_json_protocol_wraps_values(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    client.text(r#" {"value": {"echo": "\u00e9 \"quoted\" \u2028"}, "more": [1], "type": "message"} "#);
    client.expect_text("{\"type\":\"message\",\"value\":{\"text\":\"é \\\"quoted\\\" \u{2028}\"}}");
}

pub fn the_messagepack_protocol_wraps_values(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = messagepack(&server);
    client.binary(b"\x83\xa5value\x81\xa4echo\xd9\x05\xc3\xa9 \"\0\xa4more\x91\xd4\x05\xc1\xa4type\xa7message");
    client.expect_binary(b"\x82\xa4type\xa7message\xa5value\x81\xa4text\xa5\xc3\xa9 \"\0");
    client.binary(b"\x81\xa4type\xa4ping");
    client.expect_binary(b"\x81\xa4type\xa4pong");
    client.value(&Command::Fail { code: "MINE".into(), message: "so".into() });
    client.expect_binary(b"\x82\xa4type\xa5error\xa5error\x82\xa4code\xa4MINE\xa7message\xa2so");
    client.value(&Command::Echo("x".repeat(70_000)));
    said(&mut client, &"x".repeat(70_000));
    client.close(1000, "done");
}

/// Every notation of a whole float is accepted.
pub fn a_whole_float_in_a_message_is_an_integer(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut client in [server.connect("lab"), messagepack(&server)] {
        client.packet(json!({ "type": "message", "value": { "burst": { "count": 1.0, "bytes": 3.0 } } }));
        said(&mut client, "xxx");
        client.expect_value(&Reply::Taken(1));
        client.packet(json!({ "type": "message", "value": { "burst": { "count": 1, "bytes": 3.5 } } }));
        let error = client.expect_error("INVALID_ARGUMENT");
        assert_eq!(error["details"], json!({ "path": "burst.bytes" }));
    }
    let mut client = server.connect("lab");
    client.text(r#"{"value":{"burst":{"count":10e-1,"bytes":0.3e+1}},"type":"message"}"#);
    said(&mut client, "xxx");
    client.expect_value(&Reply::Taken(1));
    let mut client = messagepack(&server);
    client.binary(
        b"\x82\xa4type\xa7message\xa5value\x81\xa5burst\x82\xa5count\xca\x3f\x80\0\0\xa5bytes\xcb\x40\x08\0\0\0\0\0\0",
    );
    said(&mut client, "xxx");
    client.expect_value(&Reply::Taken(1));
}

/// Each message gets exactly one error, and the session goes on.
pub fn malformed_messagepack_is_answered_and_the_session_goes_on(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = messagepack(&server);
    for (bytes, code) in [
        (&b""[..], "PARSE_ERROR"),
        (b"\xc0", "PARSE_ERROR"),
        (b"\xc1", "PARSE_ERROR"),
        (b"\x90", "PARSE_ERROR"),
        (b"\x92\xa4ping\xc0", "PARSE_ERROR"),
        (b"\x80", "PARSE_ERROR"),
        (br#"{"type":"ping"}"#, "PARSE_ERROR"),
        (b"\x81\xa4type\x07", "PARSE_ERROR"),
        (b"\x81\xa4type\xa7unknown", "PARSE_ERROR"),
        (b"\x81\xc4\x04type\xa4ping", "PARSE_ERROR"),
        (b"\x81\xa4type\xa4ping\xc0", "PARSE_ERROR"),
        (b"\x82\xa4type\xa4ping\xa4type\xa4ping", "PARSE_ERROR"),
        (b"\x82\xa4type\xa7message\xa5value\xdd\xff\xff\xff\xff", "PARSE_ERROR"),
        (b"\x82\xa4type\xa7message\xa5value\xc6\xff\xff\xff\xff", "PARSE_ERROR"),
        (b"\x81\xa4type\xa7message", "INVALID_ARGUMENT"),
        (b"\x82\xa4type\xa7message\xa5value\xc0", "INVALID_ARGUMENT"),
        (b"\x82\xa4type\xa7message\xa5value\xd4\x05\0", "INVALID_ARGUMENT"),
        (b"\x82\xa4type\xa7message\xa5value\x81\xa4echo\x07", "INVALID_ARGUMENT"),
        (b"\x82\xa4type\xa7message\xa5value\x81\xa4echo\xa1\xff", "INVALID_ARGUMENT"),
        (b"\x82\xa4type\xa7message\xa5value\x81\xa7unknown\x07", "INVALID_ARGUMENT"),
        (b"\x81\xa4type\xa5event", "INVALID_ARGUMENT"),
        (b"\x82\xa4type\xa5event\xa4name\xa1X", "NOT_FOUND"),
    ] {
        client.binary(bytes);
        let error = client.expect_error(code);
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", bytes.escape_ascii());
    }
    client.text(r#"{"type":"ping"}"#);
    let error = client.expect_error("UNSUPPORTED_DATA");
    assert_eq!(error["message"], "text messages are not taken here");
    works(&mut client);
}

/// Each message gets exactly one error, and the session goes on.
pub fn a_malformed_message_is_answered_and_the_session_goes_on(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    for (text, code) in [
        ("", "PARSE_ERROR"),
        ("not json", "PARSE_ERROR"),
        ("null", "PARSE_ERROR"),
        ("[]", "PARSE_ERROR"),
        ("{}", "PARSE_ERROR"),
        (r#"{"type":7}"#, "PARSE_ERROR"),
        (r#"{"type":"unknown"}"#, "PARSE_ERROR"),
        (r#"{"type":"message","type":"message","value":1}"#, "PARSE_ERROR"),
        (r#"{"type":"message"}"#, "INVALID_ARGUMENT"),
        (r#"{"type":"message","value":null}"#, "INVALID_ARGUMENT"),
        (r#"{"type":"message","value":{"echo":7}}"#, "INVALID_ARGUMENT"),
        (r#"{"type":"message","value":{"unknown":7}}"#, "INVALID_ARGUMENT"),
        (r#"{"type":"event"}"#, "INVALID_ARGUMENT"),
        (r#"{"type":"event","name":"TYPING"}"#, "NOT_FOUND"),
    ] {
        client.text(text);
        let error = client.expect_error(code);
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
    }
    client.frame(&TestFrame::new(Opcode::Binary, r#"{"type":"ping"}"#));
    client.expect_error("UNSUPPORTED_DATA");
    works(&mut client);
}

pub fn an_error_of_the_handler_is_told_and_the_session_goes_on(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("lab");
    client.value(&Command::Fail { code: "OUT_OF_TEA".into(), message: "come back \"later\"".into() });
    client.expect_text(r#"{"type":"error","error":{"code":"OUT_OF_TEA","message":"come back \"later\""}}"#);
    works(&mut client);
    seen.opened();
    assert_eq!((seen.next(), seen.next()), (Sight::Message, Sight::Error("OUT_OF_TEA".into())));
}

pub fn internal_causes_are_not_told(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    client.value(&Command::FailInside);
    client.expect_text(r#"{"type":"error","error":{"code":"INTERNAL","message":"internal error"}}"#);
    works(&mut client);
}

pub fn the_error_hook_decides_what_is_told(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    client.value(&Command::Fail { code: "HIDDEN".into(), message: "the password is 7".into() });
    client.expect_text(
        r#"{"type":"error","error":{"code":"UNAVAILABLE","message":"ask again later","retryable":true}}"#,
    );
}

pub fn a_ping_of_the_protocol_is_answered(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    client.text(r#"{"type":"ping"}"#);
    client.expect_text(r#"{"type":"pong"}"#);
}

pub fn a_ping_frame_is_answered_with_its_payload(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    for payload in [&b""[..], b"\xff\x00", &[7; 125]] {
        client.frame(&TestFrame::new(Opcode::Ping, payload));
        assert_eq!(client.recv(), TestFrame::new(Opcode::Pong, payload));
    }
}

/// The bytes may arrive in one read or one by one.
pub fn replies_keep_the_order_of_what_they_answer(subject: &Subject) {
    let (server, ..) = start(subject);
    let echo = r#"{"type":"message","value":{"echo":"1"}}"#;
    let script = [
        TestFrame::text(echo),
        TestFrame::new(Opcode::Ping, "2"),
        TestFrame::text("3"),
        TestFrame::text(r#"{"type":"ping"}"#),
        TestFrame::text(echo),
        TestFrame::close(1000, ""),
    ];
    let bytes: Vec<u8> = script.iter().flat_map(TestFrame::to_bytes).collect();
    let mut transcripts = Vec::new();
    for size in [bytes.len(), 1, 7] {
        let mut client = server.connect("lab");
        for chunk in bytes.chunks(size) {
            client.raw(chunk);
        }
        transcripts.push(client.rest());
    }
    assert_eq!(transcripts[0], transcripts[1]);
    assert_eq!(transcripts[0], transcripts[2]);
}

pub fn messages_wait_for_on_open(subject: &Subject) {
    let (server, seen, gate) = start(subject);
    let mut client = server.request("lab").query("open=wait").connect();
    client.value(&Command::Echo("first".into()));
    client.value(&Command::Echo("second".into()));
    // Both have been read: the ping behind them was.
    client.settle();
    seen.opened();
    seen.nothing_more();
    gate.open();
    said(&mut client, "first");
    said(&mut client, "second");
}

/// No message is lost or handled out of order: nothing is read until there is room.
pub fn more_messages_than_may_wait_are_read_later(subject: &Subject) {
    let (server, seen, gate) = start_with(subject, |config| config.queued_messages = 4);
    let mut client = server.request("lab").query("open=wait").connect();
    for number in 0..200 {
        client.value(&Command::Echo(number.to_string()));
    }
    seen.opened();
    gate.open();
    for number in 0..200 {
        said(&mut client, &number.to_string());
    }
}

/// A client that reads gets all replies, however much it sends at once: waiting for the server does not make it slow.
pub fn messages_in_one_write_are_answered_to_one_who_reads(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    let burst = json!({ "type": "message", "value": Command::Burst { count: 1, bytes: 2000 } });
    client.raw(&TestFrame::text(&burst.to_string()).to_bytes().repeat(1000));
    for _ in 0..1000 {
        said(&mut client, &"x".repeat(2000));
        client.expect_value(&Reply::Taken(1));
    }
    works(&mut client);
}

/// The outbox holds only a few of these messages.
pub fn large_messages_in_one_write_are_answered_to_one_who_reads(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    let text = "x".repeat(200_000);
    let echo = serde_json::json!({ "type": "message", "value": Command::Echo(text.clone()) });
    let echoes = TestFrame::text(&echo.to_string()).to_bytes().repeat(16);
    let sent = std::thread::spawn(move || {
        client.raw(&echoes);
        client
    });
    let mut client = sent.join().expect("the server takes them");
    for _ in 0..16 {
        said(&mut client, &text);
    }
    works(&mut client);
}

pub fn messages_are_handled_one_after_the_other(subject: &Subject) {
    let (server, seen, gate) = start(subject);
    let mut client = server.connect("lab");
    client.value(&Command::EchoAtGate("slow".into()));
    client.value(&Command::Echo("quick".into()));
    // A ping is answered while the handler is busy.
    client.settle();
    seen.opened();
    assert_eq!(seen.next(), Sight::Message);
    seen.nothing_more();
    gate.open();
    said(&mut client, "slow");
    said(&mut client, "quick");
}

pub fn send_then_publish_arrive_in_that_order(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    subscribe(&mut client, "t");
    for _ in 0..20 {
        let (topic, sent, published) = ("t".into(), "sent".into(), "published".into());
        client.value(&Command::SendThenPublish { topic, sent, published });
        said(&mut client, "sent");
        said(&mut client, "published");
    }
}

/// Without a frame for errors, the close code and the reason report them.
pub fn a_plain_handler_is_told_errors_by_the_close_code(subject: &Subject) {
    struct Add;
    impl Handler for Add {
        type Input = ();
        type ClientMessage = (i64, i64);
        type ServerMessage = i64;

        async fn on_message(&self, connection: &realtime_core::Connection<Self>, (a, b): (i64, i64)) -> Result {
            let sum = a.checked_add(b).ok_or_else(|| realtime_core::Error::failed_precondition("too much"))?;
            connection.send(sum)?;
            Ok(())
        }
    }
    let (builder, ..) = builder(|_| {});
    let server = subject.start(builder.handler("add", Add.plain()).build());
    let mut client = server.connect("add");
    client.text(" [1, 2] ");
    client.expect_text("3");
    client.text(&format!("[{}, 1]", i64::MAX));
    assert_eq!(client.expect_close(1008), "too much");

    let mut client = server.connect("add");
    client.text("[1]");
    let reason = client.expect_close(1007);
    assert!(reason.contains("invalid length 1"), "{reason}");
}

pub fn a_plain_handler_of_one_kind_closes_on_the_other(subject: &Subject) {
    let (builder, ..) = builder(|_| {});
    let builder = builder.handler("text", echo::<String>()).handler("binary", echo::<Bytes>());
    let server = subject.start(builder.build());

    let mut client = server.connect("text");
    client.text("not JSON");
    client.expect_text("not JSON");
    client.frame(&TestFrame::new(Opcode::Binary, "x"));
    assert_eq!(client.expect_close(1003), "binary messages are not taken here");

    let mut client = server.connect("binary");
    client.frame(&TestFrame::new(Opcode::Binary, b"\xff"));
    assert_eq!(client.recv(), TestFrame::new(Opcode::Binary, b"\xff"));
    client.text("x");
    assert_eq!(client.expect_close(1003), "text messages are not taken here");
}

fn echo<M>() -> realtime_core::Mount
where
    M: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    struct Same<M>(std::marker::PhantomData<fn() -> M>);
    impl<M> Handler for Same<M>
    where
        M: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        type Input = ();
        type ClientMessage = M;
        type ServerMessage = M;

        async fn on_message(&self, connection: &realtime_core::Connection<Self>, message: M) -> Result {
            connection.send(message)?;
            Ok(())
        }
    }
    Same::<M>(std::marker::PhantomData).plain()
}

pub fn a_function_receives_and_ends_the_session(subject: &Subject) {
    let (builder, ..) = builder(|_| {});
    let function = handler_fn(|connection: FnConnection<String, String>| async move {
        connection.send("welcome".into())?;
        while let Some(text) = connection.recv().await {
            match &*text {
                "end" => return Ok(()),
                "fail" => return Err(realtime_core::Error::permission_denied("you failed")),
                _ => connection.send(text)?,
            }
        }
        Ok(())
    });
    let server = subject.start(builder.handler("function", function).build());
    let mut client = server.connect("function");
    client.expect_value(&"welcome");
    client.value(&"hi");
    client.expect_value(&"hi");
    // What cannot be read is answered, and the function does not see it.
    client.value(&7);
    client.expect_error("INVALID_ARGUMENT");
    client.value(&"end");
    assert_eq!(client.expect_close(1000), "");

    let mut client = server.connect("function");
    client.expect_value(&"welcome");
    client.value(&"fail");
    client.expect_error("PERMISSION_DENIED");
    assert_eq!(client.expect_close(1008), "you failed");
}

pub fn a_function_sees_the_end_of_its_client(subject: &Subject) {
    let (builder, ..) = builder(|_| {});
    let (ended, seen) = channel();
    let function = handler_fn(move |connection: FnConnection<String, String>| {
        let ended = ended.clone();
        async move {
            connection.send("welcome".into())?;
            let mut received = Vec::new();
            while let Some(text) = connection.recv().await {
                received.push(text);
            }
            assert!(connection.is_closed());
            let _ = ended.send(received);
            Ok(())
        }
    });
    let server = subject.start(builder.handler("function", function).build());
    let mut client = server.connect("function");
    client.expect_value(&"welcome");
    client.value(&"a");
    client.value(&"b");
    client.settle();
    drop(client);
    let received = seen.recv_timeout(std::time::Duration::from_secs(10)).unwrap_or_default();
    assert_eq!(received, ["a", "b"]);
}

/// A function that only waits for the end is not polled until then.
pub fn a_function_that_waits_for_the_end_is_not_polled_again(subject: &Subject) {
    let (builder, ..) = builder(|_| {});
    let polls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&polls);
    let function = handler_fn(move |connection: FnConnection<String, String>| {
        let polls = Arc::clone(&count);
        async move {
            let mut closed = std::pin::pin!(connection.closed());
            std::future::poll_fn(|cx| {
                polls.fetch_add(1, SeqCst);
                closed.as_mut().poll(cx)
            })
            .await;
            Ok(())
        }
    });
    let server = subject.start(builder.handler("function", function).build());
    let mut client = server.connect("function");
    for _ in 0..10 {
        client.settle();
    }
    // Once for each ping at most, and some for the wake-ups of the transport.
    let polled = polls.load(SeqCst);
    assert!(polled < 100, "polled {polled} times");
    client.close(1000, "");
}

/// The function may pass its connection to another thread, whose receiving lets the server read again.
pub fn messages_may_be_received_on_another_thread(subject: &Subject) {
    let (builder, ..) = builder(|config| config.queued_messages = 4);
    let function = handler_fn(|connection: FnConnection<u32, u32>| async move {
        echo_on_a_thread(&connection);
        connection.closed().await;
        Ok(())
    });
    let server = subject.start(builder.handler("function", function).build());
    let mut client = server.connect("function");
    for number in 0..500 {
        client.value(&number);
    }
    for number in 0..500 {
        client.expect_value(&number);
    }
    client.close(1000, "");
}

fn echo_on_a_thread(connection: &FnConnection<u32, u32>) {
    let other = connection.clone();
    std::thread::spawn(move || {
        crate::block_on(async {
            while let Some(number) = other.recv().await {
                if other.send(number).is_err() {
                    return;
                }
            }
        });
    });
}

/// Each message goes to one of the tasks, and none of them sleeps while a message waits.
pub fn several_tasks_may_receive(subject: &Subject) {
    let (builder, ..) = builder(|_| {});
    let function = handler_fn(|connection: FnConnection<u32, u32>| async move {
        for _ in 0..4 {
            echo_on_a_thread(&connection);
        }
        connection.closed().await;
        Ok(())
    });
    let server = subject.start(builder.handler("function", function).build());
    let mut client = server.connect("function");
    for number in 0..100 {
        client.value(&number);
        client.expect_value(&number);
    }
    client.close(1000, "");
}

pub fn an_array_is_no_frame(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    for text in [r#"["ping",null,null,null]"#, r#"["message",null,{"echo":"x"},null]"#] {
        client.text(text);
        let error = client.expect_error("PARSE_ERROR");
        assert!(
            error["message"].as_str().is_some_and(|message| message.contains("expected an object")),
            "{error}"
        );
    }
}
