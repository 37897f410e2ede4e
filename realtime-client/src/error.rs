use realtime_protocol::{Code, Error};
use std::fmt;

/// The result of a client's operation.
pub type Result<T = (), E = ClientError> = std::result::Result<T, E>;

/// The reason why a call, subscription or message failed: an error of the server, or one of the client in the same
/// form.
pub struct ClientError {
    kind: Kind,
    error: Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Remote,
    Local,
    Closed,
}

impl ClientError {
    /// Returns the error's code.
    pub fn code(&self) -> &Code {
        self.error.code()
    }

    /// Returns the text, which may come from the server.
    pub fn message(&self) -> &str {
        self.error.message()
    }

    /// Returns the underlying error, with its code and details.
    pub fn as_error(&self) -> &Error {
        &self.error
    }

    /// Returns the underlying error, with its code and details.
    pub fn into_error(self) -> Error {
        self.error
    }

    /// Returns true if the server sent the error.
    pub fn is_remote(&self) -> bool {
        self.kind == Kind::Remote
    }

    /// Returns true if the client is closed, so that no retry can succeed.
    pub fn is_closed(&self) -> bool {
        self.kind == Kind::Closed
    }

    /// Returns true if a timeout passed, on either side.
    pub fn is_timeout(&self) -> bool {
        *self.code() == Code::DEADLINE_EXCEEDED
    }

    /// Returns true if a retry may succeed.
    pub fn is_retryable(&self) -> bool {
        self.error.is_retryable()
    }

    pub(crate) fn remote(error: Error) -> Self {
        Self { kind: Kind::Remote, error }
    }

    pub(crate) fn local(error: Error) -> Self {
        Self { kind: Kind::Local, error }
    }

    pub(crate) fn closed(cause: impl fmt::Display) -> Self {
        let error = Error::new(Code::CANCELLED, format!("the client is closed: {cause}"));
        Self { kind: Kind::Closed, error }
    }

    pub(crate) fn timeout() -> Self {
        Self::local(Error::new(Code::DEADLINE_EXCEEDED, "there was no answer in time"))
    }

    pub(crate) fn lost() -> Self {
        Self::local(Error::unavailable("the connection was lost before there was an answer"))
    }

    pub(crate) fn offline() -> Self {
        Self::local(Error::unavailable("there is no connection, and no room to wait for one"))
    }

    pub(crate) fn full() -> Self {
        Self::local(Error::resource_exhausted("too much waits to be sent"))
    }

    pub(crate) fn too_large(bytes: usize, limit: u64) -> Self {
        let what = format!("a message of {bytes} bytes is more than the server takes, {limit}");
        Self::local(Error::invalid_argument(what))
    }

    /// An error for a value that does not have the type of its name.
    pub(crate) fn unreadable(what: &str, error: &Error) -> Self {
        let message = error.message();
        Self::local(Error::new(Code::PARSE_ERROR, format!("{what} is not of the expected type: {message}")))
    }

    /// Returns the error for a value that the client's format cannot represent.
    pub(crate) fn unwritable(what: &str, error: &str) -> Self {
        Self::local(Error::invalid_argument(format!("{what} cannot be written: {error}")))
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.kind, self.error)
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source().map(|source| source as _)
    }
}
