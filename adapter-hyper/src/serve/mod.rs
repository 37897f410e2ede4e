//! A complete server: accepting, serving, shutting down.

mod connection;
mod shutdown;
mod system;
mod watch;

pub use system::{Signals, set_user_timeout};
pub(crate) use watch::Watched;

use crate::runtime::Listen;
use connection::{FAR, Limits, Server};
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    rt::{Read, Write},
    service::Service,
};
use realtime_core::{
    Realtime,
    raw::{BoxFuture, Runtime},
};
use shutdown::{Open, Stop, race};
use std::{
    error::Error,
    fmt,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

/// Serves a listener of tokio, smol or async-std over HTTP/1.1 and HTTP/2 until SIGINT or SIGTERM, then shuts down
/// gracefully.
///
/// The shutdown stops accepting, closes the realtime connections by [`Realtime::drain`], lets requests in progress
/// finish, and returns. [`Serve::deadline`] bounds all of it; a second signal ends it at once. Idle sockets are
/// closed: see [`Serve`].
///
/// # Errors
///
/// Returns an error if the signal handlers cannot be installed.
///
/// # Examples
///
/// ```no_run
/// # #[cfg(feature = "tokio")]
/// # async fn run(realtime: realtime_core::Realtime) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime).await
/// # }
/// ```
pub fn serve<L: Listen, S>(listener: L, service: S, realtime: &Realtime) -> Serve<L, S> {
    let (realtime, shutdown) = (realtime.clone(), None);
    Serve { listener, service, realtime, shutdown, deadline: DEADLINE, keep_alive: KEEP_ALIVE, tls: NoTls }
}

const DEADLINE: Duration = Duration::from_secs(8);
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A server that runs when it is awaited, returned by [`serve`].
///
/// It disconnects clients that exceed a time limit:
///
/// | limit | time for |
/// |---|---|
/// | [`Config::handshake_timeout`](realtime_core::Config::handshake_timeout) | the TLS handshake; the first request, from the opening of the connection to the end of its head; the head of each later one |
/// | [`Serve::keep_alive`] | the next request on a connection |
/// | [`Config::idle_timeout`](realtime_core::Config::idle_timeout) | reading some of the data sent; answering an HTTP/2 ping |
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<L, S, T = NoTls> {
    listener: L,
    service: S,
    realtime: Realtime,
    shutdown: Option<BoxFuture<'static>>,
    deadline: Duration,
    keep_alive: Duration,
    tls: T,
}

impl<L: Listen, S, T> Serve<L, S, T> {
    /// Shuts down when `shutdown` completes, instead of on signals.
    pub fn shutdown(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }

    /// Sets the time limit of the whole shutdown; 8 s by default, because Docker kills a container after 10 s.
    ///
    /// Realtime connections have three quarters of it to close, their `on_close` the rest. Requests have all of it.
    /// Whatever is left at the end is cut.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(FAR);
        self
    }

    /// Sets how long a connection may wait for its next request; 75 s by default. Load balancers keep connections for
    /// 60 s and should close first: a request that is sent as the server closes is lost.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets a function that turns an accepted socket into the stream for HTTP, such as a TLS acceptor. It runs in the
    /// task of the connection, within [`Config::handshake_timeout`](realtime_core::Config::handshake_timeout).
    pub fn tls<F: Accept<L::Io>>(self, accept: F) -> Serve<L, S, F> {
        let Self { listener, service, realtime, shutdown, deadline, keep_alive, .. } = self;
        Serve { listener, service, realtime, shutdown, deadline, keep_alive, tls: accept }
    }
}

/// Turns an accepted socket into the stream for HTTP, as a TLS acceptor does.
pub trait Accept<I>: Send + Sync + 'static {
    /// The stream for HTTP.
    type Io: Read + Write + Unpin + Send + 'static;

    /// Opens the stream. An error closes the socket.
    fn accept(&self, socket: I) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// Uses the socket itself as the stream for HTTP.
