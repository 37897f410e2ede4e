//! permessage-deflate (RFC 7692).

use super::{start, start_with, subscribe, transcript::compare, works};
use crate::{
    TestFrame,
    conformance::{Command, RawClient, Reply, Seen, Server, Subject},
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use realtime_core::{Config, Deflate, Topic, websocket::Opcode};

const ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn on(config: &mut Config) {
    config.deflate = Some(Deflate::default());
}

/// Connects with a browser's offer.
fn connect(server: &Server, id: &str) -> RawClient {
    offer(server, id, "permessage-deflate; client_max_window_bits")
}

#[track_caller]
fn offer(server: &Server, id: &str, offer: &str) -> RawClient {
    let client = server.request(id).header("sec-websocket-extensions", offer).connect();
    assert!(client.header("sec-websocket-extensions").is_some(), "{offer} is declined");
    client
}

fn answer(server: &Server, offers: &[&str]) -> Option<String> {
    let request = server.request("echo").change(|request| {
        for offer in offers {
            let offer = offer.parse().expect("a header's value");
            request.headers_mut().append("sec-websocket-extensions", offer);
        }
    });
    request.connect().header("sec-websocket-extensions")
}

fn compress(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 1000);
    let compressed =
        Compress::new(Compression::new(6), false).compress_vec(payload, &mut out, FlushCompress::Sync);
    compressed.expect("anything can be compressed");
    assert_eq!(out.split_off(out.len() - 4), [0, 0, 0xff, 0xff]);
    out
}

fn compressed(opcode: Opcode, payload: &[u8]) -> TestFrame {
    TestFrame::new(opcode, compress(payload)).compressed()
}

/// Checks that the next frame is compressed, with this window. Returns it inflated.
#[track_caller]
fn inflated(client: &mut RawClient, window_bits: u8) -> TestFrame {
    let frame = client.recv();
    assert!(frame.compressed && frame.fin, "{frame:?}");
    let mut payload = Vec::with_capacity(1 << 20);
    let mut stream = Decompress::new_with_window_bits(false, window_bits);
    for byte in [&frame.payload[..], &[0, 0, 0xff, 0xff]].concat() {
        stream.decompress_vec(&[byte], &mut payload, FlushDecompress::None).expect("deflate data");
    }
    TestFrame::new(frame.opcode, payload)
}

fn long() -> String {
    "All work and no play makes Jack a dull boy. ".repeat(100)
}

pub fn compression_is_agreed_on_where_it_is_offered(subject: &Subject) {
    let (server, ..) = start_with(subject, on);
    for offers in [
        &["permessage-deflate"][..],
        &["permessage-deflate; client_max_window_bits"],
        &["permessage-deflate; client_no_context_takeover; server_no_context_takeover"],
        &["x-other; a=\"b\"", "permessage-deflate; client_max_window_bits=10"],
    ] {
        assert_eq!(answer(&server, offers).as_deref(), Some(ACCEPTED), "{offers:?}");
    }
    let window = ["permessage-deflate; server_max_window_bits=10, permessage-deflate"];
    assert_eq!(answer(&server, &window), Some(format!("{ACCEPTED}; server_max_window_bits=10")));
}

pub fn an_offer_that_cannot_be_kept_is_passed_over(subject: &Subject) {
    let (server, ..) = start_with(subject, on);
    for wrong in [
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=010",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; unknown",
        "x-webkit-deflate-frame",
    ] {
        assert_eq!(answer(&server, &[wrong]), None, "{wrong}");
        assert_eq!(answer(&server, &[wrong, "permessage-deflate"]).as_deref(), Some(ACCEPTED), "{wrong}");
    }
    assert_eq!(answer(&server, &["permessage-deflate, ;"]), None);
    assert_eq!(answer(&server, &[]), None);
}

pub fn compression_is_off_unless_it_is_configured(subject: &Subject) {
    let (server, ..) = start(subject);
    assert_eq!(answer(&server, &["permessage-deflate"]), None);
}

pub fn who_offers_nothing_sees_no_difference(subject: &Subject) {
    compare(subject, |config| config.deflate = Some(Deflate::default()));
}

pub fn messages_are_compressed_both_ways(subject: &Subject) {
    let (server, ..) = start_with(subject, on);
    for bits in [9, 10, 15] {
        let mut client = offer(&server, "echo", &format!("permessage-deflate; server_max_window_bits={bits}"));
        let noise: Vec<u8> = (0..3000_u32).map(|at| (at * at / 8) as u8).collect();
        for (opcode, payload) in [
            (Opcode::Text, long().into_bytes()),
            (Opcode::Binary, noise.repeat(5)),
            (Opcode::Binary, vec![0; 200_000]),
            (Opcode::Text, "žluťoučký 🐎 ".repeat(1000).into_bytes()),
        ] {
            // Both in one read and byte by byte: each message begins anew.
            let frame = compressed(opcode, &payload);
            client.raw(&[frame.to_bytes(), frame.to_bytes()].concat());
            frame.to_bytes().chunks(1000).for_each(|chunk| client.raw(chunk));
            for _ in 0..3 {
                assert!(inflated(&mut client, bits) == TestFrame::new(opcode, &payload[..]), "{bits} {opcode:?}");
            }
        }
        client.close(1000, "");
    }
}

