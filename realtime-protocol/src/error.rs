use crate::{close::CloseCode, whole::Whole};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

/// The result of a handler's method.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// An error that is sent to the peer: a [`Code`], a message and optional details.
///
/// `?` converts any other error to [`Code::INTERNAL`], whose cause is logged by the server and never sent. That
/// conversion is why this type does not implement [`std::error::Error`]; `?` also makes a `Box<dyn std::error::Error>` of
/// it. What is no error itself, such as an `anyhow::Error`, is converted by `map_err(Error::internal)`.
///
/// # Examples
///
/// ```
/// use realtime_core::{Code, Error};
///
/// let error = Error::not_found("no such room").with_details(serde_json::json!({ "room": "lobby" }));
/// assert_eq!(error.code(), &Code::NOT_FOUND);
///
/// fn parse(text: &str) -> Result<u16, Error> {
///     Ok(text.parse::<u16>()?)
/// }
/// let error = parse("x").unwrap_err();
/// assert_eq!((error.code(), error.message()), (&Code::INTERNAL, "internal error"));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    code: Code,
    message: Cow<'static, str>,
    details: Option<serde_json::Value>,
    retryable: bool,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error with one of the constants of [`Code`] or an application-defined code.
    pub fn new(code: impl Into<Code>, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code: code.into(),
            message: message.into(),
            details: None,
            retryable: false,
            retry_after: None,
            source: None,
        }))
    }

    /// Creates an `UNAUTHENTICATED` error (HTTP 401): the caller has not proved who it is.
    pub fn unauthenticated() -> Self {
        Self::new(Code::UNAUTHENTICATED, "authentication required")
    }

    /// Creates a `PERMISSION_DENIED` error (HTTP 403): the caller is known, but not allowed to do this.
    pub fn permission_denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::PERMISSION_DENIED, message)
    }

    /// Creates an `INVALID_ARGUMENT` error (HTTP 400): the request itself is wrong.
    pub fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::INVALID_ARGUMENT, message)
    }

    /// Creates a `FAILED_PRECONDITION` error (HTTP 412): the request is valid, but not in the current state.
    pub fn failed_precondition(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::FAILED_PRECONDITION, message)
    }

    /// Creates a `NOT_FOUND` error (HTTP 404).
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NOT_FOUND, message)
    }

    /// Creates a retryable `RESOURCE_EXHAUSTED` error (HTTP 429): a limit is reached.
    pub fn resource_exhausted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::RESOURCE_EXHAUSTED, message).with_retry()
    }

    /// Creates a retryable `UNAVAILABLE` error (HTTP 503): the service cannot be reached at the moment.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::UNAVAILABLE, message).with_retry()
    }

    /// Creates an `INTERNAL` error (HTTP 500). The cause is logged; the client receives the message "internal error".
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut error = Self::new(Code::INTERNAL, "internal error");
        error.0.source = Some(cause.into());
        error
    }

    /// Adds machine-readable details.
    #[must_use = "the error with its details is returned"]
    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.0.details = Some(details);
        self
    }

    /// Marks the error as retryable: the same request may succeed later.
    #[must_use = "the changed error is returned"]
    pub fn with_retry(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// Marks the error as [retryable](Self::with_retry), and sets how long to wait before the next attempt.
    #[must_use = "the changed error is returned"]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self.with_retry()
    }

    /// Adds the cause, which is logged and never sent.
    #[must_use = "the error with its cause is returned"]
    pub fn with_source(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(cause.into());
        self
    }

    /// Returns a copy without the [source](Self::source), which cannot be cloned.
    #[must_use = "the copy is returned"]
    pub fn without_source(&self) -> Self {
        Self(Box::new(Inner {
            code: self.0.code.clone(),
            message: self.0.message.clone(),
            details: self.0.details.clone(),
            retryable: self.0.retryable,
            retry_after: self.0.retry_after,
            source: None,
        }))
    }

    /// Returns the code.
    pub fn code(&self) -> &Code {
        &self.0.code
    }

    /// Returns the message, which is sent to the peer.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the machine-readable details, if there are any.
    pub fn details(&self) -> Option<&serde_json::Value> {
        self.0.details.as_ref()
    }

    /// Returns true if the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Returns how long to wait before the next attempt, if the error says so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the cause, which is logged and never sent.
    pub fn source(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        let mut cause: Option<&dyn StdError> = self.0.source.as_deref().map(|source| source as &dyn StdError);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self::internal(error)
    }
}

