//! What a client's bytes mean: to the decoder, and to tungstenite as a judge of its own.

use realtime_core::websocket::{Data, DecodeError, Decoder, Event, Limits};
use std::io::{self, Read, Write};
use tungstenite::{
    Error, Message,
    protocol::{CloseFrame, Role, WebSocket, WebSocketConfig},
};

/// One event, without what the two name differently: a pong's payload is nobody's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(u16, String),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(Data::Text(text)) => Self::Text(text.into_owned()),
            Event::Message(Data::Binary(bytes)) => Self::Binary(bytes.into_owned()),
            Event::Ping(payload) => Self::Ping(payload.into_owned()),
            Event::Pong => Self::Pong,
            Event::Close(code, reason) => Self::Close(code.get(), reason),
        }
    }
}

impl From<Message> for Seen {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.as_str().to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.into()),
            Message::Ping(payload) => Self::Ping(payload.into()),
            Message::Pong(_) => Self::Pong,
            Message::Close(None) => Self::Close(1005, String::new()),
            Message::Close(Some(CloseFrame { code, reason })) => Self::Close(code.into(), reason.as_str().to_owned()),
            Message::Frame(frame) => panic!("tungstenite never reads a raw frame: {frame}"),
        }
    }
}

/// All that was seen, and why no more was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transcript<E> {
    pub(crate) seen: Vec<Seen>,
    pub(crate) error: Option<E>,
}

/// The pieces of `bytes` between the cuts, which may be in any order and beyond the end; where two
/// are the same a piece is empty.
pub(crate) fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|&cut| cut.min(bytes.len())).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let starts = [0].into_iter().chain(ends.clone());
    starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
}

/// What the decoder makes of bytes that arrive in these pieces.
pub(crate) fn decode<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Transcript<DecodeError> {
    let mut decoder = Decoder::new(limits);
    let mut seen = Vec::new();
    for piece in pieces {
        if let Err(error) = feed(&mut decoder, piece, &mut seen) {
            return Transcript { seen, error: Some(error) };
        }
    }
    Transcript { seen, error: None }
}

/// Gives one piece to the decoder until it has used all of it.
pub(crate) fn feed(decoder: &mut Decoder, piece: &[u8], seen: &mut Vec<Seen>) -> Result<(), DecodeError> {
    let mut piece = piece.to_vec();
    let mut rest = &mut piece[..];
    while let Some(event) = decoder.decode(&mut rest)? {
        seen.push(event.into());
    }
    assert!(rest.is_empty(), "the decoder asks for more before it has used what is there");
    Ok(())
}

/// The decoder gives the same for the bytes whole, one by one, and cut at `cuts`; also if it is
/// replaced by a new one whenever it says that it is at rest.
pub(crate) fn assert_splits_agree(limits: Limits, bytes: &[u8], cuts: &[usize]) {
    let whole = decode(limits, [bytes]);
    assert_eq!(decode(limits, bytes.chunks(1)), whole, "byte by byte");
    assert_eq!(decode(limits, pieces(bytes, cuts)), whole, "cut at {cuts:?}");
    assert_eq!(decode_renewing(limits, bytes.chunks(1)), whole, "byte by byte, new at rest");
}

fn decode_renewing<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Transcript<DecodeError> {
    let mut decoder = Decoder::new(limits);
    let mut seen = Vec::new();
    for piece in pieces {
        if let Err(error) = feed(&mut decoder, piece, &mut seen) {
            return Transcript { seen, error: Some(error) };
        }
        if decoder.is_at_rest() {
            decoder = Decoder::new(limits);
        }
    }
    Transcript { seen, error: None }
}

/// The decoder and tungstenite deliver the same from these bytes and refuse the same frame, for
/// the same reason as the close code tells it.
///
/// These differences are known, and each is looked at alone:
/// - After a close frame nothing is compared: tungstenite reads no more.
/// - The decoder refuses at the first wrong byte, tungstenite when the frame is whole: it is given
///   the rest of that frame.
/// - Tungstenite looks at the length before anything else, so of two faults it may name that one.
/// - A close code that may not be sent is an error here; tungstenite makes it a close with 1002.
///   It does so with 1014, which IANA has assigned since and the decoder lets pass.
/// - A control frame's length of up to 125 bytes in the form of 16 or 64 bits is refused here (RFC
///   6455, section 5.2: the shortest form must be used) and taken by tungstenite.
/// - Tungstenite has no budget for frames: nor has the decoder here.
pub(crate) fn assert_tungstenite_agrees(message_bytes: usize, bytes: &[u8], cuts: &[usize]) {
    let bytes = up_to_close(bytes);
    let limits = Limits { message_bytes, frames: u32::MAX };
    let ours = decode(limits, pieces(bytes, cuts));
    let bytes = match first_fault(limits, bytes) {
        Some(fault) => &frames_up_to(bytes, fault, message_bytes),
        None => bytes,
    };
    let theirs = read(message_bytes, pieces(bytes, cuts));

    let mut expected = ours.seen;
    match (ours.error, theirs.error) {
        (Some(DecodeError::BadCloseCode), None) => expected.push(violation()),
        (Some(DecodeError::BadCloseCode), Some(1007)) => {}
        (Some(DecodeError::LongControl), _) if is_short(bytes, expected.len()) => return,
        (Some(ours), Some(1009)) if ours.close_code().get() == 1002 => {}
        (ours, theirs) => assert_eq!(ours.map(|error| error.close_code().get()), theirs, "{ours:?}"),
    }
    if let Some(close @ Seen::Close(1014, _)) = expected.last_mut() {
        *close = violation();
    }
    assert_eq!(theirs.seen, expected);
}
