use super::Origins;
use std::time::Duration;

/// Lets pages of other origins use what is answered by HTTP: calls and server-sent events
/// (<https://fetch.spec.whatwg.org/#http-cors-protocol>). Which origins is what [`Config::origins`](crate::Config::origins) says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cors {
    /// Whether such a page's request may carry cookies. Default no. Not with [`Origins::Any`]: then any page could act
    /// as the user.
    pub credentials: bool,

    /// Request headers that such a page may set, beside `Content-Type`, `Authorization`, `Cache-Control`, `Last-Event-ID`
    /// and `Idempotency-Key`. Default none.
    pub headers: Vec<String>,

    /// How long a browser may remember the answer to its preflight request. Default 10 minutes.
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
                "Cors::headers has {name:?}, which is no header's name"
            );
        }
    }
}
