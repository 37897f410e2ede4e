//! The decoder against every split of its input, against tungstenite, and against RFC 6455.

#[path = "support/frames.rs"]
mod frames;
#[path = "support/oracle.rs"]
mod oracle;

use bytes::Bytes;
use frames::{ClientFrame, Exchange, FIN, Length, NOT_UTF8, cuts, exchanges, positions, wire};
use oracle::{Seen, Transcript, assert_splits_agree, assert_tungstenite_agrees, decode, feed, pieces, read};
use proptest::{collection::vec, option, prelude::*, sample::select};
use realtime_core::websocket::{Data, DecodeError, Decoder, Frame, Incoming, Limits, Opcode};
use std::{borrow::Cow, io::Cursor};
use tungstenite::{
    Message,
    protocol::{CloseFrame, Role, WebSocket},
};

/// Limits that are out of the way.
const AMPLE: Limits = Limits { message_bytes: 1 << 20, frames: 1000 };

fn config() -> ProptestConfig {
    // What once failed becomes a test of its own.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

fn limits() -> impl Strategy<Value = Limits> {
    let message_bytes = prop_oneof![1 => 0..130_usize, 4 => Just(1 << 20)];
    let frames = prop_oneof![1 => 0..6_u32, 4 => Just(1000)];
    (message_bytes, frames).prop_map(|(message_bytes, frames)| Limits { message_bytes, frames })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_split_gives_the_same_events(limits in limits(), wire in wire(), cuts in cuts()) {
        assert_splits_agree(limits, &wire, &positions(&cuts, wire.len()));
    }

    /// Mostly headers: what follows them is as good as any.
    #[test]
    fn any_split_of_noise_gives_the_same_events(limits in limits(), wire in noise(), cuts in cuts()) {
        assert_splits_agree(limits, &wire, &positions(&cuts, wire.len()));
    }

    #[test]
    fn tungstenite_reads_the_same_messages(
        limit in prop_oneof![1 => 0..130_usize, 4 => Just(1 << 20)],
        wire in wire(),
        cuts in cuts(),
    ) {
        assert_tungstenite_agrees(limit, &wire, &positions(&cuts, wire.len()));
    }

    #[test]
    fn noise_means_the_same_to_tungstenite(wire in noise(), cuts in cuts()) {
        assert_tungstenite_agrees(100, &wire, &positions(&cuts, wire.len()));
    }

    /// At rest means after the last byte of an exchange, and nowhere else.
    #[test]
    fn the_decoder_is_at_rest_between_messages_only(exchanges in exchanges()) {
        let mut decoder = Decoder::new(AMPLE);
        prop_assert!(decoder.is_at_rest());
        for exchange in exchanges {
            assert_rest(&mut decoder, &exchange);
        }
    }

    #[test]
    fn tungstenites_client_reads_what_a_frame_says((messages, cuts) in (messages(), cuts())) {
        let wire = messages.iter().map(frame).collect::<Vec<Bytes>>().concat();
        let read = read(Role::Client, AMPLE.message_bytes, pieces(&wire, &positions(&cuts, wire.len())));
        prop_assert_eq!(read, Transcript { seen: messages, error: None });
    }

    #[test]
    fn a_frame_built_in_place_is_the_same(payload in vec(any::<u8>(), 0..300), repeat in 1..300_usize) {
        let payload = payload.repeat(repeat);
        let built = Frame::build::<()>(|buffer| {
            buffer.extend_from_slice(&payload);
            Ok(Some(Opcode::Binary))
        });
        prop_assert_eq!(built, Ok(Some(Frame::new(Opcode::Binary, &payload))));
    }

    #[test]
    fn what_tungstenites_client_says_is_decoded((messages, cuts) in (messages(), cuts())) {
        let mut socket = WebSocket::from_raw_socket(Cursor::new(Vec::new()), Role::Client, None);
        for message in &messages {
            socket.send(tungstenite_message(message)).unwrap();
        }
        let wire = socket.into_inner().into_inner();
        let read = decode(AMPLE, pieces(&wire, &positions(&cuts, wire.len())));
        prop_assert_eq!(read, Transcript { seen: messages, error: None });
    }

    /// The limit is for the sum, and is judged by what the headers say.
    #[test]
    fn fragments_are_refused_at_the_header_that_exceeds_the_limit(
        limit in 0..400_usize,
        sizes in vec(0..200_usize, 1..10),
        opcode in 1..3_u8,
    ) {
        let mut decoder = Decoder::new(Limits { message_bytes: limit, ..AMPLE });
        let mut sum = 0;
        for (index, size) in sizes.into_iter().enumerate() {
            sum += size;
            let frame = ClientFrame::new(if index == 0 { opcode } else { 0 }, &vec![b'a'; size]);
            if sum > limit {
                assert_refused_at_the_end(&mut decoder, &frame.header(), DecodeError::TooBig);
                return Ok(());
            }
            prop_assert_eq!(feed(&mut decoder, &frame.to_bytes(), &mut Vec::new()), Ok(()));
        }
        let mut seen = Vec::new();
        prop_assert_eq!(feed(&mut decoder, &ClientFrame::new(FIN, b"").to_bytes(), &mut seen), Ok(()));
        prop_assert_eq!(seen.len(), 1);
    }

    /// Also where the frame goes on, and where the character began in the frame before.
    #[test]
    fn text_fails_at_its_first_impossible_byte((text, cuts) in (nearly_utf8(), cuts())) {
        let mut decoder = Decoder::new(AMPLE);
        let mut rest = text.len();
        for (index, part) in pieces(&text, &positions(&cuts, text.len())).into_iter().enumerate() {
            let frame = ClientFrame::new(if index == 0 { 1 } else { 0 }, part).to_bytes();
            let (header, payload) = frame.split_at(frame.len() - part.len());
            prop_assert_eq!(feed(&mut decoder, header, &mut Vec::new()), Ok(()));
            for byte in payload {
                let fed = feed(&mut decoder, &[*byte], &mut Vec::new());
                if first_impossible(&text) == Some(text.len() - rest) {
                    prop_assert_eq!(fed, Err(DecodeError::BadUtf8));
                    return Ok(());
                }
                prop_assert_eq!(fed, Ok(()), "byte {} of {:?}", text.len() - rest, text);
                rest -= 1;
            }
        }
    }
}

/// Nobody has to send the rest of a frame, so nobody has to be waited for.
#[test]
fn a_frame_is_refused_at_its_first_wrong_byte() {
    use DecodeError::*;
    for (first, error) in [
        (0xc1, ReservedBits),
        (0xa2, ReservedBits),
        (0x99, ReservedBits),
        (0x83, ReservedOpcode),
        (0x07, ReservedOpcode),
        (0x8b, ReservedOpcode),
        (0x8f, ReservedOpcode),
        (0x08, FragmentedControl),
        (0x09, FragmentedControl),
        (0x0a, FragmentedControl),
        (0x00, UnexpectedContinuation),
        (0x80, UnexpectedContinuation),
    ] {
        assert_refused_at_the_end(&mut Decoder::new(AMPLE), &[first], error);
    }
    for (header, error) in [
        ([0x81, 0x00], Unmasked),
        ([0x82, 0x7f], Unmasked),
        ([0x88, 0x02], Unmasked),
        ([0x88, 0xfe], LongControl),
        ([0x89, 0xff], LongControl),
        ([0x8a, 0xfe], LongControl),
    ] {
        assert_refused_at_the_end(&mut Decoder::new(AMPLE), &header, error);
    }
    for first in [0x01, 0x81, 0x02, 0x82] {
        let wire = [&ClientFrame::new(1, b"a").to_bytes()[..], &[first]].concat();
        assert_refused_at_the_end(&mut Decoder::new(AMPLE), &wire, ExpectedContinuation);
    }
    for (close, error) in
        [(&b"\x03"[..], BadClosePayload), (b"\x03\xed", BadCloseCode), (b"\x03\xe8\xff", BadUtf8)]
    {
        let wire = ClientFrame::new(FIN | 8, close).to_bytes();
        assert_refused_at_the_end(&mut Decoder::new(AMPLE), &wire, error);
    }
}

#[test]
fn exactly_the_close_codes_that_may_be_sent_are_taken() {
    for code in 0..=u16::MAX {
        let wire = ClientFrame::new(FIN | 8, &code.to_be_bytes()).to_bytes();
        let expected = match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(vec![Seen::Close(code, String::new())]),
            _ => Err(DecodeError::BadCloseCode),
        };
        let read = decode(AMPLE, [&wire[..]]);
        assert_eq!(read.error.map_or(Ok(read.seen), Err), expected, "{code}");
    }
}

