use crate::upgrade::{Body, whole};
use http::Response;
use realtime_core::{Error, raw};

/// Returns the answer of a route of the application that has failed: with the status and body that a call by HTTP gets. The text
/// of a foreign error is logged and not sent.
///
/// # Examples
///
/// ```
/// use adapter_hyper::{Body, error_response};
/// use http::Response;
/// use realtime_core::{Error, Result};
///
/// fn answer(id: &str) -> Response<Body> {
///     find(id).unwrap_or_else(|error| error_response(error))
/// }
///
/// fn find(id: &str) -> Result<Response<Body>> {
///     let id: u64 = id.parse()?; // 500, "internal error"
///     Err(Error::not_found(format!("nobody has the number {id}"))) // 404
/// }
///
/// assert_eq!((answer("x").status(), answer("7").status()), (500.try_into().unwrap(), 404.try_into().unwrap()));
/// ```
pub fn error_response(error: impl Into<Error>) -> Response<Body> {
    raw::error_response(&error.into()).map(whole)
}
