use super::{
    Accept,
    shutdown::{Member, Open, Phase, race},
    watch::{Activity, Seen, Tracked, Watch, Watched},
};
use crate::runtime::{Listen, Spawner};
use http::{Method, Request, Response, Version};
use hyper::{
    body::{Body, Incoming},
    service::{Service, service_fn},
};
use hyper_util::server::{conn::auto, graceful::GracefulConnection};
use realtime_core::{Config, raw::BoxFuture};
use std::{
    error::Error,
    fmt,
    future::poll_fn,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    head: Duration,
    keep_alive: Duration,
    stalled: Duration,
    /// Time for the client to close, once the connection is to end.
    close: Duration,
    ping: Duration,
}

impl Limits {
    pub(super) fn new(config: &Config, keep_alive: Duration) -> Self {
        Self {
            head: config.handshake_timeout.min(FAR),
            keep_alive: keep_alive.min(FAR),
            stalled: config.idle_timeout.min(FAR),
            close: config.close_timeout.min(FAR),
            ping: config.ping_interval.min(FAR),
        }
    }
}

/// The longest time limit, a year: in effect forever, and still within the range of an `Instant`.
pub(super) const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// State shared by all connections of a server.
pub(super) struct Server<S, T> {
    builder: auto::Builder<Spawner>,
    spawner: Spawner,
    /// `None` on tokio, where requests find the runtime by themselves.
    extension: Option<Spawner>,
    service: S,
    tls: Arc<T>,
    limits: Limits,
    open: Arc<Open>,
}

impl<S, T> Server<S, T> {
    pub(super) fn new<L: Listen>(service: S, tls: T, limits: Limits, open: Arc<Open>) -> Self {
        let spawner = Spawner(L::runtime());
        let mut builder = auto::Builder::new(spawner.clone());
        // `Deadlines` has the limits of HTTP/1: hyper's timeout would count the time between two requests.
        builder.http1().header_read_timeout(None);
        let pong = limits.stalled.saturating_sub(limits.ping).max(Duration::from_secs(1));
        builder.http2().timer(L::timer()).enable_connect_protocol();
        builder.http2().keep_alive_interval(limits.ping).keep_alive_timeout(pong);
        let extension = (!L::AMBIENT).then(|| spawner.clone());
        Self { builder, spawner, extension, service, tls: Arc::new(tls), limits, open }
    }

    /// Serves a client in a task of its own.
    pub(super) fn spawn<I, B>(&self, socket: I, peer: SocketAddr)
    where
        I: Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
        T: Accept<I>,
    {
        let (builder, limits, tls) = (self.builder.clone(), self.limits, Arc::clone(&self.tls));
        let (runtime, open) = (self.spawner.clone().0, Arc::clone(&self.open));
        let (service, extension) = (self.service.clone(), self.extension.clone());
        self.spawner.0.spawn(Box::pin(async move {
            let late = async {
                runtime.sleep(limits.head).await;
                Err(io::Error::new(ErrorKind::TimedOut, "the TLS handshake took too long"))
            };
            let io = match race(tls.accept(socket), late).await {
                Ok(io) => io,
                Err(error) => return tracing::debug!(%peer, %error, "connection not opened"),
            };
            let watch = Arc::new(Watch::new(runtime));
            let watched = Watched::new(io, Arc::clone(&watch));
            let requests = Arc::clone(&watch);
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                extension.clone().map(|spawner| request.extensions_mut().insert(spawner));
                track(&requests, request, &service)
            });
            let connection = builder.serve_connection_with_upgrades(watched, service);
            Deadlines::new(&watch, limits, open.join()).keep(connection, peer).await;
        }));
    }
}

/// Calls the service, and counts the request as busy until the body of its response ends.
fn track<S, B>(
    watch: &Arc<Watch>,
    request: Request<Incoming>,
    service: &S,
) -> impl Future<Output = Result<Response<Tracked<B>>, S::Error>> + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    let busy = watch.begin(request.version() == Version::HTTP_2);
    let connect = request.method() == Method::CONNECT;
    let response = service.call(request);
    async move {
        let response = response.await?;
        if connect && response.status().is_success() {
            busy.tunnel();
        }
        Ok(response.map(|body| Tracked { body, busy }))
    }
}

