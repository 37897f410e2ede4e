use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError, http::StatusCode};
use realtime_core::{Error, raw::error_response};
use std::fmt;

/// An [`Error`] as the answer of a route of the application: with the status and body that a call by HTTP gets. `?` makes one of
/// each error that an `Error` is made of; the text of a foreign one is logged and not sent.
///
/// # Examples
///
/// ```
/// use actix_web::{App, web};
/// use adapter_actix::HttpError;
/// use realtime_core::{Error, Result};
///
/// async fn name(id: web::Path<String>) -> Result<String, HttpError> {
///     let id: u64 = id.parse()?; // 500, "internal error"
///     Ok(find(id)?) // 404
/// }
///
/// fn find(id: u64) -> Result<String> {
///     Err(Error::not_found(format!("nobody has the number {id}")))
/// }
///
/// let app = App::new().route("/names/{id}", web::get().to(name));
/// ```
#[derive(Debug)]
pub struct HttpError(pub Error);

impl<E: Into<Error>> From<E> for HttpError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        let status = self.0.code().http_status().as_u16();
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let (head, body) = error_response(&self.0).into_parts();
        builder_of(&head).body(body)
    }
}

/// Converts a response head: actix-web uses another version of the `http` crate.
pub(crate) fn builder_of(head: &http::response::Parts) -> HttpResponseBuilder {
    let status = StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    for (name, value) in &head.headers {
        builder.append_header((name.as_str(), value.as_bytes()));
    }
    builder
}
