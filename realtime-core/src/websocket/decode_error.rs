use realtime_protocol::CloseCode;
use std::fmt;

/// A violation of the protocol or of a limit by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A reserved bit is set for which no extension was negotiated.
    ReservedBits,
    /// An opcode that RFC 6455 does not define.
    ReservedOpcode,
    /// A control frame without the FIN bit.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A length not encoded in its shortest form.
    LongLength,
    /// A client frame that is not masked.
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
    /// A message of more than [`Limits::message_bytes`](super::Limits::message_bytes).
    TooBig,
    /// A message of more than [`Limits::frames`](super::Limits::frames).
    TooManyFrames,
}

impl DecodeError {
    /// Returns the code to close the connection with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::BadUtf8 | Self::BadDeflate => CloseCode::INVALID_PAYLOAD,
            Self::TooBig | Self::TooManyFrames => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// Returns a description for the close frame's reason.
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
