use super::{
    DecodeError, Opcode, PerMessageDeflate, apply_mask,
    deflate::{Begun, Inflation},
    header::{OpenFrame, PartialHeader, RSV1},
};
use realtime_protocol::{CloseCode, Data, Kind};
use std::borrow::Cow;

/// The limits of one message from the peer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Payload bytes of one message, all fragments together, both before and after inflation.
    pub message_bytes: usize,
    /// Frames of one message, empty ones included.
    pub frames: u32,
}

/// A message or control frame from the peer.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A message.
    Message(Data<'a>),
    /// No message yet: one slice of a long compressed message was inflated, at this cost in bytes. The next slice, or
    /// the message, comes with the next call of [`Decoder::decode`], with or without more input.
    Inflating(usize),
    /// A ping with its payload, which the pong must echo.
    Ping(Cow<'a, [u8]>),
    /// A pong.
    Pong,
    /// A close frame with its code ([`CloseCode::NO_STATUS`] if it had none) and reason.
    Close(CloseCode, String),
}

/// Decodes the bytes of a client into [`Incoming`] items, however they are split.
///
/// A message that arrives whole is borrowed from the caller's buffer. Only incomplete data is kept, and never more than
/// the [`Limits`] allow: a length is checked when its header is read, before any payload is stored. Text is checked as
/// it arrives, so bad UTF-8 fails at its first byte, even in the middle of a frame. A compressed message is inflated
/// once its last byte has arrived: the first 16 KiB at once, the rest in slices, one for each call of
/// [`decode`](Self::decode), and its text is checked slice by slice. At rest the decoder holds no buffer.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// Compression was negotiated.
    inflates: bool,
    /// Incomplete data, if there is any.
    assembly: Option<Box<Assembly>>,
}

impl Decoder {
    /// Creates a decoder for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, inflates: false, assembly: None }
    }

    /// Accepts compressed messages, if compression was negotiated.
    #[must_use]
    pub fn inflating(mut self, agreed: Option<PerMessageDeflate>) -> Self {
        self.inflates = agreed.is_some();
        self
    }

    /// Decodes the next item of `input`, and advances `input` past the bytes used.
    ///
    /// `Ok(None)` means that all of `input` was used and more is needed. While a message is being inflated, no input is
    /// used.
    ///
    /// # Errors
    ///
    /// The peer violated the protocol or a limit. Fail the connection with [`DecodeError::close_code`], and do not
    /// use the decoder again.
    pub fn decode<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Incoming<'a>>, DecodeError> {
        let mut assembly = match self.assembly.take() {
            Some(assembly) => assembly,
            None => {
                if let Some(event) = self.decode_message(input)? {
                    return Ok(Some(event));
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

    /// Returns true if the decoder is between two messages, with nothing stored.
    pub fn is_at_rest(&self) -> bool {
        self.assembly.is_none()
    }

    /// Returns the bytes of memory that hold incomplete data.
    pub(crate) fn held_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| {
            let inflated = assembly.inflation.as_ref().map_or(0, |inflation| inflation.held_bytes());
            assembly.payload.capacity() + assembly.control.capacity() + inflated
        })
    }

    /// Returns true if a message is being inflated and has more to come.
    pub(crate) fn is_inflating(&self) -> bool {
        self.inflation().is_some_and(|inflation| !inflation.is_whole())
    }

    /// Returns true if an inflated message is ready for the next call of `decode`.
    pub(crate) fn has_message(&self) -> bool {
        self.inflation().is_some_and(Inflation::is_whole)
    }

    fn inflation(&self) -> Option<&Inflation> {
        self.assembly.as_ref()?.inflation.as_deref()
    }

    /// Restarts the inflation of the current message, to free the memory it has taken.
    #[cold]
    pub(crate) fn rewind_inflation(&mut self) {
        if let Some(inflation) = self.assembly.as_mut().and_then(|assembly| assembly.inflation.as_mut()) {
            inflation.rewind();
        }
    }

    /// Drops the message that is being inflated, or is ready.
    #[cold]
    pub(crate) fn drop_inflation(&mut self) {
        if self.inflation().is_some() {
            self.assembly = None;
        }
    }

    /// The fast path for nearly all messages: unfragmented, whole in the input, with nothing stored. Leaves everything
    /// else, errors included, to the slow path.
    #[inline]
    fn decode_message<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Incoming<'a>>, DecodeError> {
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
            return self.inflate(kind, payload).map(Some);
        }
        Ok(Some(Incoming::Message(match kind {
            Kind::Text => Data::Text(checked(payload)?.into()),
            Kind::Binary => Data::Binary((&*payload).into()),
        })))
    }

    fn inflate<'a>(&mut self, kind: Kind, payload: &[u8]) -> Result<Incoming<'a>, DecodeError> {
        Ok(match Inflation::begin(kind, payload.into(), self.limits.message_bytes)? {
            Begun::Whole(data) => Incoming::Message(data),
            Begun::Long(inflation, work) => {
                let assembly =
                    Assembly { inflation: Some(inflation), ..Assembly::new(self.limits, self.inflates) };
                self.assembly = Some(Box::new(assembly));
                Incoming::Inflating(work)
            }
        })
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

/// Returns the unmasked payload of the frame at the front of the input, which must be whole.
#[inline]
fn take_masked<'a>(input: &mut &'a mut [u8], header: usize, length: usize) -> &'a mut [u8] {
    let (header, payload) = take(input, header + length).split_at_mut(header);
    if let Some(mask) = header.last_chunk() {
        apply_mask(payload, *mask, 0);
    }
    payload
}

