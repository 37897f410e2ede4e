use crate::upgrade::{Body, upgrade, whole};
use bytes::Bytes;
use http::{Request, Response};
use hyper::service::Service;
use realtime_core::{Error, Realtime, Reject, raw::BoxFuture};
use std::{convert::Infallible, future::ready};

/// Serves the handlers under `{prefix}/{id}`, and answers 404 to all else.
pub fn routes(realtime: &Realtime) -> Routes {
    Routes(realtime.clone())
}

/// Serves a handler on a route of the application's own: its id is the last segment of the path.
pub fn upgrade_websocket(realtime: &Realtime) -> Upgrader {
    Upgrader(realtime.clone())
}

/// A hyper service: see [`routes`].
#[derive(Clone, Debug)]
pub struct Routes(Realtime);

/// A hyper service: see [`upgrade_websocket`].
#[derive(Clone, Debug)]
pub struct Upgrader(Realtime);

impl Routes {
    /// Whether a request is for a realtime handler, for services that have other routes too.
    pub fn matches<B>(&self, request: &Request<B>) -> bool {
        let rest = request.uri().path().strip_prefix(self.0.prefix()).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|id| !id.is_empty() && !id.contains('/'))
    }
}

impl<B> Service<Request<B>> for Routes
where
    B: hyper::body::Body<Data = Bytes, Error: Send> + Unpin + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        if self.matches(&request) {
            return Upgrader(self.0.clone()).call(request);
        }
        let response = Reject::from(Error::not_found("no such route")).into_response();
        Box::pin(ready(Ok(response.map(whole))))
    }
}

impl<B> Service<Request<B>> for Upgrader
where
    B: hyper::body::Body<Data = Bytes, Error: Send> + Unpin + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let realtime = self.0.clone();
        Box::pin(async move { Ok(upgrade(&realtime, request).await) })
    }
}
