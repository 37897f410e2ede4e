use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use realtime_core::{Error, raw::error_response};

/// An [`Error`] as the answer of a route of the application: with the status and body that a call by HTTP gets. `?` makes one of
/// each error that an `Error` is made of; the text of a foreign one is logged and not sent.
///
/// # Examples
///
/// ```
/// use adapter_axum::HttpError;
/// use axum::{Router, extract::Path, routing::get};
/// use realtime_core::{Error, Result};
///
/// async fn name(Path(id): Path<String>) -> Result<String, HttpError> {
///     let id: u64 = id.parse()?; // 500, "internal error"
///     Ok(find(id)?) // 404
/// }
///
/// fn find(id: u64) -> Result<String> {
///     Err(Error::not_found(format!("nobody has the number {id}")))
/// }
///
/// let app: Router = Router::new().route("/names/{id}", get(name));
/// ```
#[derive(Debug)]
pub struct HttpError(pub Error);

impl<E: Into<Error>> From<E> for HttpError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        error_response(&self.0).map(Body::from)
    }
}
