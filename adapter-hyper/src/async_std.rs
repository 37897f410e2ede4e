use crate::{runtime::Listen, transport::Futures};
use async_std::net::{TcpListener, TcpStream};
use hyper::rt::Timer;
use realtime_core::raw::{BoxFuture, Runtime};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

/// The global runtime of async-std, which is discontinued (RUSTSEC-2025-0052).
struct AsyncStd;

impl Runtime for AsyncStd {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        Box::pin(async_std::task::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        async_std::task::spawn(task);
    }
}

impl Listen for TcpListener {
    type Io = FuturesIo<TcpStream>;
    type Transport = Futures<TcpStream>;

    fn runtime() -> Arc<dyn Runtime> {
        Arc::new(AsyncStd)
    }

    fn timer() -> impl Timer + Send + Sync + 'static {
        SmolTimer::new()
    }

    async fn accept(&self) -> io::Result<(Self::Io, SocketAddr)> {
        let (socket, peer) = TcpListener::accept(self).await?;
        socket.set_nodelay(true)?;
        Ok((FuturesIo::new(socket), peer))
    }

    fn transport(io: Self::Io) -> Self::Transport {
        Futures { socket: io.into_inner(), shutdown: TcpStream::shutdown }
    }
}
