//! TLS on hyper and tokio.

use hyper_util::rt::TokioIo;
use std::{error::Error, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let acceptor = TlsAcceptor::from(Arc::new(tls::config()?));
    let realtime = tls::realtime();
    let routes = adapter_hyper::routes(&realtime);
    let listener = tls::bound(TcpListener::bind(tls::address()).await);
    let accept = move |socket: TokioIo<TcpStream>| {
        let handshake = acceptor.accept(socket.into_inner());
        async move { handshake.await.map(TokioIo::new) }
    };
    tls::announce(listener.local_addr()?);
    adapter_hyper::serve(listener, routes, &realtime).tls(accept).await?;
    Ok(())
}
