use std::time::Duration;

/// An HTTP status with which the server, or a proxy in front of it, refused a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The delay that the server asks for, if any.
    pub retry_after: Option<Duration>,
    /// True if this client has been connected before. The URL is then right, and a load balancer may be refusing while
    /// its servers are replaced.
    pub was_connected: bool,
    /// True if the next request may have other credentials.
    pub(crate) fetches_credentials: bool,
}

impl Refusal {
    /// Returns true if another attempt may succeed, which is the default policy.
    ///
    /// - Any refusal with a delay is temporary.
    /// - 401 and 403 are, if the token or a header is fetched for each attempt.
    /// - 408, 425, 429 and everything but 3xx and 4xx are.
    /// - All others are once the client has been connected.
    pub fn is_temporary(&self) -> bool {
        if self.retry_after.is_some() {
            return true;
        }
        match self.status {
            401 | 403 => self.fetches_credentials,
            408 | 425 | 429 => true,
            300..500 => self.was_connected,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16) -> Refusal {
        Refusal { status, retry_after: None, was_connected: false, fetches_credentials: false }
    }

    #[test]
    fn refusals_that_blame_the_request_are_final_at_first() {
        for status in [301, 400, 401, 403, 404, 426] {
            assert!(!refusal(status).is_temporary(), "{status}");
            assert!(Refusal { retry_after: Some(Duration::ZERO), ..refusal(status) }.is_temporary(), "{status}");
        }
        for status in [200, 408, 425, 429, 500, 502, 503] {
            assert!(refusal(status).is_temporary(), "{status}");
        }
    }

    #[test]
    fn after_a_connection_only_credentials_that_stay_the_same_are_final() {
        for status in [200, 301, 400, 404, 405, 410, 426, 500, 502, 503] {
            assert!(Refusal { was_connected: true, ..refusal(status) }.is_temporary(), "{status}");
        }
        for status in [401, 403] {
            assert!(!Refusal { was_connected: true, ..refusal(status) }.is_temporary(), "{status}");
            assert!(Refusal { fetches_credentials: true, ..refusal(status) }.is_temporary(), "{status}");
        }
    }
}
