//! Hostile input. In each case, a bystander must not be affected.

use super::{start_with, works};
use crate::{
    TestFrame,
    conformance::{RawClient, Seen, Server, Subject, client::PATIENCE},
};
use realtime_core::{Config, websocket::Opcode};
use std::{
    io::{Read, Write},
    net::TcpStream,
};

struct Scene {
    server: Server,
    _seen: Seen,
    bystander: RawClient,
}

fn scene(subject: &Subject) -> Scene {
    scene_with(subject, |_| {})
}

fn scene_with(subject: &Subject, change: impl FnOnce(&mut Config)) -> Scene {
    let (server, seen, _) = start_with(subject, change);
    let mut bystander = server.connect("lab");
    works(&mut bystander);
    Scene { server, _seen: seen, bystander }
}

impl Scene {
    /// Checks that these bytes close the connection with this code and reason, and that the bystander stays.
    #[track_caller]
    fn fails(&mut self, bytes: &[u8], code: u16, reason: &str) {
        self.server.connect("echo").expect_failure(bytes, code, reason);
        works(&mut self.bystander);
    }
}

pub fn a_frame_of_2_to_the_63_bytes_is_refused_at_its_header(subject: &Subject) {
    let mut scene = scene(subject);
    let reason = "message over the limit";
    scene.fails(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1009, reason);
    scene.fails(&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4], 1009, reason);
    scene.fails(&[0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1009, reason);
}

/// RFC 6455, section 5.2, requires the minimal number of bytes.
pub fn a_length_in_a_longer_form_than_it_needs_is_refused(subject: &Subject) {
    let mut scene = scene(subject);
    let reason = "length not in its shortest form";
    for length in [0_u16, 1, 125] {
        let [high, low] = length.to_be_bytes();
        let payload = vec![0; length.into()];
        scene.fails(&[&[0x81, 0xfe, high, low, 0, 0, 0, 0][..], &payload].concat(), 1002, reason);
    }
    scene.fails(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, b'a'], 1002, reason);
    scene.fails(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], 1002, reason);
}

pub fn a_message_over_the_limit_is_refused(subject: &Subject) {
    let mut scene = scene_with(subject, |config| config.message_bytes = 1000);
    scene.fails(&TestFrame::text(&"x".repeat(1001)).to_bytes(), 1009, "message over the limit");
}

pub fn fragments_over_the_limit_are_refused(subject: &Subject) {
    let mut scene = scene_with(subject, |config| config.message_bytes = 1000);
    let first = TestFrame::text(&"x".repeat(600)).unfinished().to_bytes();
    let second = TestFrame::new(Opcode::Continuation, "x".repeat(401)).to_bytes();
    scene.fails(&[first, second].concat(), 1009, "message over the limit");
}

pub fn endless_empty_continuations_are_refused(subject: &Subject) {
    let mut scene = scene(subject);
    let mut bytes = TestFrame::text("").unfinished().to_bytes();
    for _ in 0..100_000 {
        bytes.extend(TestFrame::new(Opcode::Continuation, "").unfinished().to_bytes());
    }
    scene.fails(&bytes, 1009, "too many frames in one message");
}

pub fn unmasked_frames_are_refused(subject: &Subject) {
    let mut scene = scene(subject);
    scene.fails(b"\x81\x02hi", 1002, "client frame not masked");
    scene.fails(b"\x88\x00", 1002, "client frame not masked");
}

pub fn reserved_bits_and_opcodes_are_refused(subject: &Subject) {
    let mut scene = scene(subject);
    for bit in [0x40, 0x20, 0x10] {
        scene.fails(&[0x81 | bit, 0x80, 1, 2, 3, 4], 1002, "reserved bit set");
    }
    for opcode in [3, 7, 11, 15] {
        scene.fails(&[0x80 | opcode, 0x80, 1, 2, 3, 4], 1002, "reserved opcode");
    }
}

pub fn control_frames_over_125_bytes_are_refused(subject: &Subject) {
    let mut scene = scene(subject);
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        scene.fails(&TestFrame::new(opcode, [7; 126]).to_bytes(), 1002, "control frame over 125 bytes");
    }
}

pub fn fragmented_control_frames_are_refused(subject: &Subject) {
    let mut scene = scene(subject);
    let frame = TestFrame::new(Opcode::Ping, "x").unfinished();
    scene.fails(&frame.to_bytes(), 1002, "fragmented control frame");
}

/// The frame is never completed.
pub fn bad_utf8_is_refused_at_its_first_byte(subject: &Subject) {
    let mut scene = scene(subject);
    for bad in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0", b"\xf4\x90", b"\xe2\x28"] {
        let mut payload = b"good ".to_vec();
        payload.extend_from_slice(bad);
        payload.extend_from_slice(&[b'x'; 1000]);
        let bytes = TestFrame::new(Opcode::Text, payload).to_bytes();
        let header = bytes.len() - (5 + bad.len() + 1000);
        scene.fails(&bytes[..header + 5 + bad.len()], 1007, "invalid UTF-8");
    }
}