/// Enforces the time limits of a connection, and ends it when the server shuts down.
struct Deadlines<'a> {
    watch: &'a Watch,
    limits: Limits,
    member: Member,
    alarm: Alarm,
    /// The time at which it began to close.
    closing: Option<Instant>,
    /// The graceful shutdown has begun: no new requests are accepted.
    finishing: bool,
}

enum Step {
    Wait,
    Finish,
    Cut,
}

impl<'a> Deadlines<'a> {
    fn new(watch: &'a Watch, limits: Limits, member: Member) -> Self {
        Self { watch, limits, member, alarm: Alarm(None), closing: None, finishing: false }
    }

    async fn keep<C: GracefulConnection<Error: fmt::Display>>(mut self, connection: C, peer: SocketAddr) {
        let mut connection = pin!(connection);
        let ended = poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(ended);
                }
                match self.step(cx) {
                    Step::Wait => return Poll::Pending,
                    Step::Finish => connection.as_mut().graceful_shutdown(),
                    Step::Cut => return Poll::Ready(Ok(())),
                }
            }
        });
        if let Err(error) = ended.await {
            tracing::debug!(%peer, %error, "connection failed");
        }
    }

    /// Decides what to do with a connection that is pending.
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        let phase = self.member.phase(cx);
        if phase == Phase::Cut {
            return Step::Cut;
        }
        loop {
            let (now, seen) = (self.watch.now(), self.watch.seen());
            if phase == Phase::Closing && self.closing.is_none() {
                self.closing = Some(now);
            }
            // A graceful shutdown closes a connection with half a head at once: let the request arrive.
            let begins = matches!(seen.activity, Activity::New(_) | Activity::Head(_));
            if self.closing.is_some() && !self.finishing && !begins {
                self.finishing = true;
                return Step::Finish;
            }
            let due = self.due(now, seen);
            if now < due {
                if self.alarm.poll(due, || self.watch.sleep(due - now), cx).is_pending() {
                    return Step::Wait;
                }
            } else if self.closing.is_none() && matches!(seen.activity, Activity::Idle(_)) {
                self.closing = Some(now);
            } else {
                return Step::Cut;
            }
        }
    }

    /// Returns the time at which the connection ends without progress, or has to be checked again.
    fn due(&self, now: Instant, seen: Seen) -> Instant {
        let Limits { head, keep_alive, stalled, close, .. } = self.limits;
        let due = match (seen.activity, self.closing) {
            (Activity::New(since) | Activity::Head(since), None) => since + head,
            (Activity::New(since) | Activity::Head(since), Some(closing)) => {
                (since + head).min(closing + UNDER_WAY)
            }
            (Activity::Idle(since), None) => since + keep_alive,
            (Activity::Idle(since), Some(closing)) if !seen.tunnels => since.max(closing) + close,
            // The end of an HTTP/2 request does not wake this task: check again later.
            (Activity::Idle(_) | Activity::Busy(_), _) => now + keep_alive.max(LOOK),
        };
        seen.stalled.map_or(due, |since| due.min(since + stalled))
    }
}

/// The shortest interval at which a busy connection is checked, however short its keep-alive is.
const LOOK: Duration = Duration::from_secs(1);

/// Time for the rest of a request's head that is arriving when the server shuts down.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// A timer that is replaced only if it would fire too late.
struct Alarm(Option<(Instant, BoxFuture<'static>)>);

impl Alarm {
    /// Ready at `due` or earlier.
    fn poll(
        &mut self,
        due: Instant,
        sleep: impl FnOnce() -> BoxFuture<'static>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.0.as_ref().is_none_or(|(at, _)| due < *at) {
            self.0 = Some((due, sleep()));
        }
        let rung = self.0.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(cx).is_ready());
        if !rung {
            return Poll::Pending;
        }
        self.0 = None;
        Poll::Ready(())
    }
}
