//! TLS with a certificate that nobody has signed, and HTTP/2.

use hyper_util::rt::TokioIo;
use std::{error::Error, io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

/// Makes a certificate, and the settings with it.
pub(crate) fn config() -> Result<ServerConfig, Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let (chain, key) = (vec![made.cert.der().clone()], made.signing_key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(chain, key.try_into()?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Returns a function that does the handshake on a socket, as `serve` of the adapters takes it.
pub(crate) fn handshake(
    config: ServerConfig,
) -> impl Fn(TokioIo<TcpStream>) -> BoxFuture<io::Result<TokioIo<TlsStream<TcpStream>>>> + Clone {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    move |socket| {
        let handshake = acceptor.accept(socket.into_inner());
        Box::pin(async move { handshake.await.map(TokioIo::new) })
    }
}

type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;
