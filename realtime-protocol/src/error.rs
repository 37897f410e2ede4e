use crate::{close::CloseCode, whole::Whole};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

/// The result of a handler's method.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// An error as the client is sent it: a [`Code`], a message and details.
///
/// Any other error becomes [`Code::INTERNAL`] by `?`: its text is logged by the server and never
/// sent. For that reason this type does not itself implement [`std::error::Error`].
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
    /// An error with a code of the application's own, or one of [`Code`]'s.
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

    /// The caller is not known: 401.
    pub fn unauthenticated() -> Self {
        Self::new(Code::UNAUTHENTICATED, "authentication required")
    }

    /// The caller is known and may not: 403.
    pub fn permission_denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::PERMISSION_DENIED, message)
    }

    /// The request itself is wrong: 400.
    pub fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::INVALID_ARGUMENT, message)
    }

    /// The request is right, and not possible in the present state: 412.
    pub fn failed_precondition(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::FAILED_PRECONDITION, message)
    }

    /// There is no such thing: 404.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NOT_FOUND, message)
    }

    /// A limit is reached: 429. Retryable.
    pub fn resource_exhausted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::RESOURCE_EXHAUSTED, message).with_retry()
    }

    /// The service cannot be reached now: 503. Retryable.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::UNAVAILABLE, message).with_retry()
    }

    /// Our own fault: 500. The cause is logged, and the client is told "internal error".
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

    /// Marks the error as one that may pass: the same request may succeed later.
    #[must_use = "the changed error is returned"]
    pub fn with_retry(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// Adds the time after which to try again, and [marks](Self::with_retry) the error.
    #[must_use = "the changed error is returned"]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self.with_retry()
    }

    /// Adds the cause, which goes to the log and not to the client.
    #[must_use = "the error with its cause is returned"]
    pub fn with_source(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(cause.into());
        self
    }

    /// Returns the same error without its [source](Self::source), which cannot be copied.
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

    /// The kind of error.
    pub fn code(&self) -> &Code {
        &self.0.code
    }

    /// The text that the client is sent.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The machine-readable details, if there are any.
    pub fn details(&self) -> Option<&serde_json::Value> {
        self.0.details.as_ref()
    }

    /// Returns true if the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The time after which to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The cause, which only the log sees.
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

/// From the wire form; a code that is no word of capitals, digits and underscores, or is longer than 64 bytes, becomes
/// `INTERNAL`.
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

/// An error's kind: one of the constants, or the application's own word in capitals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code(Cow<'static, str>);

impl Code {
    /// The caller is not known.
    pub const UNAUTHENTICATED: Self = Self::new("UNAUTHENTICATED");
    /// The caller may not.
    pub const PERMISSION_DENIED: Self = Self::new("PERMISSION_DENIED");
    /// The request is wrong.
    pub const INVALID_ARGUMENT: Self = Self::new("INVALID_ARGUMENT");
    /// Not possible in the present state.
    pub const FAILED_PRECONDITION: Self = Self::new("FAILED_PRECONDITION");
    /// There is no such thing.
    pub const NOT_FOUND: Self = Self::new("NOT_FOUND");
    /// It exists already.
    pub const ALREADY_EXISTS: Self = Self::new("ALREADY_EXISTS");
    /// A conflict stopped it.
    pub const ABORTED: Self = Self::new("ABORTED");
    /// The caller gave up.
    pub const CANCELLED: Self = Self::new("CANCELLED");
    /// Too late.
    pub const DEADLINE_EXCEEDED: Self = Self::new("DEADLINE_EXCEEDED");
    /// A limit is reached.
    pub const RESOURCE_EXHAUSTED: Self = Self::new("RESOURCE_EXHAUSTED");
    /// Cannot be reached now.
    pub const UNAVAILABLE: Self = Self::new("UNAVAILABLE");
    /// Not built.
    pub const UNIMPLEMENTED: Self = Self::new("UNIMPLEMENTED");
    /// Our own fault.
    pub const INTERNAL: Self = Self::new("INTERNAL");
    /// Not a frame of the protocol.
    pub const PARSE_ERROR: Self = Self::new("PARSE_ERROR");
    /// A kind of data, text or binary, that is not taken here.
    pub const UNSUPPORTED_DATA: Self = Self::new("UNSUPPORTED_DATA");
    /// The id is in use.
    pub const DUPLICATE_ID: Self = Self::new("DUPLICATE_ID");
    /// The procedure cannot be called by this method.
    pub const METHOD_MISMATCH: Self = Self::new("METHOD_MISMATCH");

    /// A code of the application's own.
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// The word that goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The HTTP status of a refusal with this code; 500 for the application's own.
    pub fn http_status(&self) -> http::StatusCode {
        self.row().1
    }

    /// The code to close a connection with that cannot go on after this error.
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

/// The one table from codes to HTTP statuses and close codes.
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