pub fn bad_utf8_split_over_frames_is_refused(subject: &Subject) {
    let mut scene = scene(subject);
    let first = TestFrame::new(Opcode::Text, b"\xe2\x82").unfinished().to_bytes();
    let second = TestFrame::new(Opcode::Continuation, b"\x28").to_bytes();
    scene.fails(&[first.clone(), second].concat(), 1007, "invalid UTF-8");
    let end = TestFrame::new(Opcode::Continuation, b"").to_bytes();
    scene.fails(&[first, end].concat(), 1007, "invalid UTF-8");
}

pub fn invalid_close_codes_are_refused(subject: &Subject) {
    let mut scene = scene(subject);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        scene.fails(&TestFrame::close(code, "").to_bytes(), 1002, "invalid close code");
    }
    scene.fails(&TestFrame::new(Opcode::Close, [3]).to_bytes(), 1002, "close frame of one byte");
    scene.fails(&TestFrame::new(Opcode::Close, b"\x03\xe8\xff").to_bytes(), 1007, "invalid UTF-8");
}

pub fn continuations_out_of_place_are_refused(subject: &Subject) {
    let mut scene = scene(subject);
    let stray = TestFrame::new(Opcode::Continuation, "x").to_bytes();
    scene.fails(&stray, 1002, "continuation without a message");
    let begun = TestFrame::text("x").unfinished().to_bytes();
    scene.fails(&[begun.clone(), begun].concat(), 1002, "new message inside a fragmented one");
}

