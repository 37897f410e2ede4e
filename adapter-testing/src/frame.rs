use realtime_core::websocket::{Opcode, apply_mask};

/// A WebSocket frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestFrame {
    /// True for the last frame of a message.
    pub fin: bool,
    /// True if RSV1 is set: on the first frame of a compressed message (RFC 7692).
    pub compressed: bool,
    /// The opcode.
    pub opcode: Opcode,
    /// The payload, unmasked; compressed in a compressed message.
    pub payload: Vec<u8>,
}

impl TestFrame {
    /// Creates a whole frame.
    pub fn new(opcode: Opcode, payload: impl Into<Vec<u8>>) -> Self {
        Self { fin: true, compressed: false, opcode, payload: payload.into() }
    }

    /// Creates a text message.
    pub fn text(text: &str) -> Self {
        Self::new(Opcode::Text, text)
    }

    /// Creates a close frame.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(Opcode::Close, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// Returns the frame as a part of an unfinished message.
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    /// Returns the frame with RSV1 set and its payload unchanged; the caller compresses it.
    pub fn compressed(mut self) -> Self {
        self.compressed = true;
        self
    }

    /// Returns the payload as text, with invalid UTF-8 replaced.
    pub fn as_text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// Returns the code and reason of a close frame.
    pub fn as_close(&self) -> Option<(u16, String)> {
        if self.opcode != Opcode::Close {
            return None;
        }
        let Some((code, reason)) = self.payload.split_first_chunk() else { return Some((1005, String::new())) };
        Some((u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned()))
    }

    /// Returns the bytes of a client's frame, masked.
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = self.payload.len();
        let mut bytes = vec![u8::from(self.fin) << 7 | u8::from(self.compressed) << 6 | self.opcode as u8];
        match len {
            0..126 => bytes.push(0x80 | len as u8),
            126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&MASK);
        let start = bytes.len();
        bytes.extend_from_slice(&self.payload);
        apply_mask(&mut bytes[start..], MASK, 0);
        bytes
    }

    /// Removes a whole server frame from the front of `bytes`.
    ///
    /// # Panics
    ///
    /// If the frame is not a valid server frame: masked, with a reserved bit other than RSV1, or with an unknown
    /// opcode.
    #[track_caller]
    pub fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        assert_eq!(second & 0x80, 0, "a server's frame is masked");
        assert_eq!(first & 0x30, 0, "a reserved bit is set");
        let (start, len) = match second {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
            short => (2, usize::from(short)),
        };
        let payload = bytes.get(start..start + len)?.to_vec();
        bytes.drain(..start + len);
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            other => panic!("a server's frame has the opcode {other}"),
        };
        Some(Self { fin: first & 0x80 != 0, compressed: first & 0x40 != 0, opcode, payload })
    }
}

/// An arbitrary key, constant so that transcripts are readable.
const MASK: [u8; 4] = [0x0a, 0x0b, 0x0c, 0x0d];
