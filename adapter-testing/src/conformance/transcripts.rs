use super::lab::Command;
use crate::TestFrame;
use realtime_core::websocket::Opcode;
use realtime_protocol::client::Format;
use std::fmt::Write as _;

/// The bytes that a client sends.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) id: &'static str,
    pub(crate) subprotocol: Option<&'static str>,
    pub(crate) bytes: Vec<u8>,
}

/// The bytes that the server sends, from the upgrade to the end.
pub(crate) struct Transcript {
    pub(crate) name: String,
    pub(crate) answer: Vec<u8>,
}

impl Transcript {
    pub(crate) fn write(transcripts: &[Self]) -> String {
        let mut text = String::new();
        for transcript in transcripts {
            let _ = writeln!(text, "{}: {}", transcript.name, transcript.answer.escape_ascii());
        }
        text
    }
}

/// Returns the recorded transcripts. With `UPDATE_TRANSCRIPTS` in the environment, records those that were found first.
pub(crate) fn recorded(found: &[Transcript]) -> String {
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conformance/transcripts.txt");
        let written = std::fs::write(file, Transcript::write(found));
        written.expect("the record can be written");
        return Transcript::write(found);
    }
    include_str!("transcripts.txt").to_owned()
}

/// Returns the scripts. Each ends the session, so that the server's bytes end too.
pub(crate) fn scripts() -> Vec<Script> {
    let text = |text: &str| TestFrame::text(text);
    let value = |command: &Command| {
        let value = serde_json::to_value(command).unwrap_or_default();
        TestFrame::text(&serde_json::json!({ "type": "message", "value": value }).to_string())
    };
    let close = || TestFrame::close(1000, "done");
    let ping = |payload: &str| TestFrame::new(Opcode::Ping, payload);
    let more = |payload: &str| TestFrame::new(Opcode::Continuation, payload);
    let script = |name, id, frames: Vec<TestFrame>| Script {
        name,
        id,
        subprotocol: None,
        bytes: frames.iter().flat_map(TestFrame::to_bytes).collect(),
    };
    let raw = |name, bytes: &[u8]| Script { name, id: "echo", subprotocol: None, bytes: bytes.to_vec() };
    let echo = |name, frames| script(name, "echo", frames);
    let lab = |name, frames| script(name, "lab", frames);
    let api =
        |name, frames: &[&str]| script(name, "api", frames.iter().copied().map(text).chain([close()]).collect());
    let tell = |text: &str| value(&Command::Echo(text.into()));
    let binary = |bytes: &[u8]| TestFrame::new(Opcode::Binary, bytes);
    let messagepack = |name, messages: &[&[u8]]| Script {
        subprotocol: Some("realtime.v1.msgpack"),
        ..lab(name, messages.iter().map(|bytes| binary(bytes)).chain([close()]).collect())
    };
    let publish = Command::PublishToAll { topic: "t".into(), text: "to all".into() };
    let both = Command::SendThenPublish { topic: "t".into(), sent: "1".into(), published: "2".into() };
    vec![
        echo("close at once", vec![close()]),
        echo("close without a code", vec![TestFrame::new(Opcode::Close, "")]),
        echo("texts", vec![text("a"), text(""), text("žluťoučký 🐎"), close()]),
        echo(
            "binaries",
            vec![TestFrame::new(Opcode::Binary, b"\xff\0"), TestFrame::new(Opcode::Binary, ""), close()],
        ),
        echo("lengths", vec![text(&"x".repeat(125)), text(&"x".repeat(126)), text(&"x".repeat(4096)), close()]),
        echo("pieces", vec![text("a").unfinished(), ping("p"), more("b").unfinished(), more("c"), close()]),
        echo("pings between", vec![ping("1"), text("2"), ping("3"), ping("4"), text("5"), close()]),
        echo("unasked pong", vec![TestFrame::new(Opcode::Pong, "x"), text("a"), close()]),
        echo("nothing after a close", vec![text("a"), close(), text("b"), ping("c")]),
        echo("too long", vec![text("a"), text(&"x".repeat(4097)), text("b")]),
        echo("too many pieces", [vec![text("").unfinished()], vec![more("").unfinished(); 20]].concat()),
        echo("application's code", vec![TestFrame::close(4999, "mine")]),
        echo("reserved code", vec![TestFrame::close(1005, "")]),
        echo("long ping", vec![text("a"), TestFrame::new(Opcode::Ping, [1; 126])]),
        echo("stray continuation", vec![more("x")]),
        echo("message inside a message", vec![text("a").unfinished(), text("b")]),
        raw("unmasked", b"\x81\x01a"),
        raw("reserved bit", b"\xc1\x80aaaa"),
        raw("reserved opcode", b"\x83\x80aaaa"),
        raw("2 to the 63", b"\x82\xff\x80\0\0\0\0\0\0\0aaaa"),
        raw("bad UTF-8", b"\x81\x82\0\0\0\0\xc3\x28"),
        lab("values", vec![tell("a"), tell("\"\\\n"), close()]),
        lab("malformed", vec![text("{"), tell("a"), text("[]"), text(r#"{"type":"x"}"#), tell("b"), close()]),
        lab("wrong fields", vec![text(r#"{"type":"message"}"#), text(r#"{"type":"message","value":7}"#), close()]),
        lab(
            "pings of both kinds",
            vec![text(r#"{"type":"ping"}"#), ping("p"), tell("a"), text(r#"{"type":"ping"}"#), close()],
        ),
        lab(
            "errors",
            vec![
                value(&Command::Fail { code: "MINE".into(), message: "so".into() }),
                value(&Command::FailInside),
                tell("a"),
                close(),
            ],
        ),
        lab("a panic", vec![tell("a"), value(&Command::Panic), tell("b"), close()]),
        lab(
            "topics",
            vec![
                value(&Command::Subscribe("t".into())),
                value(&publish),
                value(&both),
                value(&Command::Unsubscribe("t".into())),
                value(&publish),
                value(&Command::IsSubscribed("t".into())),
                close(),
            ],
        ),
        lab(
            "a close of the server",
            vec![tell("a"), value(&Command::Close { code: 4000, reason: "enough".into() }), tell("b"), close()],
        ),
        lab("unknown event", vec![text(r#"{"type":"event","name":"X","data":1}"#), close()]),
        api("calls", CALLS),
        api("subscriptions", SUBSCRIPTIONS),
        Script { subprotocol: Some("realtime.v1.json"), ..lab("welcome", vec![tell("a"), close()]) },
        messagepack("MessagePack", &[TELL_A, b"\x81\xa4type\xa4ping", TELL_A]),
        messagepack(
            "malformed MessagePack",
            &[b"\xc1", b"\x90", b"\x81\xa4type", b"\x81\xa4type\xa1x", TELL_A, b"\x81\xa4type\xa4ping\xc0"],
        ),
        messagepack(
            "wrong fields in MessagePack",
            &[
                b"\x81\xa4type\xa7message",
                b"\x82\xa4type\xa7message\xa5value\x07",
                b"\x82\xa4type\xa7message\xa5value\x81\xa4echo\x07",
                b"\x83\xa4type\xa5event\xa4name\xa1X\xa4data\x01",
            ],
        ),
        messagepack(
            "errors in MessagePack",
            &[
                b"\x82\xa4type\xa7message\xa5value\x81\xa4fail\x82\xa4code\xa4MINE\xa7message\xa2so",
                b"\x82\xa4type\xa7message\xa5value\xabfail_inside",
            ],
        ),
        Script {
            subprotocol: Some("realtime.v1.msgpack"),
            ..script(
                "calls and subscriptions in MessagePack",
                "api",
                [CALLS, SUBSCRIPTIONS].concat().into_iter().map(as_messagepack).chain([close()]).collect(),
            )
        },
        Script {
            subprotocol: Some("realtime.v1.msgpack"),
            ..lab("text in MessagePack", vec![tell("a"), binary(TELL_A), close()])
        },
    ]
}

fn as_messagepack(json: &str) -> TestFrame {
    let packet: serde_json::Value = serde_json::from_str(json).expect("the scripts are JSON");
    TestFrame::packet(Format::MessagePack, &packet)
}

const CALLS: &[&str] = &[
    r#"{"type":"call","id":"1","path":"echo","input":"a"}"#,
    r#"{"type":"call","id":"1","path":["add"],"input":{"a":1,"b":2}}"#,
    r#"{"type":"call","id":"1","path":"add","input":{"a":1,"b":"2"}}"#,
    r#"{"type":"call","id":"1","path":"fail","input":{"code":"MINE","message":"so","details":[1],"retryAfterMs":5}}"#,
    r#"{"type":"call","id":"1","path":"panic","input":"at_once"}"#,
    r#"{"type":"call","id":"1","path":"unserialisable"}"#,
    r#"{"type":"call","id":"1","path":"no.such"}"#,
    r#"{"type":"call","id":"1","path":"count"}"#,
    r#"{"type":"call","id":"1"}"#,
    r#"{"type":"call","id":"1","path":"progress","input":2}"#,
    r#"{"type":"call","id":"1","path":"wait","input":"never"}"#,
    r#"{"type":"call","id":"1","path":"echo","input":"a"}"#,
    r#"{"type":"cancel","id":"1"}"#,
    r#"{"type":"cancel","id":"1"}"#,
    r#"{"type":"call","id":"2","path":"ask","input":"sure?"}"#,
    r#"{"type":"cancel","id":"2"}"#,
    r#"{"type":"result","id":"c1","data":true}"#,
    r#"{"type":"message","value":1}"#,
    r#"{"type":"event","name":"X"}"#,
];

const SUBSCRIPTIONS: &[&str] = &[
    r#"{"type":"subscribe","id":"s","path":"count","input":2}"#,
    r#"{"type":"subscribe","id":"s","path":"numbered","after":{"epoch":"now","offset":3}}"#,
    r#"{"type":"subscribe","id":"s","path":"numbered","after":{"epoch":"before","offset":3}}"#,
    r#"{"type":"subscribe","id":"s","path":"failing","input":"later"}"#,
    r#"{"type":"subscribe","id":"s","path":"broken"}"#,
    r#"{"type":"subscribe","id":"s","path":"idle","input":"a"}"#,
    r#"{"type":"subscribe","id":"s","path":"count","input":1}"#,
    r#"{"type":"unsubscribe","id":"s"}"#,
    r#"{"type":"unsubscribe","id":"s"}"#,
    r#"{"type":"subscribe","id":"s","path":"count","input":4,"credit":1}"#,
    r#"{"type":"credit","id":"s","more":2}"#,
    r#"{"type":"cancel","id":"s"}"#,
];

/// The message `{"echo":"a"}`.
const TELL_A: &[u8] = b"\x82\xa4type\xa7message\xa5value\x81\xa4echo\xa1a";
