use realtime_protocol::Error;
use std::fmt;

/// The reason why an entry was not appended to a feed, as far as that is known.
///
/// It converts into the [`Error`] in it, so that `?` answers a call with it.
#[derive(Debug)]
#[non_exhaustive]
pub enum AppendError {
    /// The entry is certainly not in the log. `INTERNAL` if it does not serialise, `INVALID_ARGUMENT` for a feed whose
    /// name is empty or over 256 bytes, `RESOURCE_EXHAUSTED` for an entry larger than an outbox or the log, or over
    /// [`Config::feeds`](crate::Config::feeds). With a broker also `UNIMPLEMENTED` if it keeps no logs, and `UNAVAILABLE`,
    /// to be retried, if it could not be reached within [`Config::append_timeout`](crate::Config::append_timeout) or too much
    /// waits for it; `INVALID_ARGUMENT` for an entry larger than it takes, `FAILED_PRECONDITION` if another program has written
    /// where the log is.
    Refused(Error),
    /// The entry may be in the log or not: `DEADLINE_EXCEEDED`, with the details `{"outcome":"unknown"}`. Only with a
    /// broker.
    Unknown(Error),
}

impl AppendError {
    /// Returns the error.
    pub fn error(&self) -> &Error {
        let (Self::Refused(error) | Self::Unknown(error)) = self;
        error
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        let (AppendError::Refused(error) | AppendError::Unknown(error)) = error;
        error
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "not appended: {error}"),
            Self::Unknown(error) => write!(f, "appended or not: {error}"),
        }
    }
}