pub fn a_message_may_come_uncompressed(subject: &Subject) {
    let (server, ..) = start_with(subject, on);
    let mut client = connect(&server, "echo");
    client.text(&long());
    assert_eq!(inflated(&mut client, 15), TestFrame::text(&long()));
    client.frame(&compressed(Opcode::Text, long().as_bytes()));
    assert_eq!(inflated(&mut client, 15), TestFrame::text(&long()));
}

pub fn a_small_message_is_sent_as_it_is(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| {
        let mut deflate = Deflate::default();
        deflate.threshold = 100;
        config.deflate = Some(deflate);
    });
    let mut client = connect(&server, "echo");
    for text in [String::new(), "a".into(), "a".repeat(99)] {
        client.frame(&compressed(Opcode::Text, text.as_bytes()));
        client.expect_text(&text);
    }
    client.text(&"a".repeat(100));
    assert_eq!(inflated(&mut client, 15), TestFrame::text(&"a".repeat(100)));
}

pub fn what_does_not_get_smaller_is_sent_as_it_is(subject: &Subject) {
    let (server, ..) = start_with(subject, on);
    let mut client = connect(&server, "echo");
    // What is compressed once cannot be compressed again.
    let noise = compress(&(0..20_000_u32).flat_map(|at| (at * at).to_be_bytes()).collect::<Vec<u8>>());
    client.frame(&TestFrame::new(Opcode::Binary, &noise[..400]));
    assert_eq!(client.recv(), TestFrame::new(Opcode::Binary, &noise[..400]));
}

pub fn a_compressed_message_may_come_in_pieces_with_pings_between(subject: &Subject) {
    let (server, ..) = start_with(subject, on);
    let mut client = connect(&server, "echo");
    let payload = compress(long().as_bytes());
    let (first, rest) = payload.split_at(7);
    let (second, third) = rest.split_at(30);
    let more = |payload: &[u8]| TestFrame::new(Opcode::Continuation, payload);
    let ping = |payload: &str| TestFrame::new(Opcode::Ping, payload);
    let frames = [
        TestFrame::new(Opcode::Text, first).compressed().unfinished(),
        ping("1"),
        more(second).unfinished(),
        ping("2"),
        more(b"").unfinished(),
        more(third),
    ];
    let bytes: Vec<u8> = frames.iter().flat_map(TestFrame::to_bytes).collect();
    for size in [bytes.len(), 1, 7] {
        bytes.chunks(size).for_each(|chunk| client.raw(chunk));
        assert_eq!(client.recv(), TestFrame::new(Opcode::Pong, "1"));
        assert_eq!(client.recv(), TestFrame::new(Opcode::Pong, "2"));
        assert_eq!(inflated(&mut client, 15), TestFrame::text(&long()));
    }
}