/// Whatever length a header says, up to the highest: no byte of payload is waited for.
#[test]
fn a_length_over_the_limit_is_refused_at_its_header() {
    for limit in [0, 1, 125, 126, 65_535, 65_536, 1 << 30] {
        for length in [limit + 1, 1 << 40, 1 << 63, u64::MAX] {
            for opcode in [1, 2] {
                let mut decoder = Decoder::new(Limits { message_bytes: limit as usize, ..AMPLE });
                let frame = ClientFrame { length: Length::Wrong(length), ..ClientFrame::new(FIN | opcode, b"") };
                assert_refused_at_the_end(&mut decoder, &frame.header(), DecodeError::TooBig);
            }
        }
        let mut decoder = Decoder::new(Limits { message_bytes: limit as usize, ..AMPLE });
        let frame = ClientFrame { length: Length::Wrong(limit), ..ClientFrame::new(FIN | 2, b"") };
        assert_eq!(feed(&mut decoder, &frame.header(), &mut Vec::new()), Ok(()), "exactly {limit}");
    }
}

#[test]
fn a_sum_of_lengths_that_overflows_is_over_the_limit() {
    let mut decoder = Decoder::new(Limits { message_bytes: usize::MAX, ..AMPLE });
    assert_eq!(feed(&mut decoder, &ClientFrame::new(2, b"a").to_bytes(), &mut Vec::new()), Ok(()));
    let frame = ClientFrame { length: Length::Wrong(u64::MAX), ..ClientFrame::new(0, b"") };
    assert_refused_at_the_end(&mut decoder, &frame.header(), DecodeError::TooBig);
}

