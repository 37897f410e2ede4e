use std::time::Duration;

/// An HTTP status with which the server, or a proxy before it, answered the request for a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// When the server says to try again, if it does.
    pub retry_after: Option<Duration>,
    /// Whether this client has been connected before. The URL is right then, and whoever refuses may be a balancer whose
    /// servers are being replaced.
    pub was_connected: bool,
    /// The next request may have others.
    pub(crate) fetches_credentials: bool,
}

impl Refusal {
    /// Whether another attempt may fare better, which is what decides by default: wherever the server says when to try
    /// again; with 401 and 403 where the token or a header is fetched for each attempt; and with any other status where
    /// the client has been connected before, or else with all but 3xx and 4xx, of which 408, 425 and 429 are temporary.
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
