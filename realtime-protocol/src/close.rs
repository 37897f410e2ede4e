use crate::text::clip;
use std::fmt;

/// Why and how a connection ended; given to `on_close`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The code of the close frame that ended the session, or [`CloseCode::NO_STATUS`] or
    /// [`CloseCode::ABNORMAL`] where there was none.
    pub code: CloseCode,
    /// The reason beside the code; at most 123 bytes.
    pub reason: String,
    /// Which side began.
    pub initiator: Initiator,
}

/// The side that began to close.
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

    /// The connection was lost: no close frame arrived.
    #[doc(hidden)]
    pub fn lost() -> Self {
        Self::by_peer(CloseCode::ABNORMAL, "connection lost")
    }

    /// Whether the peer said goodbye with a normal code (1000, 1001 or none).
    pub fn is_normal(&self) -> bool {
        matches!(self.code, CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS)
    }
}

/// A close code that may stand in a close frame (RFC 6455, section 7.4, and the IANA registry).
///
/// Two values never travel: [`NO_STATUS`](Self::NO_STATUS) stands for a close frame without a
/// code, [`ABNORMAL`](Self::ABNORMAL) for a connection that ended without a close frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server is going away, or the peer was silent too long; reconnect with jitter.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke RFC 6455.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that the handler does not take.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: a close frame without a code. Never sent as a code.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: no close frame at all. Never sent as a code.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: text that is not UTF-8, or a payload that is not what its kind says.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: against the rules: expired credentials, a flood, a refused request.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message over the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: the handler failed.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts.
    pub const RESTART: Self = Self(1012);
    /// 1013: a slow consumer or an overloaded server; reconnect and resume.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// A code that may stand in a close frame: 1000–1003, 1007–1014, 3000–4999.
    ///
    /// Applications use 4000–4999. Gives `None` for all others, the reserved ones included.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The payload of the close frame that says this code and reason.
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

/// Room for a reason in a control frame: 125 bytes less the code.
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
