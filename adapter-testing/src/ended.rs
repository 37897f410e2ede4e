use realtime_core::Error;
use serde::{Deserialize, Deserializer};
use std::{fmt, time::Duration};

/// The end of a stream or connection, or an error, in place of what was awaited. All that a test waits for, be it messages,
/// frames, items or events, ends with one in an `Err`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The server sent an error; the session goes on.
    Error(ErrorFrame),
    /// The subscription is over, without an error.
    Complete,
    /// The server closed.
    Closed {
        /// The close code; 1005 if there was none.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// The connection or stream is gone, without a close frame or event that says why.
    Lost,
}

impl Ended {
    /// The error, if it is one.
    pub fn as_error(&self) -> Option<&ErrorFrame> {
        if let Self::Error(error) = self { Some(error) } else { None }
    }

    /// The code of the error; empty if it is none.
    pub fn code(&self) -> &str {
        self.as_error().map_or("", |error| &error.code)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Complete => f.write_str("the subscription is over"),
            Self::Closed { code, reason } => write!(f, "closed with {code}: {reason}"),
            Self::Lost => f.write_str("the connection is gone"),
        }
    }
}

impl std::error::Error for Ended {}

/// An error, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ErrorFrame {
    /// Returns the error's code.
    pub code: String,
    /// The text.
    pub message: String,
    /// Machine-readable details; null if there are none.
    #[serde(default)]
    pub details: serde_json::Value,
    /// Returns true if a retry may succeed.
    #[serde(default)]
    pub retryable: bool,
    /// When to try again, if it was said.
    #[serde(default, rename = "retryAfterMs", deserialize_with = "milliseconds")]
    pub retry_after: Option<Duration>,
}

impl fmt::Display for ErrorFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<Error> for ErrorFrame {
    fn from(error: Error) -> Self {
        Self {
            code: error.code().as_str().to_owned(),
            message: error.message().to_owned(),
            details: error.details().cloned().unwrap_or_default(),
            retryable: error.is_retryable(),
            retry_after: error.retry_after(),
        }
    }
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
}