#[derive(Clone, Copy, Debug)]
pub struct NoTls;

impl<I: Read + Write + Unpin + Send + 'static> Accept<I> for NoTls {
    type Io = I;

    async fn accept(&self, socket: I) -> io::Result<I> {
        Ok(socket)
    }
}

impl<I: Send, F, R, T> Accept<I> for F
where
    F: Fn(I) -> R + Send + Sync + 'static,
    R: Future<Output = io::Result<T>> + Send,
    T: Read + Write + Unpin + Send + 'static,
{
    type Io = T;

    fn accept(&self, socket: I) -> impl Future<Output = io::Result<T>> + Send {
        self(socket)
    }
}

impl<L, S, B, T> IntoFuture for Serve<L, S, T>
where
    L: Listen,
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    T: Accept<L::Io>,
{
    type Output = io::Result<()>;
    type IntoFuture = BoxFuture<'static, io::Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<L, S, B, T> Serve<L, S, T>
where
    L: Listen,
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    T: Accept<L::Io>,
{
    async fn run(mut self) -> io::Result<()> {
        let runtime = L::runtime();
        // A node publishes, and is ready or not, before it has a client.
        self.realtime.start(Arc::clone(&runtime));
        let config = self.realtime.config();
        let mut stop = Stop::new::<L>(self.shutdown.take())?;
        let open = Arc::new(Open::default());
        let server =
            Server::new::<L>(self.service, self.tls, Limits::new(config, self.keep_alive), Arc::clone(&open));
        let stalled = config.idle_timeout;
        loop {
            let told = async {
                stop.first().await;
                None
            };
            match race(told, async { Some(self.listener.accept(stalled).await) }).await {
                None => break,
                Some(Ok((socket, peer))) => server.spawn(socket, peer),
                // The client left before its connection was accepted.
                Some(Err(error)) if error.kind() == ErrorKind::ConnectionAborted => {}
                Some(Err(error)) => {
                    // Usually file descriptors have run out: wait until some are closed.
                    tracing::error!(%error, "accept failed");
                    runtime.sleep(Duration::from_secs(1)).await;
                }
            }
        }
        open.close();
        for (socket, peer) in waiting(&self.listener, stalled).await {
            server.spawn(socket, peer);
        }
        drop((self.listener, server));
        let late = race(runtime.sleep(self.deadline), stop.again());
        race(finish(&self.realtime, &open, self.deadline, &*runtime), late).await;
        open.cut();
        Ok(())
    }
}

/// Accepts the connections in the listener's backlog: they came before the shutdown, and are answered.
async fn waiting<L: Listen>(listener: &L, stalled: Duration) -> Vec<(L::Io, SocketAddr)> {
    let mut waiting = Vec::new();
    while waiting.len() < BACKLOG {
        let none = async { None };
        let Some(Ok(accepted)) = race(async { Some(listener.accept(stalled).await) }, none).await else { break };
        waiting.push(accepted);
    }
    waiting
}

/// The backlog of the listeners of all three runtimes is no longer. The bound ends the loop while new clients keep
/// coming.
const BACKLOG: usize = 1024;

async fn finish(realtime: &Realtime, open: &Open, deadline: Duration, runtime: &dyn Runtime) {
    // Requests that have arrived can begin before the drain refuses new ones.
    runtime.sleep(Duration::from_millis(10)).await;
    realtime.drain(deadline * 3 / 4).await;
    open.ended().await;
    // Connections that were cut still run `on_close`.
    while realtime.connections() > 0 {
        runtime.sleep(Duration::from_millis(20)).await;
    }
}

impl<L, S, T> fmt::Debug for Serve<L, S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { realtime, deadline, keep_alive, .. } = self;
        let mut f = f.debug_struct("Serve");
        f.field("realtime", realtime).field("deadline", deadline).field("keep_alive", keep_alive);
        f.finish_non_exhaustive()
    }
}
