use crate::{
    runtime::Listen,
    serve::{Signals, set_user_timeout},
    transport,
};
use hyper::rt::Timer;
use hyper_util::rt::{TokioIo, TokioTimer};
use realtime_core::raw::{BoxFuture, Runtime};
use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time,
};

/// A handle to a tokio runtime.
#[derive(Clone, Debug)]
pub struct Tokio(Handle);

impl Tokio {
    /// Returns the current runtime, or `None` outside of tokio.
    pub fn current() -> Option<Self> {
        Handle::try_current().ok().map(Self)
    }
}

impl Runtime for Tokio {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        let _context = self.0.enter();
        Box::pin(time::sleep(duration))
    }

    fn now(&self) -> Instant {
        time::Instant::now().into_std()
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        self.0.spawn(task);
    }

    /// Yields by tokio's own `yield_now`, which defers the task until the sockets have been polled. A task that wakes
    /// itself runs again first: tokio polls its sockets only every 61 polls of ready tasks.
    fn yield_now(&self, cx: &Context<'_>) {
        let mut cx = Context::from_waker(cx.waker());
        let _ = pin!(tokio::task::yield_now()).poll(&mut cx);
    }
}

impl Listen for TcpListener {
    const AMBIENT: bool = true;

    type Io = TokioIo<TcpStream>;
    type Transport = transport::Io<TokioIo<TcpStream>>;

    fn runtime() -> Arc<dyn Runtime> {
        Arc::new(Tokio(Handle::current()))
    }

    fn timer() -> impl Timer + Send + Sync + 'static {
        TokioTimer::new()
    }

    fn signals() -> io::Result<Signals> {
        signals()
    }

    async fn accept(&self, user_timeout: Duration) -> io::Result<(Self::Io, SocketAddr)> {
        let (socket, peer) = TcpListener::accept(self).await?;
        // Fails if the client has already left: no error of the listener.
        let _ = socket.set_nodelay(true);
        set_user_timeout(&socket, user_timeout);
        Ok((TokioIo::new(socket), peer))
    }

    fn transport(io: Self::Io) -> Self::Transport {
        // Another server may have accepted the socket and not set it.
        let _ = io.inner().set_nodelay(true);
        transport::Io(io)
    }
}

#[cfg(unix)]
fn signals() -> io::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(Signals::new(move |cx| match interrupt.poll_recv(cx) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => terminate.poll_recv(cx).map(drop),
    }))
}

#[cfg(windows)]
fn signals() -> io::Result<Signals> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(Signals::new(move |cx| interrupt.poll_recv(cx).map(drop)))
}