/// A ping keeps a connection alive that may send no message at all.
#[test]
fn control_frames_are_in_no_limit() {
    let ping = ClientFrame::new(FIN | 9, &[7; 125]).to_bytes();
    let mut decoder = Decoder::new(Limits { message_bytes: 0, frames: 1 });
    let mut seen = Vec::new();
    feed(&mut decoder, &ClientFrame::new(1, b"").to_bytes(), &mut seen).unwrap();
    for _ in 0..3 {
        feed(&mut decoder, &ping, &mut seen).unwrap();
    }
    assert_eq!(seen, vec![Seen::Ping(vec![7; 125]); 3]);
}

/// Empty ones too: they cost the sender nothing. Each message has the whole budget.
#[test]
fn the_frames_of_one_message_are_budgeted() {
    const FRAMES: u32 = 5;
    let (first, middle, last) = (
        ClientFrame::new(1, b"").to_bytes(),
        ClientFrame::new(0, b"").to_bytes(),
        ClientFrame::new(FIN, b"").to_bytes(),
    );
    let mut decoder = Decoder::new(Limits { frames: FRAMES, ..AMPLE });
    for _ in 0..3 {
        let mut seen = Vec::new();
        feed(&mut decoder, &first, &mut seen).unwrap();
        feed(&mut decoder, &middle.repeat(FRAMES as usize - 2), &mut seen).unwrap();
        feed(&mut decoder, &last, &mut seen).unwrap();
        feed(&mut decoder, &ClientFrame::new(FIN | 2, b"").to_bytes(), &mut seen).unwrap();
        assert_eq!(seen, [Seen::Text(String::new()), Seen::Binary(Vec::new())]);
    }
    feed(&mut decoder, &first, &mut Vec::new()).unwrap();
    feed(&mut decoder, &middle.repeat(FRAMES as usize - 1), &mut Vec::new()).unwrap();
    assert_refused_at_the_end(&mut decoder, &middle, DecodeError::TooManyFrames);
}

/// A payload that arrives whole is lent from the reader's buffer; one that did not is given away with the buffer
/// that it was collected in.
#[test]
fn the_decoder_keeps_no_buffer_of_a_message() {
    for first in [FIN | 1, FIN | 2, FIN | 9] {
        let mut decoder = Decoder::new(AMPLE);
        let mut wire = ClientFrame::new(first, b"hello").to_bytes();
        assert!(is_borrowed(&decoder.decode(&mut &mut wire[..]).unwrap().unwrap()));

        let mut wire = ClientFrame::new(first, b"hello").to_bytes();
        let (mut head, mut tail) = wire.split_at_mut(8);
        assert_eq!(decoder.decode(&mut head), Ok(None));
        assert!(!is_borrowed(&decoder.decode(&mut tail).unwrap().unwrap()));
        assert!(decoder.is_at_rest());
    }
}