/// Data that arrives in pieces: a frame, or a message in fragments.
#[derive(Debug)]
struct Assembly {
    limits: Limits,
    inflates: bool,
    header: PartialHeader,
    frame: Option<OpenFrame>,
    /// The kind of the message whose fragments are being collected.
    message: Option<Kind>,
    /// The message is compressed.
    compressed: bool,
    /// The message's unmasked payload so far.
    payload: Vec<u8>,
    control: Vec<u8>,
    /// Length of the prefix of `payload` that is checked UTF-8.
    valid: usize,
    frames: u32,
    /// The last message, while it is being inflated.
    inflation: Option<Box<Inflation>>,
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
            inflation: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.frame.is_none() && self.message.is_none() && self.header.is_empty() && self.inflation.is_none()
    }

    fn decode<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Incoming<'a>>, DecodeError> {
        if let Some(inflation) = self.inflation.take() {
            return self.go_on_inflating(inflation).map(Some);
        }
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
            // A header alone stores nothing: its frame may still arrive whole with the next bytes.
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

    /// The fast path: a frame that is whole in the input. Returns control frames and unfragmented messages; collects
    /// fragments.
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
            return self.inflate(kind, chunk.into()).map(Some);
        }
        Ok(Some(Incoming::Message(match kind {
            Kind::Text => Data::Text(checked(chunk)?.into()),
            Kind::Binary => Data::Binary(chunk.into()),
        })))
    }

    /// Stores a piece of an incomplete frame, or of a fragmented message.
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
            // The rest of a split character may come in the next piece.
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(DecodeError::BadUtf8),
        }
        Ok(())
    }

    /// Handles the last byte of a frame. Control frames that are `whole` have been handled already.
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
            return self.inflate(kind, payload.into()).map(Some);
        }
        owned(kind, payload).map(Incoming::Message).map(Some)
    }

    fn inflate<'a>(&mut self, kind: Kind, payload: Cow<'_, [u8]>) -> Result<Incoming<'a>, DecodeError> {
        Ok(match Inflation::begin(kind, payload, self.limits.message_bytes)? {
            Begun::Whole(data) => Incoming::Message(data),
            Begun::Long(inflation, work) => {
                self.inflation = Some(inflation);
                Incoming::Inflating(work)
            }
        })
    }

    fn go_on_inflating<'a>(&mut self, mut inflation: Box<Inflation>) -> Result<Incoming<'a>, DecodeError> {
        if inflation.is_whole() {
            return Ok(Incoming::Message(inflation.into_message()));
        }
        let work = inflation.go_on()?;
        self.inflation = Some(inflation);
        Ok(Incoming::Inflating(work))
    }
}

fn owned<'a>(kind: Kind, payload: Vec<u8>) -> Result<Data<'a>, DecodeError> {
    Ok(match kind {
        Kind::Text => Data::Text(String::from_utf8(payload).map_err(|_| DecodeError::BadUtf8)?.into()),
        Kind::Binary => Data::Binary(payload.into()),
    })
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
pub(super) fn take<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let (head, tail) = std::mem::take(input).split_at_mut(count);
    *input = tail;
    head
}
