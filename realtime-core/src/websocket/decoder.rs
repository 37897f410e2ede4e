use crate::websocket::deflate::inflate;
use crate::websocket::{Opcode, PerMessageDeflate, apply_mask};
use realtime_protocol::{CloseCode, Data, Kind};
use std::{borrow::Cow, fmt};

/// What a peer may make us hold for one message.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Payload bytes of one message, all its fragments together; both as it comes and inflated.
    pub message_bytes: usize,
    /// Frames of one message, empty ones included.
    pub frames: u32,
}

/// A message or control frame that the peer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A message.
    Message(Data<'a>),
    /// A ping with its payload, which the pong must carry.
    Ping(Cow<'a, [u8]>),
    /// A pong.
    Pong,
    /// A close frame with its code ([`CloseCode::NO_STATUS`] if it had none) and reason.
    Close(CloseCode, String),
}

/// Turns the bytes of a client into [`Incoming`]s, however they are split.
///
/// A message that arrives whole is borrowed from the caller's buffer; only what is incomplete is
/// kept, and never more than [`Limits`] allow: a length is checked when its header is read, before
/// a byte of payload is held. Text is checked as it arrives, so bad UTF-8 fails at its first byte
/// also in the middle of a frame. A compressed message is inflated when its last byte is there, and
/// its text is checked then. At rest the decoder holds no buffer.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// Compression was negotiated.
    inflates: bool,
    /// What is incomplete, while something is.
    assembly: Option<Box<Assembly>>,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, inflates: false, assembly: None }
    }

    /// Takes compressed messages too, if compression was agreed on.
    #[must_use]
    pub fn inflating(mut self, agreed: Option<PerMessageDeflate>) -> Self {
        self.inflates = agreed.is_some();
        self
    }

    /// The next event in `input`, which is advanced past the bytes that were used.
    ///
    /// `Ok(None)` means that all of `input` was used and more is needed.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol or a limit; the connection must be failed with
    /// [`DecodeError::close_code`] and the decoder not be used again.
    pub fn decode<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Incoming<'a>>, DecodeError> {
        let mut assembly = match self.assembly.take() {
            Some(assembly) => assembly,
            None => {
                if let Some(data) = self.decode_message(input)? {
                    return Ok(Some(Incoming::Message(data)));
                }
                if let Some(event) = decode_heartbeat(input) {
                    return Ok(Some(event));
                }
                if input.is_empty() {
                    return Ok(None);
                }
                Box::new(Assembly::new(self.limits, self.inflates))
            }
        };
        let event = assembly.decode(input)?;
        if !assembly.is_empty() {
            self.assembly = Some(assembly);
        }
        Ok(event)
    }

    /// Whether the decoder stands between two messages, with nothing kept.
    pub fn is_at_rest(&self) -> bool {
        self.assembly.is_none()
    }

    /// The quick way for nearly all messages: unfragmented, whole in the input, with nothing kept
    /// from before. Leaves everything else, what is wrong included, to the long way.
    #[inline]
    fn decode_message<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Data<'a>>, DecodeError> {
        let [first, second, a, b, ..] = **input else { return Ok(None) };
        let kind = match first & !RSV1 {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return Ok(None),
        };
        let (header, length) = match second {
            0x80..0xfe => (6, usize::from(second & 0x7f)),
            0xfe => (8, usize::from(u16::from_be_bytes([a, b]))),
            _ => return Ok(None),
        };
        if header == 8 && length < 126 {
            return Ok(None);
        }
        let compressed = first & RSV1 != 0;
        let within = length <= self.limits.message_bytes && self.limits.frames > 0;
        if !within || (compressed && !self.inflates) || input.len() < header + length {
            return Ok(None);
        }
        let payload = take_masked(input, header, length);
        if compressed {
            return owned(kind, inflate(payload, self.limits.message_bytes)?).map(Some);
        }
        Ok(Some(match kind {
            Kind::Text => Data::Text(checked(payload)?.into()),
            Kind::Binary => Data::Binary((&*payload).into()),
        }))
    }
}

/// The same for pings and pongs, so that they need no [`Assembly`].
fn decode_heartbeat<'a>(input: &mut &'a mut [u8]) -> Option<Incoming<'a>> {
    let [first @ (0x89 | 0x8a), second @ 0x80..0xfe, ..] = **input else { return None };
    let length = usize::from(second & 0x7f);
    if input.len() < 6 + length {
        return None;
    }
    let payload = take_masked(input, 6, length);
    Some(if first == 0x89 { Incoming::Ping(Cow::Borrowed(payload)) } else { Incoming::Pong })
}

