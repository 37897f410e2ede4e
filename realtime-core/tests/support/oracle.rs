//! The meaning of a client's bytes: to the decoder, and to tungstenite as a judge of its own.

use realtime_core::websocket::{Data, DecodeError, Decoder, Incoming, Limits};
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
};
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

impl From<Incoming<'_>> for Seen {
    fn from(event: Incoming<'_>) -> Self {
        match event {
            Incoming::Inflating(_) => unreachable!("nothing is to be seen of it"),
            Incoming::Message(Data::Text(text)) => Self::Text(text.into_owned()),
            Incoming::Message(Data::Binary(bytes)) => Self::Binary(bytes.into_owned()),
            Incoming::Ping(payload) => Self::Ping(payload.into_owned()),
            Incoming::Pong => Self::Pong,
            Incoming::Close(code, reason) => Self::Close(code.get(), reason),
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
            Message::Close(Some(CloseFrame { code, reason })) => {
                Self::Close(code.into(), reason.as_str().to_owned())
            }
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

/// Decodes bytes that arrive in these pieces.
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
        if !matches!(event, Incoming::Inflating(_)) {
            seen.push(event.into());
        }
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
/// - A length in a longer form than it needs is refused here (RFC 6455, section 5.2: the shortest form must be used) and
///   taken by tungstenite.
/// - Tungstenite has no budget for frames: nor has the decoder here.
pub(crate) fn assert_tungstenite_agrees(message_bytes: usize, bytes: &[u8], cuts: &[usize]) {
    let bytes = up_to_close(bytes);
    let limits = Limits { message_bytes, frames: u32::MAX };
    let ours = decode(limits, pieces(bytes, cuts));
    let fault = first_fault(limits, bytes).map(|fault| frame_around(bytes, fault));
    let bytes = match &fault {
        Some((before, frame)) => &[before, &complete(frame, message_bytes)[..]].concat(),
        None => bytes,
    };
    let theirs = read(Role::Server, message_bytes, pieces(bytes, cuts));

    let mut expected = ours.seen;
    match (ours.error, theirs.error) {
        (Some(DecodeError::BadCloseCode), None) => expected.push(violation()),
        (Some(DecodeError::BadCloseCode), Some(1007)) => {}
        (Some(DecodeError::LongLength), _) => {
            assert!(theirs.seen.starts_with(&expected), "{:?} after {expected:?}", theirs.seen);
            return;
        }
        (Some(DecodeError::LongControl), _) if fault.is_some_and(|(_, frame)| is_short(frame)) => {
            assert!(theirs.seen.starts_with(&expected), "{:?} after {expected:?}", theirs.seen);
            return;
        }
        (Some(ours), Some(1009)) if ours.close_code().get() == 1002 => {}
        (ours, theirs) => assert_eq!(ours.map(|error| error.close_code().get()), theirs, "{ours:?}"),
    }
    if let Some(close @ Seen::Close(1014, _)) = expected.last_mut() {
        *close = violation();
    }
    assert_eq!(theirs.seen, expected);
}

/// Reads with tungstenite bytes that arrive in these pieces; its error is the code to close
/// with.
pub(crate) fn read(role: Role, message_bytes: usize, pieces: Vec<&[u8]>) -> Transcript<u16> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(message_bytes))
        // This limit is for control frames too.
        .max_frame_size(Some(message_bytes.max(125)))
        .read_buffer_size(256);
    let wire = Wire { pieces: pieces.into_iter().filter(|piece| !piece.is_empty()).collect(), parked: false };
    let mut socket = WebSocket::from_raw_socket(wire, role, Some(config));
    let mut seen = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => seen.push(message.into()),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if socket.get_ref().pieces.is_empty() {
                    return Transcript { seen, error: None };
                }
            }
            // So ends a session after a close frame.
            Err(Error::ConnectionClosed) => return Transcript { seen, error: None },
            Err(Error::Utf8(_)) => return Transcript { seen, error: Some(1007) },
            Err(Error::Capacity(_)) => return Transcript { seen, error: Some(1009) },
            Err(Error::Protocol(_)) => return Transcript { seen, error: Some(1002) },
            Err(error) => panic!("not an error of reading: {error}"),
        }
    }
}

/// A socket that has nothing to read between two pieces, and takes all that is written.
struct Wire<'a> {
    pieces: VecDeque<&'a [u8]>,
    parked: bool,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.parked = !self.parked;
        let Some(piece) = self.pieces.front_mut().filter(|_| !self.parked) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let read = piece.read(buffer)?;
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        Ok(read)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what tungstenite makes of a close frame whose code it does not let pass.
fn violation() -> Seen {
    Seen::Close(1002, "Protocol violation".to_owned())
}

/// The position of the byte at which the decoder fails.
fn first_fault(limits: Limits, bytes: &[u8]) -> Option<usize> {
    let mut decoder = Decoder::new(limits);
    bytes.chunks(1).position(|byte| feed(&mut decoder, byte, &mut Vec::new()).is_err())
}

/// The bytes up to the end of the first close frame.
fn up_to_close(bytes: &[u8]) -> &[u8] {
    let mut start = 0;
    while start < bytes.len() {
        let end = frame_end(bytes, start);
        if bytes[start] & 0x0f == 8 {
            return &bytes[..end];
        }
        start = end;
    }
    bytes
}

/// The frames before the one that holds the byte at `at`, and what there is of that one.
fn frame_around(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    let mut start = 0;
    loop {
        let end = frame_end(bytes, start);
        if at < end {
            return (&bytes[..start], &bytes[start..end]);
        }
        start = end;
    }
}

/// The end of the frame that begins at `start`, or of the bytes if they end before it.
fn frame_end(bytes: &[u8], start: usize) -> usize {
    let Some((header, payload)) = measure(&bytes[start..]) else { return bytes.len() };
    let length = header.saturating_add(usize::try_from(payload).unwrap_or(usize::MAX));
    start.saturating_add(length).min(bytes.len())
}

/// Bytes of a frame's header and of its payload, as its first bytes say (RFC 6455, section 5.2).
fn measure(frame: &[u8]) -> Option<(usize, u64)> {
    let second = *frame.get(1)?;
    let extended = extended(second);
    let payload = match frame.get(2..2 + extended)? {
        [] => u64::from(second & 0x7f),
        bytes => bytes.iter().fold(0, |length, &byte| length << 8 | u64::from(byte)),
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    Some((2 + extended + mask, payload))
}

fn extended(second: u8) -> usize {
    match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// Makes up what is missing of a frame, with no fault of its own.
fn complete(frame: &[u8], message_bytes: usize) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame.len() == 1 {
        frame.push(0x80);
    }
    let lengthened = 2 + extended(frame[1]);
    if frame.len() < lengthened {
        // A length that needs this form.
        frame.resize(lengthened, 0xff);
    }
    let (header, payload) = measure(&frame).expect("a whole header");
    // One over the limit is refused at its header.
    let payload = usize::try_from(payload).ok().filter(|&payload| payload <= message_bytes.max(125));
    let len = header + payload.unwrap_or(0);
    frame.resize(frame.len().max(len), 0);
    frame
}

/// Returns true if a frame's length would fit into its second byte.
fn is_short(frame: &[u8]) -> bool {
    measure(frame).is_some_and(|(_, payload)| payload <= 125)
}
