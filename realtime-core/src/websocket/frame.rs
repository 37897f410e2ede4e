use crate::util::spare;
use bytes::Bytes;
use realtime_protocol::{Close, CloseCode};
use std::cell::Cell;

/// The opcodes of RFC 6455, section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next part of a fragmented message.
    Continuation = 0,
    /// A text message, or its first part.
    Text = 1,
    /// A binary message, or its first part.
    Binary = 2,
    /// A close frame.
    Close = 8,
    /// A ping.
    Ping = 9,
    /// A pong.
    Pong = 10,
}

impl Opcode {
    pub(crate) fn parse(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    pub(crate) fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// One whole server frame, header included, ready for the wire. For a transport without frames, the bytes sent instead.
///
/// A frame is encoded once and shared: a clone is a reference count, so a broadcast costs one encoding whatever the
/// number of connections. Server frames are final and never masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// Encodes a frame with this payload.
    pub fn new(opcode: Opcode, payload: &[u8]) -> Self {
        Draft::new(opcode, payload).into_frame()
    }

    /// Builds a frame in place: `write` appends the payload to a buffer that has room for the header in front, so the
    /// payload is written once, into one allocation of its exact size.
    ///
    /// Returns `Ok(None)` if `write` does.
    pub fn build<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<Option<Opcode>, E>) -> Result<Option<Self>, E> {
        compose(write, |draft| draft.into_frame())
    }

    /// Returns the end of the frame that contains the byte before `at`, among joined whole frames.
    pub(crate) fn end_around(frames: &[u8], at: usize) -> usize {
        let mut end = 0;
        while end < at {
            let Some(len) = len(&frames[end..]) else { return frames.len() };
            end += len;
        }
        end.min(frames.len())
    }

    /// Sets RSV1: the payload is compressed (RFC 7692, section 6).
    #[cfg(feature = "deflate")]
    pub(super) fn with_rsv1(self) -> Self {
        let mut bytes = bytes::BytesMut::from(self.0);
        bytes[0] |= 0x40;
        Self(bytes.freeze())
    }

    /// Encodes a close frame.
    pub(crate) fn close(close: &Close) -> Self {
        Self::new(Opcode::Close, &close.code.payload(&close.reason))
    }

    /// Encodes the answer to a peer's close frame, which echoes its code.
    pub(crate) fn close_reply(code: CloseCode) -> Self {
        Self::new(Opcode::Close, &code.payload(""))
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the frame's bytes.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Returns the length of the whole frame in bytes, header included; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a frame has a header of two bytes at least")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A frame that is not allocated yet.
pub(crate) struct Draft<'a> {
    header: [u8; HEADER_BYTES],
    header_len: usize,
    payload: Payload<'a>,
}

enum Payload<'a> {
    Borrowed(&'a [u8]),
    /// A buffer with room for the header in front.
    Buffer(&'a mut Vec<u8>),
}

impl<'a> Draft<'a> {
    pub(crate) fn new(opcode: Opcode, payload: &'a [u8]) -> Self {
        Self::with(opcode, Payload::Borrowed(payload))
    }

    /// Wraps an encoded frame.
    pub(crate) fn of(frame: &'a Frame) -> Self {
        Self { header: [0; HEADER_BYTES], header_len: 0, payload: Payload::Borrowed(&frame.0) }
    }

    fn with(opcode: Opcode, payload: Payload<'a>) -> Self {
        let (header, header_len) = header(opcode, payload.bytes().len());
        Self { header, header_len, payload }
    }

    /// Returns the length of the whole frame in bytes.
    pub(crate) fn len(&self) -> usize {
        self.header_len + self.payload.bytes().len()
    }

    /// Appends the frame to `frames`.
    #[inline(always)]
    pub(crate) fn append_to(&self, frames: &mut Vec<u8>) {
        let payload = self.payload.bytes();
        frames.reserve(HEADER_BYTES + payload.len());
        // Copies all ten bytes and truncates: a copy of a fixed size is a move or two.
        let end = frames.len() + self.header_len;
        frames.extend_from_slice(&self.header);
        frames.truncate(end);
        frames.extend_from_slice(payload);
    }

    pub(crate) fn into_frame(self) -> Frame {
        let len = self.len();
        match self.payload {
            Payload::Buffer(buffer) if len > SCRATCH_BYTES => {
                let start = HEADER_BYTES - self.header_len;
                buffer[start..HEADER_BYTES].copy_from_slice(&self.header[..self.header_len]);
                // Spare capacity would not be counted by any outbox.
                buffer.shrink_to_fit();
                Frame(Bytes::from(std::mem::take(buffer)).slice(start..))
            }
            _ => {
                let mut frame = Vec::with_capacity(len);
                frame.extend_from_slice(&self.header[..self.header_len]);
                frame.extend_from_slice(self.payload.bytes());
                Frame(frame.into())
            }
        }
    }
}

impl Payload<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(payload) => payload,
            Self::Buffer(buffer) => &buffer[HEADER_BYTES..],
        }
    }
}

