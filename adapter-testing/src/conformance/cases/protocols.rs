//! WebSockets over other protocols than HTTP/1.1.

use super::{Subject, start};

/// Runs two sessions on one HTTP/2 connection (RFC 8441), and one over HTTP/1.1 beside them.
pub fn a_websocket_over_http2_works(subject: &Subject) {
    if !subject.capabilities().http2 {
        return;
    }
    let (server, seen, _) = start(subject);
    super::works(&mut server.connect("lab"));
    seen.closed();
    #[cfg(feature = "http2")]
    crate::conformance::http2::two_sessions(&server, &seen);
    #[cfg(not(feature = "http2"))]
    panic!("an adapter that serves HTTP/2 is tested with the feature `http2` of this crate");
}
