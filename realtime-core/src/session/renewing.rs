use crate::{hub::Client, seams::BoxFuture};
use realtime_protocol::{Error, Result};
use std::{
    fmt,
    task::{Context, Poll, ready},
    time::Duration,
};

/// The check of a client's fresh token, which runs beside its calls and ends with its connection.
pub(super) struct Renewing {
    /// The tick at which it began: from then on the credentials count.
    began: u32,
    running: BoxFuture<'static, Result<Option<Duration>>>,
}

impl Renewing {
    /// Begins to check a token.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` if the client was not asked for one.
    pub(super) fn begin(client: &Client, token: &str) -> Result<Self> {
        let began = client.hub.clock.now();
        let unasked = || Error::failed_precondition("no token was asked for");
        Ok(Self { began, running: client.begin_renewal(token).ok_or_else(unasked)? })
    }

    /// Ready when the client has new credentials, or is closed.
    pub(super) fn poll(&mut self, client: &Client, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.running.as_mut().poll(cx)) {
            Ok(lifetime) => client.renewed(lifetime.map(|lifetime| self.began + client.hub.clock.ticks(lifetime))),
            Err(error) => {
                client.log(&error);
                client.end_credentials(error.message());
            }
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewing")
    }
}