/// The wire form: `{"code":…,"message":…,"details":…,"retryable":…,"retryAfterMs":…}`.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", self.0.code.as_str())?;
        map.serialize_entry("message", self.message())?;
        if let Some(details) = &self.0.details {
            map.serialize_entry("details", details)?;
        }
        if self.0.retryable {
            map.serialize_entry("retryable", &true)?;
        }
        if let Some(after) = self.0.retry_after {
            map.serialize_entry("retryAfterMs", &(after.as_millis() as u64))?;
        }
        map.end()
    }
}

/// Reads the wire form. A code that is longer than 64 bytes, or has other characters than capitals, digits and
/// underscores, becomes `INTERNAL`.
impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let word = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let valid = (1..=64).contains(&wire.code.len()) && wire.code.bytes().all(word);
        let code = if valid { Code::from(wire.code) } else { Code::INTERNAL };
        let mut error = Self::new(code, wire.message.unwrap_or_default());
        error.0.details = wire.details;
        error.0.retryable = wire.retryable.unwrap_or_default();
        error.0.retry_after = wire.retry_after_ms.map(|Whole(millis)| Duration::from_millis(millis));
        Ok(error)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    code: String,
    message: Option<String>,
    details: Option<serde_json::Value>,
    retryable: Option<bool>,
    retry_after_ms: Option<Whole>,
}

/// The kind of an [`Error`]: one of the constants, or an application-defined word in capitals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code(Cow<'static, str>);

impl Code {
    /// The caller has not proved who it is.
    pub const UNAUTHENTICATED: Self = Self::new("UNAUTHENTICATED");
    /// The caller is not allowed to do this.
    pub const PERMISSION_DENIED: Self = Self::new("PERMISSION_DENIED");
    /// The request itself is wrong.
    pub const INVALID_ARGUMENT: Self = Self::new("INVALID_ARGUMENT");
    /// The request is valid, but not in the current state.
    pub const FAILED_PRECONDITION: Self = Self::new("FAILED_PRECONDITION");
    /// Nothing is found under this name or id.
    pub const NOT_FOUND: Self = Self::new("NOT_FOUND");
    /// The thing to be created exists already.
    pub const ALREADY_EXISTS: Self = Self::new("ALREADY_EXISTS");
    /// The operation was aborted, for example by a conflict.
    pub const ABORTED: Self = Self::new("ABORTED");
    /// The caller cancelled.
    pub const CANCELLED: Self = Self::new("CANCELLED");
    /// The deadline has passed.
    pub const DEADLINE_EXCEEDED: Self = Self::new("DEADLINE_EXCEEDED");
    /// A limit is reached.
    pub const RESOURCE_EXHAUSTED: Self = Self::new("RESOURCE_EXHAUSTED");
    /// The service cannot be reached at the moment.
    pub const UNAVAILABLE: Self = Self::new("UNAVAILABLE");
    /// The operation is not implemented.
    pub const UNIMPLEMENTED: Self = Self::new("UNIMPLEMENTED");
    /// The server failed; the cause is in its log.
    pub const INTERNAL: Self = Self::new("INTERNAL");
    /// The message is not a valid frame of the protocol.
    pub const PARSE_ERROR: Self = Self::new("PARSE_ERROR");
    /// The kind of message, text or binary, is not accepted here.
    pub const UNSUPPORTED_DATA: Self = Self::new("UNSUPPORTED_DATA");
    /// The id belongs to a call or subscription that has not ended.
    pub const DUPLICATE_ID: Self = Self::new("DUPLICATE_ID");
    /// The procedure cannot be called with this HTTP method.
    pub const METHOD_MISMATCH: Self = Self::new("METHOD_MISMATCH");

