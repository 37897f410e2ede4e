//! permessage-deflate in any split of its input, against streams of flate2 itself, and shared.
#![cfg(feature = "deflate")]

#[path = "support/frames.rs"]
#[allow(dead_code, reason = "it is also used by the tests of the decoder")]
mod frames;
#[path = "support/oracle.rs"]
#[allow(dead_code, reason = "it is also used by the tests of the decoder")]
mod oracle;

use adapter_testing::{TestClient, TestServer, block_on};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use frames::{ClientFrame, FIN, cuts, positions};
use oracle::{Seen, Transcript, feed, pieces};
use proptest::{collection::vec, prelude::*, sample::select};
use realtime_core::{
    Config, Connection, Deflate, Handler, Realtime, Result, Topic,
    websocket::{DecodeError, Decoder, Frame, Limits, Opcode, PerMessageDeflate},
};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const RSV1: u8 = 0x40;
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

fn config() -> ProptestConfig {
    // What once failed becomes a test of its own.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// A payload that is sent is what a client reads, and as a client's message what the decoder reads.
    #[test]
    fn any_message_survives(
        message in message(),
        window in 9..=15_u8,
        level in 1..=9_u8,
        threshold in select(&[0, 64, 1000][..]),
        (fragments, cuts) in (cuts(), cuts()),
    ) {
        let opcode = if std::str::from_utf8(&message).is_ok() { Opcode::Text } else { Opcode::Binary };
        let plain = Frame::new(opcode, &message);
        let sent = agreed(window).compress(&plain, &settings(threshold, level));
        if message.len() < threshold {
            prop_assert_eq!(&sent, &plain);
        }
        let Some(payload) = compressed_payload(&sent, opcode) else {
            prop_assert_eq!(sent, plain);
            return Ok(());
        };
        prop_assert!(payload.len() < message.len());
        let inflated = inflate(&payload, window);
        prop_assert_eq!(inflated.as_ref(), Some(&message));
        // It was complete, and does not end in what must not be sent.
        prop_assert_ne!(read(usize::MAX, &wire(RSV1 | 1, &payload[..payload.len() - 1], &[]), &[]), seen(opcode, &message));

        let wire = wire(RSV1 | opcode as u8, &payload, &positions(&fragments, payload.len()));
        for cuts in [vec![], (0..wire.len()).collect(), positions(&cuts, wire.len())] {
            prop_assert_eq!(without_pings(read(message.len(), &wire, &cuts)), seen(opcode, &message));
            if let Some(limit) = message.len().checked_sub(1) {
                prop_assert_eq!(read(limit, &wire, &cuts).error, Some(DecodeError::TooBig));
            }
        }
    }

    /// However a client's library makes its blocks.
    #[test]
    fn any_stream_of_flate2_is_read(
        parts in vec((message(), flush()), 0..5),
        window in 9..=15_u8,
        level in 0..=9_u32,
        (fragments, cuts) in (cuts(), cuts()),
    ) {
        let message: Vec<u8> = parts.iter().flat_map(|(part, _)| part.clone()).collect();
        let payload = deflate(&parts, window, level);
        let wire = wire(RSV1 | 2, &payload, &positions(&fragments, payload.len()));
        let limit = message.len().max(payload.len());
        let found = without_pings(read(limit, &wire, &positions(&cuts, wire.len())));
        prop_assert_eq!(found, seen(Opcode::Binary, &message));
    }

    /// Any bytes: the same in any split, and nothing that flate2 would not read.
    #[test]
    fn noise_is_refused_or_read_as_flate2_does(
        payload in prop_oneof![vec(any::<u8>(), 1..60), spoilt()],
        cuts in cuts(),
        limit in select(&[0, 10, 1000, 1 << 20][..]),
    ) {
        let wire = wire(RSV1 | 2, &payload, &[]);
        let whole = read(limit, &wire, &[]);
        prop_assert_eq!(&read(limit, &wire, &(0..wire.len()).collect::<Vec<_>>()), &whole);
        prop_assert_eq!(&read(limit, &wire, &positions(&cuts, wire.len())), &whole);
        let Transcript { seen, error } = whole;
        match error {
            None => {
                let found = inflate(&payload, 15).filter(|found| found.len() <= limit);
                prop_assert_eq!(seen, [Seen::Binary(found.unwrap())]);
            }
            Some(DecodeError::TooBig) => {
                prop_assert!(payload.len() > limit || inflate_some(&payload).len() > limit);
            }
            Some(error) => prop_assert_eq!(error, DecodeError::BadDeflate),
        }
    }

    /// Text is checked, now that it is inflated.
    #[test]
    fn compressed_text_is_utf8(message in vec(any::<u8>(), 0..20), repeat in 1..5_usize) {
        let message = message.repeat(repeat);
        let payload = deflate(&[(message.clone(), FlushCompress::Sync)], 15, 6);
        let found = read(1000, &wire(RSV1 | 1, &payload, &[]), &[]);
        match std::str::from_utf8(&message) {
            Ok(_) => prop_assert_eq!(found, seen(Opcode::Text, &message)),
            Err(_) => prop_assert_eq!(found.error, Some(DecodeError::BadUtf8)),
        }
    }
}

