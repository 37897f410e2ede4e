use crate::{config::Config, context::Context};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// Returns the CORS headers of a response; none if the page's origin is not allowed.
pub(crate) fn headers(config: &Config, context: &Context) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(cors) = &config.cors else { return headers };
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = context.header("origin") else { return headers };
    if !config.origins.allows(origin, context.header("host")) {
        return headers;
    }
    if let Ok(origin) = HeaderValue::from_str(origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        // Everything else that a client needs is in the body, but a response to HEAD has none.
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
        if cors.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
    headers
}

/// Answers a preflight request; the [`headers`] are added to it.
pub(crate) fn preflight(config: &Config, headers: &HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let allowed = headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let Some(cors) = config.cors.as_ref().filter(|_| allowed) else {
        *response.status_mut() = StatusCode::FORBIDDEN;
        return response;
    };
    *response.status_mut() = StatusCode::NO_CONTENT;
    let own = response.headers_mut();
    own.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    let own_headers: Vec<&str> = cors.headers.iter().map(String::as_str).collect();
    let names = [&KNOWN[..], &own_headers].concat().join(", ");
    if let Ok(names) = HeaderValue::try_from(names) {
        own.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    own.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs()));
    response
}

/// Request headers allowed by default. Event source libraries set `Cache-Control`.
const KNOWN: [&str; 5] = ["content-type", "authorization", "cache-control", "last-event-id", "idempotency-key"];
