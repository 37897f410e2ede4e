use crate::upgrade::{Body, Incoming, upgrade};
use http::{Request, Response, Uri};
use hyper::service::Service;
use realtime_core::{Realtime, raw::BoxFuture};
use std::convert::Infallible;

/// Serves the handlers under `{prefix}/{id}`, and answers 404 to all else.
pub fn routes(realtime: &Realtime) -> Routes {
    Routes { realtime: realtime.clone(), everywhere: false }
}

/// Serves WebSockets, calls by HTTP and server-sent events on a route of the application's own: the id is the last segment of
/// the path. The name is that of the first; what a request is follows from its method and headers.
pub fn upgrade_websocket(realtime: &Realtime) -> Routes {
    Routes { realtime: realtime.clone(), everywhere: true }
}

/// A hyper service: see [`routes`] and [`upgrade_websocket`].
#[derive(Clone, Debug)]
pub struct Routes {
    realtime: Realtime,
    everywhere: bool,
}

impl Routes {
    /// Whether a request is for a realtime handler, for services that have other routes too.
    pub fn matches<B>(&self, request: &Request<B>) -> bool {
        let rest = request.uri().path().strip_prefix(self.realtime.prefix());
        let id = rest.and_then(|rest| rest.strip_prefix('/'));
        self.everywhere || id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
    }
}

impl<B: Incoming> Service<Request<B>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<B>) -> Self::Future {
        if !self.matches(&request) {
            // No handler is there: refused as an id that there is not.
            *request.uri_mut() = Uri::default();
        }
        let realtime = self.realtime.clone();
        Box::pin(async move { Ok(upgrade(&realtime, request).await) })
    }
}