/// Members may use different protocols too.
pub fn a_publication_is_right_for_each_window_and_for_none(subject: &Subject) {
    let (lab, ..) = crate::conformance::Lab::new();
    let (builder, ..) = super::builder(on);
    let server = subject.start(builder.handler("plain", realtime_core::Handler::plain(lab)).build());
    let mut clients = Vec::new();
    for id in ["lab", "plain"] {
        for bits in [None, Some(15), Some(10), Some(9), Some(10)] {
            let mut client = match bits {
                None => server.connect(id),
                Some(bits) => offer(&server, id, &format!("permessage-deflate; server_max_window_bits={bits}")),
            };
            if id == "lab" {
                subscribe(&mut client, "t");
            } else {
                client.text(r#"{"subscribe":"t"}"#);
                client.expect_text(r#"{"answer":true}"#);
            }
            clients.push((id, bits, client));
        }
    }
    for text in ["short".to_owned(), long(), "x".repeat(50_000), long() + "2"] {
        let published = server.realtime().to(&Topic::new("t")).send(&Reply::Text(text.clone()));
        assert_eq!(published.ok(), Some(()));
        for (id, bits, client) in &mut clients {
            let frame = match bits {
                Some(bits) if text != "short" => inflated(client, *bits),
                _ => client.recv(),
            };
            let expected = match *id {
                "lab" => format!(r#"{{"type":"message","value":{{"text":"{text}"}}}}"#),
                _ => format!(r#"{{"text":"{text}"}}"#),
            };
            assert_eq!(frame, TestFrame::text(&expected), "{id} {bits:?}");
        }
    }
    assert_eq!(server.realtime().stats().delivered, 40);
}

pub fn errors_are_compressed_and_pongs_are_not(subject: &Subject) {
    let (server, ..) = start_with(subject, on);
    let mut client = connect(&server, "lab");
    client.value(&Command::Fail { code: "MINE".into(), message: long() });
    let error = inflated(&mut client, 15).as_text();
    assert!(error.starts_with(r#"{"type":"error","error":{"code":"MINE""#), "{error}");
    let ping = "x".repeat(125);
    client.frame(&TestFrame::new(Opcode::Ping, &*ping));
    assert_eq!(client.recv(), TestFrame::new(Opcode::Pong, &*ping));
    works(&mut client);
}

pub fn a_compressed_message_of_the_limit_is_taken(subject: &Subject) {
    let mut scene = scene(subject);
    let payload = vec![7; LIMIT];
    let mut client = connect(&scene.server, "echo");
    client.frame(&compressed(Opcode::Binary, &payload));
    assert!(inflated(&mut client, 15) == TestFrame::new(Opcode::Binary, payload));
    scene.fails(&compressed(Opcode::Binary, &vec![7; LIMIT + 1]).to_bytes(), 1009, "message over the limit");
}

/// A client with compression sends bytes that violate the protocol; another client is not affected.
struct Scene {
    server: Server,
    _seen: Seen,
    bystander: RawClient,
}

const LIMIT: usize = 64 * 1024;

fn scene(subject: &Subject) -> Scene {
    let (server, seen, _) = start_with(subject, |config| {
        on(config);
        config.message_bytes = LIMIT;
    });
    let mut bystander = connect(&server, "lab");
    works(&mut bystander);
    Scene { server, _seen: seen, bystander }
}

impl Scene {
    #[track_caller]
    fn fails(&mut self, bytes: &[u8], code: u16, reason: &str) {
        let client = connect(&self.server, "echo");
        self.fails_for(client, bytes, code, reason);
    }

    #[track_caller]
    fn fails_for(&mut self, client: RawClient, bytes: &[u8], code: u16, reason: &str) {
        client.expect_failure(bytes, code, reason);
        works(&mut self.bystander);
    }
}

pub fn a_compressed_bit_that_was_not_agreed_on_is_refused(subject: &Subject) {
    let mut scene = scene(subject);
    let bytes = compressed(Opcode::Text, b"hello").to_bytes();
    let client = scene.server.connect("echo");
    scene.fails_for(client, &bytes, 1002, "reserved bit set");
    let declined = "permessage-deflate; server_max_window_bits=8";
    let client = scene.server.request("echo").header("sec-websocket-extensions", declined).connect();
    scene.fails_for(client, &bytes, 1002, "reserved bit set");
}

pub fn a_compressed_bit_out_of_place_is_refused(subject: &Subject) {
    let mut scene = scene(subject);
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        scene.fails(&TestFrame::new(opcode, "").compressed().to_bytes(), 1002, "reserved bit set");
    }
    let first = compressed(Opcode::Text, b"hello").unfinished().to_bytes();
    let second = TestFrame::new(Opcode::Continuation, "").compressed().to_bytes();
    scene.fails(&[first, second].concat(), 1002, "reserved bit set");
    for bit in [0x20, 0x10] {
        scene.fails(&[0xc1 | bit, 0x80, 1, 2, 3, 4], 1002, "reserved bit set");
    }
}

/// The message inflates to a thousand times its bytes, far over the limit.
pub fn a_bomb_is_refused(subject: &Subject) {
    let mut scene = scene(subject);
    let bomb = compress(&vec![0; 32 << 20]);
    assert!(bomb.len() < (32 << 20) / 1000 && bomb.len() < LIMIT);
    for opcode in [Opcode::Text, Opcode::Binary] {
        scene.fails(&TestFrame::new(opcode, &bomb[..]).compressed().to_bytes(), 1009, "message over the limit");
    }
    let (first, second) = bomb.split_at(1000);
    let first = TestFrame::new(Opcode::Binary, first).compressed().unfinished().to_bytes();
    let second = TestFrame::new(Opcode::Continuation, second).to_bytes();
    scene.fails(&[first, second].concat(), 1009, "message over the limit");
    // What is too long as it comes is refused at its header.
    scene.fails(&[0xc2, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4], 1009, "message over the limit");
}

pub fn bad_deflate_data_is_refused(subject: &Subject) {
    let mut scene = scene(subject);
    let cut_off = compress(long().as_bytes());
    let cut_off = &cut_off[..cut_off.len() / 2];
    for payload in [b"\xff\xff\xff\xff", &b"hello"[..], cut_off] {
        for opcode in [Opcode::Text, Opcode::Binary] {
            scene.fails(&TestFrame::new(opcode, payload).compressed().to_bytes(), 1007, "invalid deflate data");
        }
    }
}

pub fn bad_utf8_in_a_compressed_message_is_refused(subject: &Subject) {
    let mut scene = scene(subject);
    for bad in [&b"good \xff"[..], b"\xe2\x82", b"\xed\xa0\x80"] {
        scene.fails(&compressed(Opcode::Text, bad).to_bytes(), 1007, "invalid UTF-8");
    }
    let mut client = connect(&scene.server, "echo");
    client.frame(&compressed(Opcode::Binary, b"\xff"));
    assert_eq!(client.recv(), TestFrame::new(Opcode::Binary, b"\xff"));
}