pub fn deep_json_is_answered(subject: &Subject) {
    let mut scene = scene(subject);
    let mut client = scene.server.connect("lab");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    client.text(&deep);
    client.expect_error("PARSE_ERROR");
    client.text(&format!(r#"{{"type":"message","value":{deep}}}"#));
    client.expect_error("INVALID_ARGUMENT");
    client.text(&format!(r#"{{"type":"message","value":{{"echo":"x"}},"more":{deep}}}"#));
    super::said(&mut client, "x");
    works(&mut client);
    works(&mut scene.bystander);
}

pub fn deep_messagepack_is_answered(subject: &Subject) {
    let mut scene = scene(subject);
    let mut client = super::messagepack(&scene.server);
    for open in [&b"\x91"[..], b"\x81\xa1a", b"\x81\xa4echo"] {
        let deep = [&open.repeat(10_000)[..], b"\xc0"].concat();
        client.binary(&deep);
        client.expect_error("PARSE_ERROR");
        client.binary(&[b"\x82\xa4type\xa7message\xa5value", &deep[..]].concat());
        client.expect_error("INVALID_ARGUMENT");
        let skipped = b"\x83\xa4type\xa7message\xa5value\x81\xa4echo\xa1x\xa4more";
        client.binary(&[skipped, &deep[..]].concat());
        super::said(&mut client, "x");
    }
    works(&mut client);
    works(&mut scene.bystander);
}

pub fn a_huge_name_is_answered_without_echo(subject: &Subject) {
    let mut scene = scene_with(subject, |config| config.message_bytes = 2 << 20);
    let mut client = scene.server.connect("lab");
    let huge = "n".repeat(1 << 20);
    client.text(&format!(r#"{{"type":"event","name":"{huge}"}}"#));
    let error = client.expect_error("PARSE_ERROR");
    assert!(error.to_string().len() < 500);
    client.text(&format!(r#"{{"type":"{huge}"}}"#));
    assert!(client.expect_error("PARSE_ERROR").to_string().len() < 500);
    client.text(&format!(r#"{{"type":"message","value":{{"{huge}":1}}}}"#));
    assert!(client.expect_error("INVALID_ARGUMENT").to_string().len() < 500);
    works(&mut client);
    works(&mut scene.bystander);
}

pub fn a_flood_of_malformed_messages_is_closed(subject: &Subject) {
    let mut scene = scene(subject);
    let mut client = scene.server.connect("lab");
    // A good one in between starts the count again.
    for _ in 0..3 {
        for _ in 0..32 {
            client.text("?");
            client.expect_error("PARSE_ERROR");
        }
        works(&mut client);
    }
    for _ in 0..40 {
        client.text("?");
    }
    for _ in 0..33 {
        client.expect_error("PARSE_ERROR");
    }
    assert_eq!(client.expect_close(1008), "too many malformed messages");
    works(&mut scene.bystander);
}

pub fn a_flood_of_malformed_messagepack_is_closed(subject: &Subject) {
    let mut scene = scene(subject);
    let mut client = super::messagepack(&scene.server);
    for _ in 0..2 {
        for _ in 0..16 {
            client.binary(b"\xc1");
            client.expect_error("PARSE_ERROR");
            client.text("{}");
            client.expect_error("UNSUPPORTED_DATA");
        }
        works(&mut client);
    }
    for _ in 0..40 {
        client.binary(b"\x81");
    }
    for _ in 0..33 {
        client.expect_error("PARSE_ERROR");
    }
    assert_eq!(client.expect_close(1008), "too many malformed messages");
    works(&mut scene.bystander);
}

/// Calls are not read either if only their ids can be read.
pub fn a_flood_of_unreadable_calls_is_closed(subject: &Subject) {
    let mut scene = scene(subject);
    let mut client = scene.server.connect("api");
    for _ in 0..2 {
        for _ in 0..32 {
            client.text(r#"{"type":"call","id":"1","path":7}"#);
            client.expect_failed("1", "PARSE_ERROR");
        }
        client.echoes();
    }
    for _ in 0..33 {
        client.text(r#"{"type":"call","id":"1","path":7}"#);
        client.expect_failed("1", "PARSE_ERROR");
    }
    assert_eq!(client.expect_close(1008), "too many malformed messages");
    works(&mut scene.bystander);
}

/// The server's replies are not read until all pings are sent: they are bounded, and the last one arrives.
pub fn a_flood_of_pings_is_survived(subject: &Subject) {
    let mut scene = scene(subject);
    let mut client = scene.server.connect("lab");
    let mut bytes = Vec::new();
    for number in 0..20_000 {
        bytes.extend(TestFrame::new(Opcode::Ping, number.to_string()).to_bytes());
    }
    client.raw(&bytes);
    let mut answered = 0;
    loop {
        let frame = client.recv();
        assert_eq!(frame.opcode, Opcode::Pong);
        answered += 1;
        if frame.payload == b"19999" {
            break;
        }
    }
    assert!(answered >= 1);
    works(&mut client);
    works(&mut scene.bystander);
}

/// The queue of a client that requests more and more but reads nothing stays within its bound.
pub fn a_client_that_never_reads_is_closed(subject: &Subject) {
    let mut scene = scene_with(subject, |config| config.outbox_bytes = 64 * 1024);
    let mut client = scene.server.connect("lab");
    let realtime = scene.server.realtime().clone();
    let topic = realtime_core::Topic::new("flood");
    super::subscribe(&mut client, "flood");
    let message = crate::conformance::Reply::Text("x".repeat(32 * 1024));
    let mut published = 0;
    while realtime.stats().slow_consumers == 0 {
        assert!(realtime.to(&topic).send(&message).is_ok());
        published += 1;
        assert!(published < 100_000, "a client that reads nothing was never slow");
        std::thread::yield_now();
    }
    works(&mut scene.bystander);
    // It does not read the close frame either.
    while realtime.connections() > 1 {
        scene.server.advance(std::time::Duration::from_secs(1));
        std::thread::yield_now();
        scene.bystander.frame(&TestFrame::new(Opcode::Pong, ""));
    }
    drop(client);
}

/// The session ends, and its queue is freed. While the socket stays, it counts as a connection.
pub fn the_place_of_a_client_that_never_reads_is_taken_until_its_socket_is_gone(subject: &Subject) {
    let (server, ..) = super::start_with(subject, |config| {
        config.outbox_bytes = 64 * 1024;
        config.connections = 2;
    });
    let mut stalled = server.connect("lab");
    super::subscribe(&mut stalled, "flood");
    let realtime = server.realtime();
    let message = crate::conformance::Reply::Text("x".repeat(32 * 1024));
    while realtime.stats().slow_consumers == 0 {
        assert!(realtime.to(&realtime_core::Topic::new("flood")).send(&message).is_ok());
        std::thread::yield_now();
    }
    while realtime.connections() > 0 {
        server.advance(std::time::Duration::from_secs(1));
        std::thread::yield_now();
    }
    let first = server.connect("lab");
    let second = server.request("lab").try_connect();
    if second.is_some() {
        return super::expect_gone(&server, || stalled.try_raw(b" "));
    }
    drop(stalled);
    works(&mut super::connect_when_free(&server));
    drop(first);
}

pub fn garbage_after_a_close_is_ignored(subject: &Subject) {
    let mut scene = scene(subject);
    let mut client = scene.server.connect("echo");
    let mut bytes = TestFrame::close(1000, "").to_bytes();
    bytes.extend_from_slice(&[0xff; 100]);
    bytes.extend(TestFrame::text("ignored").to_bytes());
    client.raw(&bytes);
    assert_eq!(client.recv().as_close(), Some((1000, String::new())));
    client.expect_end();
    works(&mut scene.bystander);
}

/// Replies to pings are data like any other: a client that sends pings without end and reads none of the replies is
/// closed.
pub fn a_flood_of_pings_of_the_protocol_is_bounded(subject: &Subject) {
    let Scene { server, mut bystander, _seen } = scene_with(subject, |config| config.outbox_bytes = 64 * 1024);
    let mut client = server.connect("lab");
    works(&mut client);
    let pings = TestFrame::text(r#"{"type":"ping"}"#).to_bytes().repeat(1000);
    super::flood_until_closed(&server, client, pings, |queued| {
        assert!(queued < 64 * 1024, "{queued} bytes wait");
        works(&mut bystander);
    });
    works(&mut bystander);
}

/// The framework refuses the head and reads no further. The client still receives the answer and its end.
pub fn an_unreadable_head_is_answered_without_a_reset(subject: &Subject) {
    let (server, ..) = super::start_with(subject, |_| {});
    let Some(address) = server.address() else { return };
    let mut socket = TcpStream::connect(address).expect("the server listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    socket.write_all(b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the server reads");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("the answer has an end");
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", answer.escape_ascii());
}