/// The payload of the frame at the front of the input, where it lies whole.
#[inline]
fn take_masked<'a>(input: &mut &'a mut [u8], header: usize, length: usize) -> &'a mut [u8] {
    let (header, payload) = take(input, header + length).split_at_mut(header);
    if let Some(mask) = header.last_chunk() {
        apply_mask(payload, *mask, 0);
    }
    payload
}

/// What arrives in pieces: a frame, a message in fragments.
#[derive(Debug)]
struct Assembly {
    limits: Limits,
    inflates: bool,
    header: PartialHeader,
    frame: Option<OpenFrame>,
    /// The kind of the message whose fragments are being collected.
    message: Option<Kind>,
    /// It is compressed.
    compressed: bool,
    /// Its unmasked payload so far; also that of an incomplete control frame, in `control`.
    payload: Vec<u8>,
    control: Vec<u8>,
    /// How much of `payload` is known to be whole UTF-8 characters.
    valid: usize,
    frames: u32,
}

impl Assembly {
    fn new(limits: Limits, inflates: bool) -> Self {
        Self {
            limits,
            inflates,
            header: PartialHeader::default(),
            frame: None,
            message: None,
            compressed: false,
            payload: Vec::new(),
            control: Vec::new(),
            valid: 0,
            frames: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.frame.is_none() && self.message.is_none() && self.header.len == 0
    }

    fn decode<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Incoming<'a>>, DecodeError> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.next_frame(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let here = frame.remaining.min(input.len());
            let chunk = take(input, here);
            apply_mask(chunk, frame.mask, frame.done);
            let whole = frame.done == 0 && here == frame.remaining;
            frame.done += here;
            frame.remaining -= here;
            if whole && let Some(event) = self.handle_whole(frame, chunk)? {
                return Ok(Some(event));
            }
            // A header alone starts nothing: its frame may still arrive whole with the next bytes.
            if !whole && here > 0 {
                self.collect(frame, chunk)?;
            }
            if frame.remaining > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(event) = self.finish_frame(frame, whole)? {
                return Ok(Some(event));
            }
        }
    }

    fn next_frame(&mut self, input: &mut &mut [u8]) -> Result<Option<OpenFrame>, DecodeError> {
        let in_message = self.message.is_some();
        let Some(header) = self.header.read(input, in_message, self.inflates)? else { return Ok(None) };
        if !header.opcode.is_control() {
            self.frames += 1;
            if self.frames > self.limits.frames {
                return Err(DecodeError::TooManyFrames);
            }
            let room = self.limits.message_bytes - self.payload.len();
            if header.length > room as u64 {
                return Err(DecodeError::TooBig);
            }
        }
        Ok(Some(OpenFrame {
            opcode: header.opcode,
            fin: header.fin,
            compressed: header.compressed,
            mask: header.mask,
            done: 0,
            remaining: header.length as usize,
        }))
    }

    /// The fast way: a frame that lies whole in the input. Control frames and unfragmented
    /// messages give their event from there; fragments are collected.
    fn handle_whole<'a>(
        &mut self,
        frame: OpenFrame,
        chunk: &'a [u8],
    ) -> Result<Option<Incoming<'a>>, DecodeError> {
        let kind = match frame.opcode {
            Opcode::Ping => return Ok(Some(Incoming::Ping(Cow::Borrowed(chunk)))),
            Opcode::Pong => return Ok(Some(Incoming::Pong)),
            Opcode::Close => return parse_close(chunk).map(Some),
            Opcode::Text if frame.fin => Kind::Text,
            Opcode::Binary if frame.fin => Kind::Binary,
            _ => {
                self.collect(frame, chunk)?;
                return Ok(None);
            }
        };
        self.frames = 0;
        if frame.compressed {
            return self.inflate(kind, chunk).map(Some);
        }
        Ok(Some(Incoming::Message(match kind {
            Kind::Text => Data::Text(checked(chunk)?.into()),
            Kind::Binary => Data::Binary(chunk.into()),
        })))
    }

    /// Keeps a piece of a frame that is not whole, or of a message that is fragmented.
    fn collect(&mut self, frame: OpenFrame, chunk: &[u8]) -> Result<(), DecodeError> {
        if frame.opcode.is_control() {
            self.control.extend_from_slice(chunk);
            return Ok(());
        }
        match frame.opcode {
            Opcode::Text => (self.message, self.compressed) = (Some(Kind::Text), frame.compressed),
            Opcode::Binary => (self.message, self.compressed) = (Some(Kind::Binary), frame.compressed),
            _ => {}
        }
        self.payload.extend_from_slice(chunk);
        if self.message == Some(Kind::Text) && !self.compressed {
            self.check_utf8()?;
        }
        Ok(())
    }

    fn check_utf8(&mut self) -> Result<(), DecodeError> {
        match std::str::from_utf8(&self.payload[self.valid..]) {
            Ok(_) => self.valid = self.payload.len(),
            // A character that is cut off may go on in the next piece.
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(DecodeError::BadUtf8),
        }
        Ok(())
    }

    /// The last byte of a frame was read. `whole` frames of control have been handled already.
    fn finish_frame<'a>(&mut self, frame: OpenFrame, whole: bool) -> Result<Option<Incoming<'a>>, DecodeError> {
        if frame.opcode.is_control() {
            debug_assert!(!whole);
            let control = std::mem::take(&mut self.control);
            return match frame.opcode {
                Opcode::Ping => Ok(Some(Incoming::Ping(Cow::Owned(control)))),
                Opcode::Pong => Ok(Some(Incoming::Pong)),
                _ => parse_close(&control).map(Some),
            };
        }
        if !frame.fin {
            return Ok(None);
        }
        let payload = std::mem::take(&mut self.payload);
        self.valid = 0;
        self.frames = 0;
        let kind = self.message.take().unwrap_or(Kind::Binary);
        if std::mem::take(&mut self.compressed) {
            return self.inflate(kind, &payload).map(Some);
        }
        owned(kind, payload).map(Incoming::Message).map(Some)
    }

    fn inflate<'a>(&self, kind: Kind, payload: &[u8]) -> Result<Incoming<'a>, DecodeError> {
        owned(kind, inflate(payload, self.limits.message_bytes)?).map(Incoming::Message)
    }
}

