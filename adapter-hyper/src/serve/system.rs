//! Signals and socket options.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

/// A stream of the signals that ask a process to end.
pub struct Signals(Box<PollSignals>);

type PollSignals = dyn FnMut(&mut Context<'_>) -> Poll<()> + Send;

impl Signals {
    /// Creates it from a function that polls for the next signal.
    pub fn new(poll: impl FnMut(&mut Context<'_>) -> Poll<()> + Send + 'static) -> Self {
        Self(Box::new(poll))
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        poll_fn(|cx| (self.0)(cx)).await;
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

/// Sets TCP_USER_TIMEOUT: the system closes the connection if sent data is not acknowledged, or the client's window
/// is shut, for this long. By default it would retry for a quarter of an hour.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn set_user_timeout(socket: impl std::os::fd::AsFd, timeout: Duration) {
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let set = rustix::net::sockopt::set_tcp_user_timeout(socket, milliseconds);
    let _ = set.inspect_err(|error| tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT"));
}

/// Does nothing: only Linux has TCP_USER_TIMEOUT.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn set_user_timeout<S>(_: S, _: Duration) {}