    /// Creates an application-defined code.
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// Returns the code as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the HTTP status for this code; 500 for application-defined codes.
    pub fn http_status(&self) -> http::StatusCode {
        self.row().1
    }

    /// Returns the close code for a connection that this error ends; 1011 for application-defined codes.
    pub fn close_code(&self) -> CloseCode {
        self.row().2
    }

    fn row(&self) -> &'static Row {
        TABLE.iter().find(|row| row.0 == self.as_str()).unwrap_or(&TABLE[0])
    }
}

impl From<&'static str> for Code {
    fn from(code: &'static str) -> Self {
        Self::new(code)
    }
}

impl From<String> for Code {
    fn from(code: String) -> Self {
        Self(Cow::Owned(code))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Row = (&'static str, http::StatusCode, CloseCode);

/// Maps codes to HTTP statuses and close codes. The first row is for application-defined codes.
static TABLE: &[Row] = {
    use http::StatusCode as S;
    &[
        ("INTERNAL", S::INTERNAL_SERVER_ERROR, CloseCode::INTERNAL),
        ("UNAUTHENTICATED", S::UNAUTHORIZED, CloseCode::POLICY),
        ("PERMISSION_DENIED", S::FORBIDDEN, CloseCode::POLICY),
        ("INVALID_ARGUMENT", S::BAD_REQUEST, CloseCode::INVALID_PAYLOAD),
        ("FAILED_PRECONDITION", S::PRECONDITION_FAILED, CloseCode::POLICY),
        ("NOT_FOUND", S::NOT_FOUND, CloseCode::POLICY),
        ("ALREADY_EXISTS", S::CONFLICT, CloseCode::POLICY),
        ("ABORTED", S::CONFLICT, CloseCode::TRY_AGAIN_LATER),
        ("CANCELLED", CLIENT_CLOSED_REQUEST, CloseCode::NORMAL),
        ("DEADLINE_EXCEEDED", S::GATEWAY_TIMEOUT, CloseCode::TRY_AGAIN_LATER),
        ("RESOURCE_EXHAUSTED", S::TOO_MANY_REQUESTS, CloseCode::TRY_AGAIN_LATER),
        ("UNAVAILABLE", S::SERVICE_UNAVAILABLE, CloseCode::TRY_AGAIN_LATER),
        ("UNIMPLEMENTED", S::NOT_IMPLEMENTED, CloseCode::POLICY),
        ("PARSE_ERROR", S::BAD_REQUEST, CloseCode::INVALID_PAYLOAD),
        ("UNSUPPORTED_DATA", S::UNSUPPORTED_MEDIA_TYPE, CloseCode::UNSUPPORTED_DATA),
        ("DUPLICATE_ID", S::CONFLICT, CloseCode::POLICY),
        ("METHOD_MISMATCH", S::METHOD_NOT_ALLOWED, CloseCode::POLICY),
    ]
};

/// 499, as nginx and gRPC gateways use it.
const CLIENT_CLOSED_REQUEST: http::StatusCode = match http::StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => http::StatusCode::BAD_REQUEST,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_is_read_as_other_languages_write_it() {
        let read = |after: &str| {
            let json = format!(r#"{{"code":"A","message":null,"retryable":null,"retryAfterMs":{after}}}"#);
            serde_json::from_str::<Error>(&json).map(|error| error.retry_after())
        };
        for (after, expected) in
            [("null", None), ("100", Some(100)), ("100.0", Some(100)), ("1e2", Some(100)), ("0.0", Some(0))]
        {
            assert_eq!(read(after).unwrap(), expected.map(Duration::from_millis), "{after}");
        }
        for wrong in ["0.5", "-0.0", "-1", "-1.0", "9007199254740992.0", "\"100\""] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("expected an integer from 0 to 18446744073709551615"), "{error}");
        }
    }
}