/// Each with the position of the byte from which on no text is possible.
#[test]
fn bad_utf8_is_refused_before_its_frame_ends() {
    for (text, fault) in [
        (&b"abc\xff"[..], 3),
        (b"\x80", 0),
        (b"a\xc3\x28", 2),
        // Overlong.
        (b"\xc0", 0),
        (b"\xc1", 0),
        (b"\xe0\x80", 1),
        (b"\xe0\x9f", 1),
        (b"\xf0\x80", 1),
        (b"\xf0\x8f", 1),
        // Surrogates: the first, the last, and a pair.
        (b"\xed\xa0", 1),
        (b"\xed\xbf", 1),
        (b"\xed\xa1\x8c\xed\xbe\xb4", 1),
        // Over U+10FFFF.
        (b"\xf4\x90", 1),
        (b"\xf5", 0),
        (b"\xf8\x88", 0),
        (b"\xfe", 0),
        // A character that another one cuts off.
        (b"\xe2\x82\x28", 2),
        (b"\xf0\x9f\x98\x61", 3),
        (b"\xe2\xe2\x82\xac", 1),
        ("\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}\u{ed80}".as_bytes(), usize::MAX),
        (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 12),
        // The neighbours of what is refused.
        (b"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\xf0\x90\x80\x80\xe0\xa0\x80\xc2\x80\0", usize::MAX),
    ] {
        assert_eq!(first_impossible(text).unwrap_or(usize::MAX), fault, "{text:x?}");
        let mut decoder = Decoder::new(AMPLE);
        let frame = ClientFrame::new(FIN | 1, &[text, b" and more"].concat());
        let read = &frame.to_bytes()[..frame.header().len() + text.len()];
        if fault < text.len() {
            let read = &read[..frame.header().len() + fault + 1];
            assert_refused_at_the_end(&mut decoder, read, DecodeError::BadUtf8);
        } else {
            assert_eq!(feed(&mut decoder, read, &mut Vec::new()), Ok(()), "{text:x?}");
        }
    }
}

#[test]
fn text_that_ends_inside_a_character_is_refused_with_its_last_byte() {
    for text in [&b"\xc3"[..], b"a\xe2", b"a\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98"] {
        let whole = ClientFrame::new(FIN | 1, text).to_bytes();
        assert_refused_at_the_end(&mut Decoder::new(AMPLE), &whole, DecodeError::BadUtf8);
        assert_eq!(decode(AMPLE, [&whole[..]]).error, Some(DecodeError::BadUtf8));

        let (head, tail) = text.split_at(text.len() - 1);
        let fragments = [ClientFrame::new(1, head).to_bytes(), ClientFrame::new(FIN, tail).to_bytes()].concat();
        assert_refused_at_the_end(&mut Decoder::new(AMPLE), &fragments, DecodeError::BadUtf8);

        let empty_end = [ClientFrame::new(1, text).to_bytes(), ClientFrame::new(FIN, b"").to_bytes()].concat();
        assert_refused_at_the_end(&mut Decoder::new(AMPLE), &empty_end, DecodeError::BadUtf8);
    }
}

/// Any bytes, those among them more often that mean something in a header.
fn noise() -> impl Strategy<Value = Bytes> {
    let known = select(&b"\x00\x01\x02\x80\x81\x82\x83\x88\x89\x8a\xfe\xff"[..]);
    vec(prop_oneof![2 => known, 1 => any::<u8>()], 0..64).prop_map(Bytes::from)
}

fn assert_rest(decoder: &mut Decoder, exchange: &Exchange) {
    let bytes: Vec<u8> = exchange.iter().flat_map(ClientFrame::to_bytes).collect();
    for (index, byte) in bytes.iter().enumerate() {
        assert_eq!(feed(decoder, &[*byte], &mut Vec::new()), Ok(()));
        assert_eq!(decoder.is_at_rest(), index + 1 == bytes.len(), "after byte {index} of {}", bytes.len());
    }
}

/// Gives `bytes` one by one: all but the last are taken.
#[track_caller]
fn assert_refused_at_the_end(decoder: &mut Decoder, bytes: &[u8], error: DecodeError) {
    let (last, before) = bytes.split_last().unwrap();
    for (index, byte) in before.iter().enumerate() {
        assert_eq!(feed(decoder, &[*byte], &mut Vec::new()), Ok(()), "byte {index} of {bytes:x?}");
    }
    assert_eq!(feed(decoder, &[*last], &mut Vec::new()), Err(error), "the last of {bytes:x?}");
}

