use adapter_hyper::Serve;
use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use hyper::body::Incoming;
use realtime_core::{Realtime, raw::BoxFuture};
use std::{convert::Infallible, future::poll_fn, net::SocketAddr, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

/// Serves a router, or any other service for axum's requests, until SIGINT or SIGTERM, then shuts down gracefully: see
/// [`Serve`].
///
/// Unlike `axum::serve`, it disconnects clients that send no request or read no response, and its shutdown has a
/// deadline. [`ConnectInfo<SocketAddr>`](ConnectInfo) needs no setup.
///
/// # Errors
///
/// Returns an error if the signal handlers cannot be installed.
///
/// # Examples
///
/// ```no_run
/// # async fn run(realtime: realtime_core::Realtime) -> std::io::Result<()> {
/// let app = axum::Router::new().merge(adapter_axum::routes(&realtime));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// adapter_axum::serve(listener, app, &realtime).await
/// # }
/// ```
pub fn serve<S>(listener: TcpListener, app: S, realtime: &Realtime) -> Serve<TcpListener, App<S>>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    adapter_hyper::serve(listener, App(app), realtime)
}

/// Wraps an axum service as a hyper service.
#[derive(Clone, Debug)]
pub struct App<S>(S);

impl<S> hyper::service::Service<hyper::Request<Incoming>> for App<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let mut app = self.0.clone();
        let mut request = request.map(Body::new);
        if let Some(peer) = request.extensions_mut().remove::<SocketAddr>() {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        Box::pin(async move {
            poll_fn(|cx| app.poll_ready(cx)).await?;
            app.call(request).await
        })
    }
}

/// Disconnects clients that read nothing for [`Config::idle_timeout`](realtime_core::Config::idle_timeout), under
/// `axum::serve`: the argument for [`ListenerExt::tap_io`](axum::serve::ListenerExt::tap_io).
///
/// It sets TCP_USER_TIMEOUT, on Linux only; elsewhere it has no effect.
///
/// # Examples
///
/// ```no_run
/// use axum::serve::ListenerExt;
///
/// # async fn run(app: axum::Router, realtime: realtime_core::Realtime) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener.tap_io(adapter_axum::cut_stalled(&realtime)), app).await
/// # }
/// ```
pub fn cut_stalled(realtime: &Realtime) -> impl FnMut(&mut TcpStream) + Send + Sync + use<> {
    let timeout: Duration = realtime.config().idle_timeout;
    move |socket| adapter_hyper::raw::set_user_timeout(&*socket, timeout)
}
