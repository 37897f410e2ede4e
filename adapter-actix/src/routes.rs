use crate::upgrade::upgrade;
use actix_web::{
    HttpRequest, Route,
    web::{self, Payload, ServiceConfig},
};
use realtime_core::Realtime;

/// Serves the handlers under `{prefix}/{id}`: for `App::configure`.
pub fn routes(realtime: &Realtime) -> impl FnOnce(&mut ServiceConfig) {
    let (path, route) = (format!("{}/{{id}}", realtime.prefix()), upgrade_websocket(realtime));
    move |config| {
        config.route(&path, route);
    }
}

/// Serves WebSockets, calls by HTTP and server-sent events on a route of the application's own: the id is the last segment of
/// the path. The name is that of the first; what a request is follows from its method and headers.
pub fn upgrade_websocket(realtime: &Realtime) -> Route {
    let realtime = realtime.clone();
    web::to(move |request: HttpRequest, payload: Payload| {
        let realtime = realtime.clone();
        async move { upgrade(&realtime, &request, payload).await }
    })
}
