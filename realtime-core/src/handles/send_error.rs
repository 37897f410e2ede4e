use realtime_protocol::{Code, Error};
use std::fmt;

/// The reason why a message was not queued, with the message.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError<M> {
    /// The client's outbox is full; [`AnyConnection::ready`](crate::AnyConnection::ready) waits for room.
    Full(M),
    /// The connection has ended or is closing.
    Closed(M),
    /// The message does not serialise.
    Invalid(M, Error),
}

impl<M> SendError<M> {
    /// Returns the message that was not sent.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) | Self::Invalid(message, _) => message,
        }
    }

    /// Returns true if the outbox was full: waiting for room would help.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Returns true if the connection has ended or is closing.
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

/// Allows `connection.send(message)?` in a handler.
impl<M> From<SendError<M>> for Error {
    fn from(error: SendError<M>) -> Self {
        match error {
            SendError::Full(_) => Self::resource_exhausted("the client's outbox is full"),
            SendError::Closed(_) => Self::new(Code::CANCELLED, "the connection is closed"),
            SendError::Invalid(_, error) => error,
        }
    }
}
