//! What only the system can do.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

/// The signals by which a process is told to end.
pub struct Signals(Box<PollSignals>);

type PollSignals = dyn FnMut(&mut Context<'_>) -> Poll<()> + Send;

impl Signals {
    /// Those that `poll` finds.
    pub fn new(poll: impl FnMut(&mut Context<'_>) -> Poll<()> + Send + 'static) -> Self {
        Self(Box::new(poll))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        poll_fn(|cx| (self.0)(cx)).await;
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

/// Lets the system give up a connection whose client takes nothing for this long, or is gone without a word: what is
/// sent to it would be tried again for a quarter of an hour.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn set_user_timeout(socket: impl std::os::fd::AsFd, timeout: Duration) {
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let set = rustix::net::sockopt::set_tcp_user_timeout(socket, milliseconds);
    let _ = set.inspect_err(|error| tracing::debug!(%error, "TCP_USER_TIMEOUT is not set"));
}

/// Does nothing: only Linux has TCP_USER_TIMEOUT.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn set_user_timeout<S>(_: S, _: Duration) {}
