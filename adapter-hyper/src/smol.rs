use crate::{runtime::Listen, transport::Futures};
use hyper::rt::Timer;
use realtime_core::raw::{BoxFuture, Runtime};
use smol::net::{TcpListener, TcpStream};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

/// The global runtime of smol.
struct Smol;

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

impl Listen for TcpListener {
    type Io = FuturesIo<TcpStream>;
    type Transport = Futures<TcpStream>;

    fn runtime() -> Arc<dyn Runtime> {
        Arc::new(Smol)
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
