use realtime_core::{Error, Result};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The failure of a request.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) outcome: Outcome,
    /// The code of the server's error, or a word for what happened: the same for the same reason.
    pub(crate) kind: String,
    /// What happened, and at which server: for operators, not for clients.
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server does not know the script: nothing was done.
    NoScript,
    /// The server is not the right one, or not for now: nothing was done.
    Elsewhere,
    /// The server refused it: nothing was done.
    Refused,
    /// The server refused it for want of memory: nothing was done.
    OutOfMemory,
    /// No node has written the stored value: nothing was done.
    Foreign,
    /// It is larger than the server takes, and was not sent.
    TooLarge,
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
        let kind = error.code().unwrap_or("lost").to_owned();
        Self { outcome: outcome(error), kind, text: format!("Redis at {server}: {}", describe(error)) }
    }

    pub(crate) fn absent(text: String) -> Self {
        Self { outcome: Outcome::Absent, kind: "absent".to_owned(), text }
    }

    pub(crate) fn too_large(bytes: usize, most: usize) -> Self {
        let text = format!("{bytes} bytes in one message, of {most} that the broker takes");
        Self { outcome: Outcome::TooLarge, kind: "large".to_owned(), text }
    }

    /// Returns true if what was asked for may have been done.
    pub(crate) fn is_unsure(&self) -> bool {
        matches!(self.outcome, Outcome::Failed | Outcome::Lost)
    }

    /// Returns the error as operators see it, who connect to servers.
    pub(crate) fn told(self) -> Error {
        Error::unavailable(self.text)
    }
}

/// Returns the error of an application's request, which may be sent to its client: the server is named only in the cause.
impl From<Trouble> for Error {
    fn from(Trouble { outcome, text, .. }: Trouble) -> Self {
        match outcome {
            Outcome::Absent => Self::unavailable("the broker cannot be reached").with_source(text),
            Outcome::Lost => Self::unavailable("the broker did not answer").with_source(text),
            Outcome::NoScript | Outcome::Elsewhere => {
                Self::unavailable("the broker is not ready").with_source(text)
            }
            Outcome::OutOfMemory => Self::resource_exhausted("the broker is out of memory").with_source(text),
            Outcome::Refused => Self::unavailable("the broker refused the request").with_source(text),
            Outcome::Foreign => {
                Self::failed_precondition("the broker has something of another program there").with_source(text)
            }
            Outcome::TooLarge => Self::invalid_argument(text),
            Outcome::Failed => Self::internal(text),
        }
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
            _ if is(error, "OOM") => Outcome::OutOfMemory,
            _ if is_foreign(error) => Outcome::Foreign,
            _ if REFUSALS.iter().any(|code| is(error, code)) => Outcome::Refused,
            _ => Outcome::Failed,
        },
        ErrorKind::Extension if is(error, "OOM") => Outcome::OutOfMemory,
        ErrorKind::Extension if is_foreign(error) => Outcome::Foreign,
        ErrorKind::Extension if REFUSALS.iter().any(|code| is(error, code)) => Outcome::Refused,
        ErrorKind::Extension | ErrorKind::UnexpectedReturnType => Outcome::Failed,
        _ => Outcome::Lost,
    }
}

/// Errors after which nothing was written: too few replicas, a disk that is full, a script of another
/// that runs for too long.
const REFUSALS: [&str; 4] = ["NOREPLICAS", "MISCONF", "BUSY", "NOAUTH"];

/// Returns true if a key holds what no node has written there: the first command that uses it in a script fails.
fn is_foreign(error: &RedisError) -> bool {
    let is_ahead = || error.detail().is_some_and(|detail| detail.contains("The ID specified in XADD"));
    ["WRONGTYPE", "NOTALOG"].iter().any(|code| is(error, code)) || is_ahead()
}

fn is(error: &RedisError, code: &str) -> bool {
    let wrapped = || error.detail().is_some_and(|detail| detail.contains(&format!("-{code} ")));
    error.code() == Some(code) || wrapped()
}

fn describe(error: &RedisError) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    if let Some((_, first)) = error.clone().into_server_errors().as_deref().and_then(<[_]>::first) {
        return format!("{} {}", first.code(), first.details().unwrap_or_default());
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}
