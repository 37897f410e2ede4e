use super::Origins;
use std::time::Duration;

/// Lets pages of other origins use calls and server-sent events (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
/// [`Config::origins`](crate::Config::origins) lists the origins. Such pages can read `Retry-After`; middleware may add
/// other names to `Access-Control-Expose-Headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cors {
    /// Allows requests of such a page to carry cookies, as its WebSockets always do. Default no; `client-ts` needs it.
    /// Refused with [`Origins::Any`]: any page could act as the user.
    pub credentials: bool,

    /// Request headers that such a page may set, in addition to `Content-Type`, `Authorization`, `Cache-Control`,
    /// `Last-Event-ID` and `Idempotency-Key`. Default none.
    pub headers: Vec<String>,

    /// Time for which a browser may cache the answer to its preflight request. Default 10 minutes.
    pub max_age: Duration,
}

impl Default for Cors {
    fn default() -> Self {
        Self { credentials: false, headers: Vec::new(), max_age: Duration::from_secs(600) }
    }
}

impl Cors {
    #[track_caller]
    pub(crate) fn check(&self, origins: &Origins) {
        assert!(
            !self.credentials || *origins != Origins::Any,
            "Cors::credentials with Origins::Any: any page could act as the user",
        );
        for name in &self.headers {
            assert!(
                http::HeaderName::try_from(name).is_ok(),
                "Cors::headers has {name:?}, which is not a header name"
            );
        }
    }
}
