use crate::{
    runtime::Listen,
    serve::{Signals, set_user_timeout},
};
use async_signal::Signal;
use futures_util::{AsyncRead, AsyncWrite, Stream};
use hyper::rt::Timer;
use realtime_core::raw::{BoxFuture, Runtime, SendQueue, Transport};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use std::{
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// The global runtime of smol.
#[cfg(feature = "smol")]
struct Smol;

#[cfg(feature = "smol")]
impl Runtime for Smol {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        Box::pin(async move {
            smol::Timer::after(duration).await;
        })
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        smol::spawn(task).detach();
    }
}

/// The global runtime of async-std, which is discontinued (RUSTSEC-2025-0052).
#[cfg(feature = "async-std")]
struct AsyncStd;

#[cfg(feature = "async-std")]
impl Runtime for AsyncStd {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        Box::pin(async_std::task::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        async_std::task::spawn(task);
    }
}

/// Implements `Listen` for both runtimes. Their sockets have the same methods, but no common trait.
macro_rules! listen {
    ($runtime:ident, $net:path) => {
        const _: () = {
            use $net::{TcpListener, TcpStream};

            impl Listen for TcpListener {
                const AMBIENT: bool = false;

                type Io = FuturesIo<Socket<TcpStream>>;
                type Transport = Socket<TcpStream>;

                fn runtime() -> Arc<dyn Runtime> {
                    Arc::new($runtime)
                }

                fn timer() -> impl Timer + Send + Sync + 'static {
                    SmolTimer::new()
                }

                fn signals() -> io::Result<Signals> {
                    signals()
                }

                async fn accept(&self, user_timeout: Duration) -> io::Result<(Self::Io, SocketAddr)> {
                    let (socket, peer) = TcpListener::accept(self).await?;
                    let _ = socket.set_nodelay(true);
                    set_user_timeout(&socket, user_timeout);
                    Ok((FuturesIo::new(Socket { socket, shutdown: TcpStream::shutdown }), peer))
                }

                fn transport(io: Self::Io) -> Self::Transport {
                    io.into_inner()
                }
            }
        };
    };
}

#[cfg(feature = "smol")]
listen!(Smol, smol::net);
#[cfg(feature = "async-std")]
listen!(AsyncStd, async_std::net);

/// Listens for signals with async-signal, which uses the reactor that both runtimes share.
fn signals() -> io::Result<Signals> {
    #[cfg(unix)]
    let which = [Signal::Int, Signal::Term];
    #[cfg(windows)]
    let which = [Signal::Int];
    let mut signals = async_signal::Signals::new(which)?;
    Ok(Signals::new(move |cx| Pin::new(&mut signals).poll_next(cx).map(drop)))
}

/// A socket of smol or async-std. As a transport it does not go through hyper's traits, by which each read would zero
/// the buffer first.
#[derive(Debug)]
pub struct Socket<S> {
    socket: S,
    /// Sends FIN, which async-std's `poll_close` does not: a socket with unread bytes would be closed with a reset alone,
    /// and the client would read that instead of the answer's end.
    shutdown: fn(&S, Shutdown) -> io::Result<()>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready((self.shutdown)(&self.socket, Shutdown::Write))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for Socket<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        queue.poll_write(true, |buffers| Pin::new(&mut self.socket).poll_write_vectored(cx, buffers))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready((self.shutdown)(&self.socket, Shutdown::Write))
    }
}
