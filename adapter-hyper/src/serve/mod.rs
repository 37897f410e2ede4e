//! A whole server: it accepts, serves, and shuts down.

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

/// Serves a listener of tokio's, smol's or async-std's, over HTTP/1.1 and HTTP/2, until SIGINT or SIGTERM.
///
/// Then it stops accepting, closes the realtime connections by [`Realtime::drain`], lets the requests that are under way
/// finish, and returns. [`Serve::deadline`] bounds all of it together, and a second signal ends it at once. Sockets on
/// which nothing happens are closed: see [`Serve`].
///
/// # Errors
///
/// The signals cannot be listened for.
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

/// A server, which runs when it is awaited: see [`serve`].
///
/// It disconnects clients that do not get on:
///
/// | limit | time for |
/// |---|---|
/// | [`Config::handshake_timeout`](realtime_core::Config::handshake_timeout) | the TLS handshake; the first request, from the opening of the connection to the end of its head; the head of each later one |
/// | [`Serve::keep_alive`] | the next request on a connection |
/// | [`Config::idle_timeout`](realtime_core::Config::idle_timeout) | reading some of what is sent; answering a ping of HTTP/2 |
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
    /// Shuts down when `shutdown` is ready. Signals are left to the application.
    pub fn shutdown(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }

    /// Time for the whole shutdown: three quarters for the realtime connections to close, the rest for their
    /// `on_close`; requests have all of it. What is left is cut. Default 8 s: Docker kills a container after 10.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(FAR);
        self
    }

    /// Time that a connection may wait for its next request. Default 75 s: load balancers keep theirs for 60, and should
    /// be first to close, since a request that crosses with the server's closing is lost.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Opens connections by `accept`, such as a TLS acceptor's: from a socket to the stream that speaks HTTP. It runs in
    /// each connection's own task.
    pub fn tls<F: Accept<L::Io>>(self, accept: F) -> Serve<L, S, F> {
        let Self { listener, service, realtime, shutdown, deadline, keep_alive, .. } = self;
        Serve { listener, service, realtime, shutdown, deadline, keep_alive, tls: accept }
    }
}

/// From a socket to the stream that speaks HTTP.
pub trait Accept<I>: Send + Sync + 'static {
    /// The stream.
    type Io: Read + Write + Unpin + Send + 'static;

    /// Opens it.
    fn accept(&self, socket: I) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// HTTP on the socket itself.
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
                // The client left before it was accepted.
                Some(Err(error)) if error.kind() == ErrorKind::ConnectionAborted => {}
                Some(Err(error)) => {
                    // Out of file descriptors, as a rule: wait for some.
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

/// The clients that the system has accepted already: they came before the end, and are answered.
async fn waiting<L: Listen>(listener: &L, stalled: Duration) -> Vec<(L::Io, SocketAddr)> {
    let mut waiting = Vec::new();
    while waiting.len() < BACKLOG {
        let none = async { None };
        let Some(Ok(accepted)) = race(async { Some(listener.accept(stalled).await) }, none).await else { break };
        waiting.push(accepted);
    }
    waiting
}

/// The backlog of the listeners of all three runtimes is no longer, so that this ends while others still come.
const BACKLOG: usize = 1024;

async fn finish(realtime: &Realtime, open: &Open, deadline: Duration, runtime: &dyn Runtime) {
    // What has come by now begins before the drain refuses it.
    runtime.sleep(Duration::from_millis(10)).await;
    realtime.drain(deadline * 3 / 4).await;
    open.ended().await;
    // Those that were cut still run their `on_close`.
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