#[test]
fn the_bit_is_taken_on_the_first_frame_of_a_message_only_and_only_where_it_was_agreed_on() {
    let first = |opcode| ClientFrame::new(opcode, b"\0").to_bytes();
    for opcode in [RSV1 | 1, RSV1 | 2, RSV1 | FIN | 1, RSV1 | FIN | 2] {
        let mut strict = Decoder::new(Limits { message_bytes: 100, frames: 10 });
        assert_eq!(feed(&mut strict, &first(opcode), &mut Vec::new()), Err(DecodeError::ReservedBits));
        assert_eq!(feed(&mut decoder(100), &first(opcode), &mut Vec::new()), Ok(()));
        for other in [0x20, 0x10, 0x30] {
            assert_eq!(
                feed(&mut decoder(100), &[opcode | other], &mut Vec::new()),
                Err(DecodeError::ReservedBits)
            );
        }
    }
    for wrong in [0, FIN, FIN | 8, FIN | 9, FIN | 10] {
        for begin in [1, RSV1 | 1] {
            let mut decoder = decoder(100);
            feed(&mut decoder, &first(begin), &mut Vec::new()).unwrap();
            assert_eq!(feed(&mut decoder, &[RSV1 | wrong], &mut Vec::new()), Err(DecodeError::ReservedBits));
        }
    }
}

/// One that is compressed, one that is not, in fragments, and one after the other.
#[test]
fn messages_of_both_kinds_follow_each_other() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let bytes = [
        wire(RSV1 | 1, &hello, &[]),
        wire(1, b"plain", &[]),
        wire(RSV1 | 2, &hello, &[0, 3, 5]),
        wire(1, b"plain", &[2]),
        wire(RSV1 | 1, &hello, &[6]),
        wire(2, &hello, &[]),
    ]
    .concat();
    let expected = [
        Seen::Text("Hello".into()),
        Seen::Text("plain".into()),
        Seen::Binary(b"Hello".to_vec()),
        Seen::Text("plain".into()),
        Seen::Text("Hello".into()),
        Seen::Binary(hello.to_vec()),
    ];
    for cuts in [vec![], (0..bytes.len()).collect()] {
        let found = without_pings(read(1000, &bytes, &cuts));
        assert_eq!(found, Transcript { seen: expected.to_vec(), error: None });
    }
}

/// Its length says nothing about what it inflates to: that is bounded while it is inflated.
#[test]
fn a_bomb_is_refused() {
    let plain = Frame::new(Opcode::Binary, &vec![0; 16 << 20]);
    let bomb = agreed(15).compress(&plain, &settings(0, 9));
    let payload = compressed_payload(&bomb, Opcode::Binary).unwrap();
    assert!(payload.len() < (16 << 20) / 1000);
    let found = read(256 * 1024, &wire(RSV1 | 2, &payload, &[]), &[]);
    assert_eq!(found, Transcript { seen: vec![], error: Some(DecodeError::TooBig) });
    // And what is too long as it comes is refused at its header.
    let mut decoder = decoder(payload.len() - 1);
    let header = ClientFrame::new(RSV1 | FIN | 2, &payload).header();
    assert_eq!(feed(&mut decoder, &header, &mut Vec::new()), Err(DecodeError::TooBig));
}