fn is_borrowed(event: &Incoming<'_>) -> bool {
    match event {
        Incoming::Message(Data::Text(text)) => matches!(text, Cow::Borrowed(_)),
        Incoming::Message(Data::Binary(bytes)) | Incoming::Ping(bytes) => matches!(bytes, Cow::Borrowed(_)),
        Incoming::Inflating(_) | Incoming::Pong | Incoming::Close(..) => panic!("{event:?} carries no payload"),
    }
}

/// Some messages that a client or a server may send, a close last if at all.
fn messages() -> impl Strategy<Value = Vec<Seen>> {
    let payload = || vec(any::<u8>(), 0..126);
    let long = (select(&[125, 126, 65_535, 65_536, 100_000][..]), any::<u8>());
    let message = prop_oneof![
        "\\PC{0,200}".prop_map(Seen::Text),
        vec(any::<u8>(), 0..200).prop_map(Seen::Binary),
        long.prop_map(|(len, byte)| Seen::Binary(vec![byte; len])),
        payload().prop_map(Seen::Ping),
        payload().prop_map(|_| Seen::Pong),
    ];
    // Tungstenite does not know 1014.
    let code = prop_oneof![1000..1004_u16, 1007..1014_u16, 3000..5000_u16];
    let close = prop_oneof![
        (code, "[a-z\u{20ac}]{0,41}").prop_map(|(code, reason)| Seen::Close(code, reason)),
        Just(Seen::Close(1005, String::new())),
    ];
    (vec(message, 0..5), option::of(close))
        .prop_map(|(messages, close)| messages.into_iter().chain(close).collect())
}

/// The server's frame.
fn frame(message: &Seen) -> Bytes {
    let frame = match message {
        Seen::Text(text) => Frame::new(Opcode::Text, text.as_bytes()),
        Seen::Binary(bytes) => Frame::new(Opcode::Binary, bytes),
        Seen::Ping(payload) => Frame::new(Opcode::Ping, payload),
        Seen::Pong => Frame::new(Opcode::Pong, b"pong"),
        Seen::Close(1005, _) => Frame::new(Opcode::Close, b""),
        Seen::Close(code, reason) => Frame::new(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat()),
    };
    frame.into_bytes()
}

fn tungstenite_message(message: &Seen) -> Message {
    match message.clone() {
        Seen::Text(text) => Message::text(text),
        Seen::Binary(bytes) => Message::binary(bytes),
        Seen::Ping(payload) => Message::Ping(payload.into()),
        Seen::Pong => Message::Pong("pong".into()),
        Seen::Close(1005, _) => Message::Close(None),
        Seen::Close(code, reason) => Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() })),
    }
}

/// Text in which something may be wrong, anywhere.
fn nearly_utf8() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => "[a\u{e9}\u{20ac}\u{1f600}]{1,4}".prop_map(String::into_bytes),
        1 => select(&NOT_UTF8[..]).prop_map(<[u8]>::to_vec),
        1 => select(&[0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xed, 0x9f, 0xf0, 0x90, 0xf4, 0x8f][..]).prop_map(|byte| vec![byte]),
    ];
    vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// The first byte with which no UTF-8 text can begin, after table 3-7 of the Unicode Standard.
fn first_impossible(text: &[u8]) -> Option<usize> {
    let mut bytes = text.iter().enumerate();
    while let Some((at, lead)) = bytes.next() {
        let (second, followers) = match lead {
            0x00..=0x7f => continue,
            0xc2..=0xdf => (0x80..=0xbf, 1),
            0xe0 => (0xa0..=0xbf, 2),
            0xed => (0x80..=0x9f, 2),
            0xe1..=0xef => (0x80..=0xbf, 2),
            0xf0 => (0x90..=0xbf, 3),
            0xf1..=0xf3 => (0x80..=0xbf, 3),
            0xf4 => (0x80..=0x8f, 3),
            _ => return Some(at),
        };
        for nth in 0..followers {
            let range = if nth == 0 { second.clone() } else { 0x80..=0xbf };
            let (at, follower) = bytes.next()?;
            if !range.contains(follower) {
                return Some(at);
            }
        }
    }
    None
}
