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
    /// [`Config::feeds`](crate::Config::feeds), `UNIMPLEMENTED` on a node with a broker.
    Refused(Error),
    /// The entry may be in the log or not: `DEADLINE_EXCEEDED`. Only between nodes.
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
