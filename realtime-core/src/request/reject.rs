use super::headers::{closing, merge};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use realtime_protocol::{Code, Error};
use serde::Serialize;
use std::borrow::Cow;

/// A refusal before the upgrade: an HTTP status, headers and a JSON body.
///
/// # Examples
///
/// ```
/// use realtime_core::{Context, Reject, Error};
/// # fn limited() -> Reject {
/// Reject::from(Error::resource_exhausted("too many logins").with_retry_after(std::time::Duration::from_secs(3)))
/// # }
/// assert_eq!(limited().status(), 429);
/// ```
#[derive(Debug)]
pub struct Reject {
    status: StatusCode,
    headers: HeaderMap,
    error: Error,
}

impl Reject {
    /// Creates a refusal with the given status.
    pub fn new(status: StatusCode, error: Error) -> Self {
        Self { status, headers: HeaderMap::new(), error }
    }

    /// Creates a refusal with status 401.
    pub fn unauthorized() -> Self {
        Error::unauthenticated().into()
    }

    /// Creates a refusal with status 403.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Error::permission_denied(message).into()
    }

    /// Creates a refusal with status 400.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Error::invalid_argument(message).into()
    }

    /// Adds a header to the response.
    #[must_use = "the refusal with the header is returned"]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Returns the response's status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the error in the response's body.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Closes an HTTP/1 connection after the response: the bytes behind the request may be frames of a client or proxy
    /// that did not wait for the answer, and not a request.
    pub(crate) fn closing(mut self) -> Self {
        merge(&mut self.headers, closing());
        self
    }

    /// Adds the headers of the response that was refused; the refusal's own take precedence.
    pub(crate) fn behind(mut self, mut headers: HeaderMap) -> Self {
        merge(&mut headers, self.headers);
        self.headers = headers;
        self
    }

    pub(crate) fn into_parts(self) -> (HeaderMap, Error) {
        (self.headers, self.error)
    }

    /// Returns the response: `{"ok":false,"error":…}` with the headers, `Retry-After` if known, and `no-store`.
    pub fn into_response(self) -> Response<Bytes> {
        let body = Body { ok: false, error: &self.error };
        let mut response = Response::new(Bytes::from(serde_json::to_vec(&body).unwrap_or_default()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.error.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1000) as u64));
        }
        merge(headers, self.headers);
        response
    }
}

/// Answers a route of the application with an error, as a call by HTTP is answered: with the status of its code, and
/// `{"ok":false,"error":…}`. The cause of an `INTERNAL` is logged.
pub fn error_response(error: &Error) -> Response<Bytes> {
    if error.code() == &Code::INTERNAL {
        tracing::error!(?error, "a route failed");
    }
    Reject::from(error.without_source()).into_response()
}

#[derive(Serialize)]
struct Body<'a> {
    ok: bool,
    error: &'a Error,
}

/// Uses the HTTP status of the error's code.
impl From<Error> for Reject {
    fn from(error: Error) -> Self {
        Self::new(error.code().http_status(), error)
    }
}