fn owned<'a>(kind: Kind, payload: Vec<u8>) -> Result<Data<'a>, DecodeError> {
    Ok(match kind {
        Kind::Text => Data::Text(String::from_utf8(payload).map_err(|_| DecodeError::BadUtf8)?.into()),
        Kind::Binary => Data::Binary(payload.into()),
    })
}

/// A frame whose header was read.
#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    opcode: Opcode,
    fin: bool,
    compressed: bool,
    mask: [u8; 4],
    done: usize,
    remaining: usize,
}

struct Header {
    opcode: Opcode,
    fin: bool,
    compressed: bool,
    length: u64,
    mask: [u8; 4],
}

/// The bytes of a header, which may arrive one by one; each is judged as soon as it is there.
#[derive(Debug, Default)]
struct PartialHeader {
    bytes: [u8; 14],
    len: u8,
}

impl PartialHeader {
    fn read(
        &mut self,
        input: &mut &mut [u8],
        in_message: bool,
        inflates: bool,
    ) -> Result<Option<Header>, DecodeError> {
        loop {
            let have = usize::from(self.len);
            let need = match have {
                0 | 1 => 2,
                _ => 2 + extended_bytes(self.bytes[1]) + 4,
            };
            if have >= 2 && have == need {
                let header = self.parse();
                self.len = 0;
                check_length(self.bytes[1], header.length)?;
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let chunk = take(input, (need - have).min(input.len()));
            self.bytes[have..have + chunk.len()].copy_from_slice(chunk);
            self.len += chunk.len() as u8;
            if have < 1 {
                check_first(self.bytes[0], in_message, inflates)?;
            }
            if have < 2 && self.len >= 2 {
                check_second(self.bytes[0], self.bytes[1])?;
            }
        }
    }

    fn parse(&self) -> Header {
        let bytes = &self.bytes;
        let extended = extended_bytes(bytes[1]);
        let length = match extended {
            0 => u64::from(bytes[1] & 0x7f),
            2 => u64::from(u16::from_be_bytes([bytes[2], bytes[3]])),
            _ => u64::from_be_bytes([
                bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7], bytes[8], bytes[9],
            ]),
        };
        let at = 2 + extended;
        Header {
            // `check_first` has refused every other opcode.
            opcode: Opcode::parse(bytes[0] & 0x0f).unwrap_or(Opcode::Continuation),
            fin: bytes[0] & 0x80 != 0,
            compressed: bytes[0] & RSV1 != 0,
            length,
            mask: [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]],
        }
    }
}