/// Calls `write` to append a payload to the thread's own buffer, and passes the frame to `with`.
pub(crate) fn compose<T, E>(
    write: impl FnOnce(&mut Vec<u8>) -> Result<Option<Opcode>, E>,
    with: impl FnOnce(Draft<'_>) -> T,
) -> Result<Option<T>, E> {
    lend(write, |opcode, buffer| with(Draft::with(opcode, Payload::Buffer(buffer))))
}

/// Like [`compose`], for a transport without frames; `write` returns false if there is nothing to send.
pub(crate) fn compose_unframed<T, E>(
    write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    with: impl FnOnce(Draft<'_>) -> T,
) -> Result<Option<T>, E> {
    let header = [0; HEADER_BYTES];
    lend(
        |buffer| Ok(write(buffer)?.then_some(())),
        |(), buffer| with(Draft { header, header_len: 0, payload: Payload::Buffer(buffer) }),
    )
}

#[inline]
fn lend<W, T, E>(
    write: impl FnOnce(&mut Vec<u8>) -> Result<Option<W>, E>,
    with: impl FnOnce(W, &mut Vec<u8>) -> T,
) -> Result<Option<T>, E> {
    let mut buffer = spare::take(&SCRATCH);
    buffer.clear();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    let written = write(&mut buffer);
    let result = written.map(|written| Some(with(written?, &mut buffer)));
    if buffer.capacity() <= SCRATCH_BYTES {
        spare::put(&SCRATCH, buffer);
    }
    result
}

/// Returns the length of the server frame at the front.
fn len(frames: &[u8]) -> Option<usize> {
    Some(match *frames {
        [_, len @ 0..126, ..] => 2 + usize::from(len),
        [_, 126, a, b, ..] => 4 + usize::from(u16::from_be_bytes([a, b])),
        [_, _, a, b, c, d, e, f, g, h, ..] => 10 + u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize,
        _ => return None,
    })
}

/// The longest header of a server frame.
const HEADER_BYTES: usize = 10;

/// A larger buffer is moved into the frame or freed instead of being kept by the thread.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn header(opcode: Opcode, payload: usize) -> ([u8; HEADER_BYTES], usize) {
    let mut header = [0; HEADER_BYTES];
    header[0] = 0x80 | opcode as u8;
    match payload {
        0..126 => {
            header[1] = payload as u8;
            (header, 2)
        }
        126..65_536 => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            (header, 4)
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            (header, 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn building_in_place_gives_the_same_bytes() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let payload = vec![7; len];
            let built = Frame::build::<()>(|buffer| {
                buffer.extend_from_slice(&payload);
                Ok(Some(Opcode::Binary))
            });
            assert_eq!(built, Ok(Some(Frame::new(Opcode::Binary, &payload))), "{len}");
        }
    }

    #[test]
    fn the_end_of_a_frame_is_found_by_its_header() {
        let lens = [0, 1, 125, 126, 65_535, 65_536];
        let frames: Vec<Bytes> = lens.iter().map(|&len| Frame::new(Opcode::Text, &vec![7; len]).0).collect();
        let joined = frames.concat();
        let mut start = 0;
        for frame in frames {
            let end = start + frame.len();
            for at in [start + 1, end - 1, end] {
                assert_eq!(Frame::end_around(&joined, at), end, "{at}");
            }
            start = end;
        }
        assert_eq!(Frame::end_around(&joined, joined.len() + 1), joined.len());
    }

    #[test]
    fn a_build_inside_a_build_has_its_own_buffer() {
        let outer = Frame::build::<()>(|buffer| {
            buffer.push(b'a');
            Frame::build::<()>(|inner| {
                inner.push(b'b');
                Ok(Some(Opcode::Text))
            })?;
            buffer.push(b'c');
            Ok(Some(Opcode::Text))
        });
        assert_eq!(outer, Ok(Some(Frame::new(Opcode::Text, b"ac"))));
    }
}
