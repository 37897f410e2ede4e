use adapter_hyper::{Body, Routes};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::service::Service;
use realtime_core::{Realtime, raw::BoxFuture};
use std::{convert::Infallible, future::ready};

/// Returns the content type and content of a file of the page, by its path.
pub fn asset(path: &str) -> Option<(&'static str, &'static str)> {
    match path {
        "/" => Some(("text/html; charset=utf-8", include_str!("../web/index.html"))),
        "/style.css" => Some(("text/css; charset=utf-8", include_str!("../web/style.css"))),
        "/realtime.js" => Some(("text/javascript; charset=utf-8", include_str!("../web/realtime.js"))),
        "/app.js" => Some(("text/javascript; charset=utf-8", include_str!("../web/app.js"))),
        _ => None,
    }
}

/// The page and the chat as one hyper service, for all three runtimes.
#[derive(Clone, Debug)]
pub struct Site(Routes);

impl Site {
    /// Creates the site for a registry.
    pub fn new(realtime: &Realtime) -> Self {
        Self(adapter_hyper::routes(realtime))
    }
}

impl<B> Service<Request<B>> for Site
where
    B: hyper::body::Body<Data = Bytes, Error: Send> + Unpin + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        if self.0.matches(&request) {
            return self.0.call(request);
        }
        let mut response = Response::new(Either::Left(Full::default()));
        match asset(request.uri().path()) {
            Some((kind, content)) => {
                *response.body_mut() = Either::Left(Full::from(content));
                response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
            }
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        Box::pin(ready(Ok(response)))
    }
}
