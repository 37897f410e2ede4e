use realtime_core::{Error, Result};
use realtime_protocol::Code;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The outcome of a request that failed.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) outcome: Outcome,
    /// The code of the server's error, or a word for what happened: the same for the same reason.
    pub(crate) kind: String,
    pub(crate) error: Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server does not know the script: nothing was done.
    NoScript,
    /// The server is not the right one, or not for now: nothing was done.
    Elsewhere,
    /// The server refused it: nothing was done.
    Refused,
    /// The server said an error that does not tell what was done.
    Failed,
    /// The connection is of no more use, and what was sent over it may have been done or not.
    Lost,
    /// There was no server to send it to.
    Absent,
}

impl Trouble {
    /// Reads the error of a server.
    pub(crate) fn of(error: &RedisError, server: &str) -> Self {
        let outcome = outcome(error);
        let kind = error.code().unwrap_or("lost").to_owned();
        let text = format!("Redis at {server}: {}", describe(error));
        let error = match outcome {
            Outcome::Refused if is(error, "OOM") => Error::new(Code::RESOURCE_EXHAUSTED, text).with_retry(),
            Outcome::Refused | Outcome::NoScript | Outcome::Elsewhere => Error::unavailable(text),
            Outcome::Absent | Outcome::Lost => Error::unavailable(text),
            Outcome::Failed => Error::internal(text),
        };
        Self { outcome, kind, error }
    }

    pub(crate) fn absent(error: Error) -> Self {
        Self { outcome: Outcome::Absent, kind: "absent".to_owned(), error }
    }

    /// Returns true if what was asked for may have been done.
    pub(crate) fn is_unsure(&self) -> bool {
        matches!(self.outcome, Outcome::Failed | Outcome::Lost)
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        trouble.error
    }
}

/// Returns the reply of a server, or what is wrong with it.
pub(crate) fn read<T>(reply: redis::RedisResult<T>, server: &str) -> Result<T, Trouble> {
    reply.map_err(|error| Trouble::of(&error, server))
}

fn outcome(error: &RedisError) -> Outcome {
    match error.kind() {
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::NoScript => Outcome::NoScript,
            ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ReadOnly => Outcome::Elsewhere,
            // Redis 6 wraps the error of a command in a script in one of its own.
            _ if is(error, "READONLY") => Outcome::Elsewhere,
            _ if REFUSALS.iter().any(|code| is(error, code)) => Outcome::Refused,
            _ => Outcome::Failed,
        },
        ErrorKind::Extension if REFUSALS.iter().any(|code| is(error, code)) => Outcome::Refused,
        ErrorKind::Extension | ErrorKind::UnexpectedReturnType => Outcome::Failed,
        _ => Outcome::Lost,
    }
}

/// Errors after which nothing was written: out of memory, too few replicas, a disk that is full, a script of another
/// that runs for too long.
const REFUSALS: [&str; 5] = ["OOM", "NOREPLICAS", "MISCONF", "BUSY", "NOAUTH"];

fn is(error: &RedisError, code: &str) -> bool {
    let wrapped = || error.detail().is_some_and(|detail| detail.contains(&format!("-{code} ")));
    error.code() == Some(code) || wrapped()
}

fn describe(error: &RedisError) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}