/// Counts how often it is written.
#[derive(serde::Deserialize)]
struct Counted(String);

static WRITTEN: AtomicUsize = AtomicUsize::new(0);

impl serde::Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WRITTEN.fetch_add(1, SeqCst);
        serializer.serialize_str(&self.0)
    }
}

struct Reader;

const NEWS: Topic<Counted> = Topic::fixed("news");

impl Handler for Reader {
    type Input = ();
    type ClientMessage = ();
    type ServerMessage = Counted;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&NEWS)
    }

    async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
        Ok(())
    }
}

/// A publication is written once for its protocol, whatever windows its members agreed on.
#[test]
fn a_publication_is_written_once_for_all_windows() {
    block_on(async {
        let mut config = Config::default();
        config.deflate = Some(Deflate::default());
        let server = TestServer::new(Realtime::builder().config(config).handler("news", Reader).build());
        let connect = async |window: Option<u8>| -> (Option<u8>, TestClient<Reader>) {
            let mut request = server.request("news");
            if let Some(bits) = window {
                let offer = format!("permessage-deflate; server_max_window_bits={bits}");
                request = request.header("sec-websocket-extensions", &offer);
            }
            (window, request.connect().await.unwrap())
        };
        let text = "again and ".repeat(1000);
        let mut clients = Vec::new();
        for (round, window) in [Some(10), Some(15), Some(10), None, Some(9), None].into_iter().enumerate() {
            clients.push(connect(window).await);
            WRITTEN.store(0, SeqCst);
            server.realtime().to(&NEWS).send(&Counted(text.clone())).unwrap();
            assert_eq!(WRITTEN.load(SeqCst), 1, "in round {round}");
            for (window, client) in &mut clients {
                let frame = client.recv_frame().await.unwrap();
                assert_eq!(frame.compressed, window.is_some());
                let payload = match window {
                    Some(bits) => inflate(&frame.payload, *bits).unwrap(),
                    None => frame.payload,
                };
                assert_eq!(payload, format!(r#"{{"type":"message","value":"{text}"}}"#).into_bytes());
            }
        }
    });
}

/// Bytes that compress well, badly, or not at all; often text.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => ("\\PC{0,40}", 1..200_usize).prop_map(|(text, repeat)| text.repeat(repeat).into_bytes()),
        2 => (vec(any::<u8>(), 0..300), 1..200_usize).prop_map(|(bytes, repeat)| bytes.repeat(repeat)),
        2 => vec(select(&b"{}[]\":,01abc"[..]), 0..3000),
        1 => vec(any::<u8>(), 0..3000),
        1 => (select(&[65_535, 65_536, 200_000][..]), any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn flush() -> impl Strategy<Value = FlushCompress> {
    use FlushCompress::{Finish, Full, None, Partial, Sync};
    (0..5_usize).prop_map(|index| [None, Partial, Sync, Full, Finish][index])
}

/// A payload that was valid before it was spoilt.
fn spoilt() -> impl Strategy<Value = Vec<u8>> {
    let spoil = (any::<prop::sample::Index>(), any::<u8>());
    (message(), vec(spoil, 1..3)).prop_map(|(message, spoils)| {
        let mut payload = deflate(&[(message, FlushCompress::Sync)], 15, 6);
        for (at, byte) in spoils {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        payload
    })
}

fn agreed(window: u8) -> PerMessageDeflate {
    let offer = format!("permessage-deflate; server_max_window_bits={window}");
    PerMessageDeflate::negotiate([offer.as_bytes()]).unwrap().0
}

fn settings(threshold: usize, level: u8) -> Deflate {
    let mut settings = Deflate::default();
    (settings.threshold, settings.level) = (threshold, level);
    settings
}

fn decoder(message_bytes: usize) -> Decoder {
    Decoder::new(Limits { message_bytes, frames: 1000 }).inflating(Some(agreed(15)))
}

/// A message in fragments, cut at these places, with a ping between each two.
fn wire(first: u8, payload: &[u8], cuts: &[usize]) -> Vec<u8> {
    let parts = pieces(payload, cuts);
    let mut bytes = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let fin = if index + 1 == parts.len() { FIN } else { 0 };
        let first = if index == 0 { first } else { 0 };
        bytes.extend(ClientFrame::new(fin | first, part).to_bytes());
        if fin == 0 {
            bytes.extend(ClientFrame::new(FIN | 9, b"between").to_bytes());
        }
    }
    bytes
}

fn read(message_bytes: usize, bytes: &[u8], cuts: &[usize]) -> Transcript<DecodeError> {
    let mut decoder = decoder(message_bytes);
    let mut seen = Vec::new();
    for piece in pieces(bytes, cuts) {
        if let Err(error) = feed(&mut decoder, piece, &mut seen) {
            return Transcript { seen, error: Some(error) };
        }
    }
    assert!(decoder.is_at_rest());
    Transcript { seen, error: None }
}

fn without_pings(mut transcript: Transcript<DecodeError>) -> Transcript<DecodeError> {
    transcript.seen.retain(|seen| *seen != Seen::Ping(b"between".to_vec()));
    transcript
}

fn seen(opcode: Opcode, message: &[u8]) -> Transcript<DecodeError> {
    let seen = match opcode {
        Opcode::Text => Seen::Text(String::from_utf8(message.to_vec()).unwrap()),
        _ => Seen::Binary(message.to_vec()),
    };
    Transcript { seen: vec![seen], error: None }
}

/// The payload of a server's frame, if it is compressed.
fn compressed_payload(frame: &Frame, opcode: Opcode) -> Option<Vec<u8>> {
    let bytes = frame.clone().into_bytes();
    let header = match bytes[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (bytes[0] == FIN | RSV1 | opcode as u8).then(|| bytes[header..].to_vec())
}

/// Inflates a payload as a client does, with a stream of its own; `None` if it is not valid.
fn inflate(payload: &[u8], window: u8) -> Option<Vec<u8>> {
    let mut found = Vec::with_capacity(1 << 22);
    let mut input = &[payload, &TAIL, &[3, 0]].concat()[..];
    loop {
        let mut stream = Decompress::new_with_window_bits(false, window);
        let status = stream.decompress_vec(input, &mut found, FlushDecompress::None).ok()?;
        input = &input[stream.total_in() as usize..];
        match status {
            Status::StreamEnd if input.is_empty() || input.len() == 6 => return Some(found),
            Status::StreamEnd => {}
            _ => return None,
        }
    }
}

/// Inflates a payload up to the place where it is not valid.
fn inflate_some(payload: &[u8]) -> Vec<u8> {
    let mut found = Vec::with_capacity(1 << 22);
    let mut input = &[payload, &TAIL].concat()[..];
    loop {
        let mut stream = Decompress::new(false);
        let status = stream.decompress_vec(input, &mut found, FlushDecompress::None);
        input = &input[stream.total_in() as usize..];
        if !matches!(status, Ok(Status::StreamEnd)) {
            return found;
        }
    }
}

/// A payload as a client may make it, flushed after each part as it is told.
fn deflate(parts: &[(Vec<u8>, FlushCompress)], window: u8, level: u32) -> Vec<u8> {
    let new = || Compress::new_with_window_bits(Compression::new(level), false, window);
    let mut stream = new();
    let mut payload = Vec::new();
    let mut write = |stream: &mut Compress, part: &[u8], flush| {
        payload.reserve(part.len() * 2 + 1000);
        let before = stream.total_in();
        let status = stream.compress_vec(part, &mut payload, flush).unwrap();
        assert_eq!(stream.total_in() - before, part.len() as u64);
        if status == Status::StreamEnd {
            *stream = new();
        }
    };
    for (part, flush) in parts {
        write(&mut stream, part, *flush);
    }
    write(&mut stream, b"", FlushCompress::Sync);
    if !payload.ends_with(&TAIL) {
        // The stream was new, or had just been flushed.
        return [&payload[..], &[0]].concat();
    }
    payload.truncate(payload.len() - TAIL.len());
    payload
}
