use crate::runtime::{Listen, Spawner};
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::{Service, service_fn},
};
use hyper_util::server::{conn::auto, graceful::GracefulShutdown};
use std::{error::Error, future::poll_fn, io::ErrorKind, pin::pin, task::Poll, time::Duration};

/// Serves a listener of tokio's, smol's or async-std's, over HTTP/1.1 and HTTP/2, until `shutdown`
/// is ready; then lets the requests that are under way finish. Realtime connections go on until
/// [`Realtime::drain`](realtime_core::Realtime::drain).
pub async fn serve<L, S, B>(listener: L, service: S, shutdown: impl Future<Output = ()>)
where
    L: Listen,
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let spawner = Spawner(L::runtime());
    let mut builder = auto::Builder::new(spawner.clone());
    builder.http1().timer(L::timer()).header_read_timeout(Duration::from_secs(10));
    builder.http2().timer(L::timer()).enable_connect_protocol();
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let mut accept = pin!(listener.accept());
        let accepted = poll_fn(|cx| match shutdown.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => accept.as_mut().poll(cx).map(Some),
        });
        let (io, peer) = match accepted.await {
            None => break,
            Some(Ok(accepted)) => accepted,
            // The client left before it was accepted.
            Some(Err(error)) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Some(Err(error)) => {
                // Out of file descriptors, as a rule: wait for some.
                tracing::error!(%error, "accept failed");
                spawner.0.sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (service, runtime) = (service.clone(), spawner.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(runtime.clone());
            service.call(request)
        });
        let connection = graceful.watch(builder.serve_connection_with_upgrades(io, service).into_owned());
        spawner.0.spawn(Box::pin(async move {
            let _ = connection.await.inspect_err(|error| tracing::debug!(%peer, error, "connection failed"));
        }));
    }
    drop(listener);
    graceful.shutdown().await;
}
