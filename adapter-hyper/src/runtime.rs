use crate::serve::Signals;
use hyper::rt::{Executor, Read, Timer, Write};
use realtime_core::raw::{Runtime, Transport};
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

/// A listening socket, whose type selects the runtime.
pub trait Listen: Send + Sync + 'static {
    /// True if requests find the runtime by themselves, as on tokio. Otherwise `serve` adds it to the request's
    /// extensions.
    const AMBIENT: bool;

    /// A client's socket for hyper.
    type Io: Read + Write + Unpin + Send + 'static;
    /// A client's socket for a session.
    type Transport: Transport + Send + 'static;

    /// Returns the runtime. Called within it.
    fn runtime() -> Arc<dyn Runtime>;

    /// Returns a timer of the runtime, for hyper.
    fn timer() -> impl Timer + Send + Sync + 'static;

    /// Starts listening for SIGINT and SIGTERM.
    ///
    /// # Errors
    ///
    /// Returns an error if the signal handlers cannot be installed.
    fn signals() -> io::Result<Signals>;

    /// Accepts the next client, and sets TCP_NODELAY and, on Linux, TCP_USER_TIMEOUT.
    fn accept(&self, user_timeout: Duration) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>> + Send;

    /// Converts a socket of hyper's to one for a session, after an upgrade.
    fn transport(io: Self::Io) -> Self::Transport;
}

/// The runtime of a request. `serve` adds it to the extensions, except on tokio.
#[derive(Clone)]
pub(crate) struct Spawner(pub(crate) Arc<dyn Runtime>);

impl Spawner {
    pub(crate) fn current() -> Option<Self> {
        #[cfg(feature = "tokio")]
        return crate::runtimes::Tokio::current().map(|runtime| Self(Arc::new(runtime)));
        #[cfg(not(feature = "tokio"))]
        None
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, future: F) {
        self.0.spawn(Box::pin(async { drop(future.await) }));
    }
}
