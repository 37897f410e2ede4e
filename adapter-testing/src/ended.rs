use realtime_core::Error;
use serde::{Deserialize, Deserializer};
use std::{fmt, time::Duration};

/// The end of a stream or connection, or an error, in place of an awaited value. All waits of a test for messages,
/// frames, items or events end with it in an `Err`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The server sent an error; the session goes on.
    Error(ErrorFrame),
    /// The subscription completed without an error.
    Complete,
    /// The server closed.
    Closed {
        /// The close code; 1005 if there was none.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// The connection or stream ended without a close frame or a final event.
    Lost,
}

impl Ended {
    /// Returns the error, if it is one.
    pub fn as_error(&self) -> Option<&ErrorFrame> {
        if let Self::Error(error) = self { Some(error) } else { None }
    }

    /// Returns the code of the error, or an empty text.
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

/// An error as received by a client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ErrorFrame {
    /// The error's code.
    pub code: String,
    /// The message.
    pub message: String,
    /// Machine-readable details; null if there are none.
    #[serde(default)]
    pub details: serde_json::Value,
    /// True if a retry may succeed.
    #[serde(default)]
    pub retryable: bool,
    /// The time to wait before a retry, if any.
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
