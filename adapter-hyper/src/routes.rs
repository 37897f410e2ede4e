use crate::upgrade::{Body, Incoming, upgrade};
use http::{Request, Response, Uri};
use hyper::service::Service;
use realtime_core::{
    Realtime,
    raw::{BoxFuture, Ending, Route},
};
use std::convert::Infallible;

/// Returns a service that serves all handlers and endpoints under `{prefix}/{id}`, and their procedures and subscriptions
/// by HTTP under `{prefix}/{id}/{name}` too, and those with [paths of their own](realtime_core::Mount::at) there as
/// well. It answers everything else with 404.
pub fn routes(realtime: &Realtime) -> Routes {
    Routes { realtime: realtime.clone(), everywhere: false }
}

/// Serves WebSockets, HTTP calls and server-sent events on a route of the application; the method and headers of a
/// request select one of the three. The last segment of the path is the id of the handler or endpoint.
pub fn upgrade_websocket(realtime: &Realtime) -> Routes {
    Routes { realtime: realtime.clone(), everywhere: true }
}

/// A hyper service, returned by [`routes`] and [`upgrade_websocket`].
#[derive(Clone, Debug)]
pub struct Routes {
    realtime: Realtime,
    everywhere: bool,
}

impl Routes {
    /// Returns true if the path of a request is one that this service serves, for services with other routes.
    pub fn matches<B>(&self, request: &Request<B>) -> bool {
        self.ending(request).is_some()
    }

    fn ending<B>(&self, request: &Request<B>) -> Option<Ending> {
        if self.everywhere {
            return Some(Ending::Id);
        }
        if self.realtime.paths().any(|path| path == request.uri().path()) {
            return Some(Ending::Id);
        }
        let rest = request.uri().path().strip_prefix(self.realtime.prefix())?.strip_prefix('/')?;
        match rest.split_once('/') {
            None => (!rest.is_empty()).then_some(Ending::Id),
            Some((id, name)) => {
                let is_name = !id.is_empty() && !name.is_empty() && !name.contains('/');
                is_name.then_some(Ending::IdAndName)
            }
        }
    }
}

impl<B: Incoming> Service<Request<B>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<B>) -> Self::Future {
        let ending = self.ending(&request).unwrap_or_else(|| {
            // This has no id and is no path of a handler, so it is refused as an unknown id is.
            *request.uri_mut() = Uri::from_static("*");
            Ending::Id
        });
        let route = Route::new(&self.realtime, ending);
        Box::pin(async move { Ok(upgrade(&route, request).await) })
    }
}
