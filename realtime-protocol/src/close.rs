use crate::text::clip;
use std::fmt;

/// The end of a connection: code, reason and initiator. It is passed to `on_close`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The code of the close frame; [`CloseCode::NO_STATUS`] if the frame had none, [`CloseCode::ABNORMAL`] if there
    /// was no close frame.
    pub code: CloseCode,
    /// The reason in the close frame; at most 123 bytes.
    pub reason: String,
    /// The side that closed first.
    pub initiator: Initiator,
}

/// The side that closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// The client closed, or its connection was lost.
    Peer,
    /// This server closed.
    Server,
}

impl Close {
    #[doc(hidden)]
    pub fn by_server(code: CloseCode, reason: &str) -> Self {
        Self { code, reason: clip(reason, REASON_BYTES).to_owned(), initiator: Initiator::Server }
    }

    #[doc(hidden)]
    pub fn by_peer(code: CloseCode, reason: &str) -> Self {
        Self { code, reason: reason.to_owned(), initiator: Initiator::Peer }
    }

    /// Creates the close of a lost connection, from which no close frame arrived.
    #[doc(hidden)]
    pub fn lost() -> Self {
        Self::by_peer(CloseCode::ABNORMAL, "connection lost")
    }

    /// Returns true for a normal end: 1000, 1001, or a close frame without a code.
    pub fn is_normal(&self) -> bool {
        matches!(self.code, CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS)
    }
}

/// A close code that may stand in a close frame (RFC 6455, section 7.4, and the IANA registry).
///
/// Two values are never sent: [`NO_STATUS`](Self::NO_STATUS) stands for a close frame without a code,
/// [`ABNORMAL`](Self::ABNORMAL) for a connection that ended without a close frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: a normal end.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server is going away, or the peer was silent too long; reconnect with jitter.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer violated RFC 6455.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of message, text or binary, that the handler does not accept.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: a close frame without a code. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: a connection that ended without a close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: text that is not UTF-8, or a payload that cannot be read.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy violation: expired credentials, a flood, a refused request.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message over the size limit.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: the handler failed.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service is restarting.
    pub const RESTART: Self = Self(1012);
    /// 1013: a slow consumer or an overloaded server; reconnect and resume.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// The credentials have ended or were refused: come back with fresh ones. Registered with IANA.
    pub const UNAUTHORIZED: Self = Self(3000);

    /// Creates a code that may be sent in a close frame: 1000–1003, 1007–1014 or 3000–4999. Returns `None` for all
    /// others.
    ///
    /// Applications use 4000–4999.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the payload of a close frame with this code and reason.
    #[doc(hidden)]
    pub fn payload(self, reason: &str) -> Vec<u8> {
        if self == Self::NO_STATUS {
            return Vec::new();
        }
        let mut payload = self.0.to_be_bytes().to_vec();
        payload.extend_from_slice(clip(reason, REASON_BYTES).as_bytes());
        payload
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The room for a reason in a control frame: 125 bytes minus 2 for the code.
const REASON_BYTES: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_unassigned_codes_are_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
            assert_eq!(CloseCode::new(code), None, "{code}");
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4000, 4999] {
            assert_eq!(CloseCode::new(code).map(CloseCode::get), Some(code));
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let payload = CloseCode::NORMAL.payload(&"é".repeat(100));
        assert_eq!(payload.len(), 2 + 122);
        assert!(std::str::from_utf8(&payload[2..]).is_ok());
    }
}