fn extended_bytes(second: u8) -> usize {
    match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// On the first frame of a message: it is compressed (RFC 7692, section 6).
const RSV1: u8 = 0x40;

fn check_first(first: u8, in_message: bool, inflates: bool) -> Result<(), DecodeError> {
    let begins = matches!(Opcode::parse(first & 0x0f), Some(Opcode::Text | Opcode::Binary));
    let reserved = if inflates && begins { 0x70 & !RSV1 } else { 0x70 };
    if first & reserved != 0 {
        return Err(DecodeError::ReservedBits);
    }
    let opcode = Opcode::parse(first & 0x0f).ok_or(DecodeError::ReservedOpcode)?;
    let fin = first & 0x80 != 0;
    match opcode {
        Opcode::Continuation if !in_message => Err(DecodeError::UnexpectedContinuation),
        Opcode::Text | Opcode::Binary if in_message => Err(DecodeError::ExpectedContinuation),
        opcode if opcode.is_control() && !fin => Err(DecodeError::FragmentedControl),
        _ => Ok(()),
    }
}

fn check_second(first: u8, second: u8) -> Result<(), DecodeError> {
    if second & 0x80 == 0 {
        return Err(DecodeError::Unmasked);
    }
    if first & 0x08 != 0 && second & 0x7f > 125 {
        return Err(DecodeError::LongControl);
    }
    Ok(())
}

/// RFC 6455, section 5.2: a length is written in as few bytes as it fits into.
fn check_length(second: u8, length: u64) -> Result<(), DecodeError> {
    let least = match extended_bytes(second) {
        0 => 0,
        2 => 126,
        _ => 1 << 16,
    };
    if length < least { Err(DecodeError::LongLength) } else { Ok(()) }
}

fn parse_close<'a>(payload: &[u8]) -> Result<Incoming<'a>, DecodeError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(Incoming::Close(CloseCode::NO_STATUS, String::new())),
            _ => Err(DecodeError::BadClosePayload),
        };
    };
    let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(DecodeError::BadCloseCode)?;
    let reason = std::str::from_utf8(reason).map_err(|_| DecodeError::BadUtf8)?;
    Ok(Incoming::Close(code, reason.to_owned()))
}

#[inline]
fn checked(text: &[u8]) -> Result<&str, DecodeError> {
    simdutf8::basic::from_utf8(text).map_err(|_| DecodeError::BadUtf8)
}

/// Splits `count` bytes off the front of `input`.
fn take<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let (head, tail) = std::mem::take(input).split_at_mut(count);
    *input = tail;
    head
}

/// How the peer broke the protocol or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A reserved bit is set that no negotiated extension gives a meaning there.
    ReservedBits,
    /// An opcode that RFC 6455 does not define.
    ReservedOpcode,
    /// A control frame without the FIN bit.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A length in more bytes than it fits into.
    LongLength,
    /// A client's frame that is not masked.
    Unmasked,
    /// A continuation without a message to continue.
    UnexpectedContinuation,
    /// A new message before the last one ended.
    ExpectedContinuation,
    /// A close frame with a payload of one byte.
    BadClosePayload,
    /// A close code that must not be sent.
    BadCloseCode,
    /// Text, or a close reason, that is not UTF-8.
    BadUtf8,
    /// A compressed message that is not in the format of RFC 1951, or incomplete.
    BadDeflate,
    /// A message of more than [`Limits::message_bytes`].
    TooBig,
    /// A message of more than [`Limits::frames`].
    TooManyFrames,
}

impl DecodeError {
    /// The code to close the connection with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::BadUtf8 | Self::BadDeflate => CloseCode::INVALID_PAYLOAD,
            Self::TooBig | Self::TooManyFrames => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// What was wrong, for the close frame's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::ReservedOpcode => "reserved opcode",
            Self::FragmentedControl => "fragmented control frame",
            Self::LongControl => "control frame over 125 bytes",
            Self::LongLength => "length not in its shortest form",
            Self::Unmasked => "client frame not masked",
            Self::UnexpectedContinuation => "continuation without a message",
            Self::ExpectedContinuation => "new message inside a fragmented one",
            Self::BadClosePayload => "close frame of one byte",
            Self::BadCloseCode => "invalid close code",
            Self::BadUtf8 => "invalid UTF-8",
            Self::BadDeflate => "invalid deflate data",
            Self::TooBig => "message over the limit",
            Self::TooManyFrames => "too many frames in one message",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for DecodeError {}
