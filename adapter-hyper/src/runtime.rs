use crate::serve::Signals;
use hyper::rt::{Executor, Read, Timer, Write};
use realtime_core::raw::{Runtime, Transport};
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

/// A listening socket, and by it the runtime that it belongs to.
pub trait Listen: Send + Sync + 'static {
    /// Whether requests find the runtime without being told.
    const AMBIENT: bool;

    /// A client's socket, as hyper takes it.
    type Io: Read + Write + Unpin + Send + 'static;
    /// A client's socket, as a session takes it.
    type Transport: Transport + Send + 'static;

    /// The runtime, within which this is called.
    fn runtime() -> Arc<dyn Runtime>;

    /// Its timer, for hyper.
    fn timer() -> impl Timer + Send + Sync + 'static;

    /// SIGINT and SIGTERM, from now on.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn signals() -> io::Result<Signals>;

    /// The next client, with TCP_NODELAY set, and TCP_USER_TIMEOUT where there is such a thing.
    fn accept(&self, user_timeout: Duration) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>> + Send;

    /// The socket that hyper hands over, for a session.
    fn transport(io: Self::Io) -> Self::Transport;
}

/// The runtime of a request: `serve` puts it into the extensions.
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
