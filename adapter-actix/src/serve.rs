use crate::runtime::Actix;
use actix_http::Request;
use actix_service::IntoServiceFactory;
use actix_web::{
    Error, HttpServer,
    body::MessageBody,
    dev::{AppConfig, Extensions, Response, Server, Service, ServiceFactory},
    rt,
};
use realtime_core::Realtime;
use std::{
    any::Any,
    fmt,
    future::{pending, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

/// Configures a server for realtime connections. Call it before `bind`: it sets `on_connect`.
///
/// | setting | value | without it |
/// |---|---|---|
/// | `tcp_nodelay` | true | small messages are delayed by up to 40 ms |
/// | `client_disconnect_timeout` | 0 | each connection stays open for a second after its closing handshake |
/// | `h1_allow_half_closed` | false | a client that has left is noticed late |
/// | `client_request_timeout` | [`Config::handshake_timeout`](realtime_core::Config::handshake_timeout) | 5 s |
/// | `keep_alive` | 75 s: load balancers keep connections for 60 s, and should close first | 5 s: a request that is sent as the server closes is lost |
/// | `on_connect` | [`cut_stalled`] | a client that reads nothing keeps its socket forever |
pub fn configure<F, I, S, B>(server: HttpServer<F, I, S, B>, realtime: &Realtime) -> HttpServer<F, I, S, B>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Error: Into<Error>, InitError: fmt::Debug> + 'static,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Error: 'static,
    B: MessageBody + 'static,
{
    server
        .tcp_nodelay(true)
        .client_disconnect_timeout(Duration::ZERO)
        .h1_allow_half_closed(false)
        .client_request_timeout(realtime.config().handshake_timeout)
        .keep_alive(KEEP_ALIVE)
        .on_connect(cut_stalled(realtime))
}

/// Disconnects clients that read nothing for [`Config::idle_timeout`](realtime_core::Config::idle_timeout): for an
/// application that has an `HttpServer::on_connect` callback of its own, to be called from there.
///
/// It sets TCP_USER_TIMEOUT, on Linux and on sockets without TLS only; elsewhere it has no effect.
pub fn cut_stalled(realtime: &Realtime) -> impl Fn(&dyn Any, &mut Extensions) + Send + Sync + use<> {
    let timeout = realtime.config().idle_timeout;
    move |socket, _| {
        if let Some(socket) = socket.downcast_ref::<rt::net::TcpStream>() {
            set_user_timeout(socket, timeout);
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_user_timeout(socket: &rt::net::TcpStream, timeout: Duration) {
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let set = rustix::net::sockopt::set_tcp_user_timeout(socket, milliseconds);
    let _ = set.inspect_err(|error| tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT"));
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_user_timeout(_: &rt::net::TcpStream, _: Duration) {}

/// Runs a bound server until SIGINT or SIGTERM, then shuts down gracefully.
///
/// The shutdown closes the realtime connections by [`Realtime::drain`] while other requests are still answered, stops
/// the workers gracefully, and returns. [`Serve::deadline`] bounds all of it; a second signal ends it at once.
///
/// # Errors
///
/// Returns the server's error, or an error if the signal handlers cannot be installed.
///
/// # Examples
///
/// ```no_run
/// use actix_web::{App, HttpServer};
///
/// # async fn run(realtime: realtime_core::Realtime) -> std::io::Result<()> {
/// let registry = realtime.clone();
/// let app = move || App::new().configure(adapter_actix::routes(&registry));
/// let server = adapter_actix::configure(HttpServer::new(app), &realtime).bind("127.0.0.1:3000")?;
/// adapter_actix::serve(server, &realtime).await
/// # }
/// ```
pub fn serve<F, I, S, B>(server: HttpServer<F, I, S, B>, realtime: &Realtime) -> Serve
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request> + 'static,
    S: ServiceFactory<Request, Config = AppConfig, Error: Into<Error>, InitError: fmt::Debug> + 'static,
    S::Response: Into<Response<B>>,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let start = |timeout: Duration| {
        // actix takes whole seconds: rounded up, since `run` applies the exact deadline.
        server.disable_signals().shutdown_timeout(timeout.as_secs() + 1).run()
    };
    Serve { start: Box::new(start), realtime: realtime.clone(), shutdown: None, deadline: DEADLINE }
}

const DEADLINE: Duration = Duration::from_secs(8);
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A server that runs when it is awaited, returned by [`serve`].
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve {
    start: Box<dyn FnOnce(Duration) -> Server>,
    realtime: Realtime,
    shutdown: Option<Pin<Box<dyn Future<Output = ()>>>>,
    deadline: Duration,
}

impl Serve {
    /// Shuts down when `shutdown` completes, instead of on signals.
    pub fn shutdown(mut self, shutdown: impl Future<Output = ()> + 'static) -> Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }

    /// Sets the time limit of the whole shutdown; 8 s by default, because Docker kills a container after 10 s.
    ///
    /// Realtime connections have three quarters of it to close, their `on_close` the rest. Requests have all of it.
    /// Whatever is left at the end is cut.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        // A year: in effect forever, and still within the range of an `Instant`.
        self.deadline = deadline.min(Duration::from_secs(365 * 24 * 3600));
        self
    }

    async fn run(self) -> io::Result<()> {
        let mut stop = Stop::new(self.shutdown)?;
        // A node publishes, and is ready or not, before it has a client.
        self.realtime.start(Actix);
        let server = (self.start)(self.deadline);
        let handle = server.handle();
        let end = async {
            stop.first().await;
            let finish = async {
                finish(&self.realtime, self.deadline).await;
                handle.stop(true).await;
            };
            race(finish, race(rt::time::sleep(self.deadline), stop.again())).await;
            Ok(())
        };
        // Dropping the server cuts the remaining connections.
        race(server, end).await
    }
}

impl IntoFuture for Serve {
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { realtime, deadline, .. } = self;
        f.debug_struct("Serve").field("realtime", realtime).field("deadline", deadline).finish_non_exhaustive()
    }
}

/// Closes the realtime connections. The workers must still run then, for `on_close`.
async fn finish(realtime: &Realtime, deadline: Duration) {
    realtime.drain(deadline * 3 / 4).await;
    while realtime.connections() > 0 {
        rt::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the output of whichever future is ready first.
async fn race<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(output),
        Poll::Pending => second.as_mut().poll(cx),
    })
    .await
}

/// The trigger of a shutdown: a future of the application, or signals.
enum Stop {
    Application(Pin<Box<dyn Future<Output = ()>>>),
    Signals(Signals),
}

type Signals = Box<dyn FnMut(&mut Context<'_>) -> Poll<()>>;

impl Stop {
    fn new(application: Option<Pin<Box<dyn Future<Output = ()>>>>) -> io::Result<Self> {
        application.map_or_else(|| signals().map(Self::Signals), |shutdown| Ok(Self::Application(shutdown)))
    }

    /// Waits for the trigger.
    async fn first(&mut self) {
        match self {
            Self::Application(shutdown) => shutdown.await,
            Self::Signals(signals) => poll_fn(signals).await,
        }
    }

    /// Waits for a second signal, which cuts the shutdown short. Never ready with a future of the application.
    async fn again(&mut self) {
        match self {
            Self::Application(_) => pending().await,
            Self::Signals(signals) => poll_fn(signals).await,
        }
    }
}

#[cfg(unix)]
fn signals() -> io::Result<Signals> {
    use rt::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(Box::new(move |cx| match interrupt.poll_recv(cx) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => terminate.poll_recv(cx).map(drop),
    }))
}

#[cfg(not(unix))]
fn signals() -> io::Result<Signals> {
    let mut interrupt = Box::pin(rt::signal::ctrl_c());
    Ok(Box::new(move |cx| {
        let poll = interrupt.as_mut().poll(cx).map(drop);
        if poll.is_ready() {
            interrupt = Box::pin(rt::signal::ctrl_c());
        }
        poll
    }))
}
