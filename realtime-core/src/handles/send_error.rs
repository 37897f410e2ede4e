use realtime_protocol::{Code, Error};
use std::fmt;

/// Why a message was not queued; it is given back.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError<M> {
    /// As much waits for this client as may; [`AnyConnection::ready`](crate::AnyConnection::ready) waits for room.
    Full(M),
    /// The connection has ended or is closing.
    Closed(M),
    /// The message does not serialise.
    Invalid(M, Error),
}

impl<M> SendError<M> {
    /// The message that was not sent.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) | Self::Invalid(message, _) => message,
        }
    }

    /// Whether waiting for room would help.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the client's outbox is full"),
            Self::Closed(_) => f.write_str("the connection is closed"),
            Self::Invalid(_, error) => write!(f, "the message does not serialise: {error}"),
        }
    }
}

/// So that a handler may say `connection.send(message)?`.
impl<M> From<SendError<M>> for Error {
    fn from(error: SendError<M>) -> Self {
        match error {
            SendError::Full(_) => Self::resource_exhausted("the client's outbox is full"),
            SendError::Closed(_) => Self::new(Code::CANCELLED, "the connection is closed"),
            SendError::Invalid(_, error) => error,
        }
    }
}
