use crate::upgrade::upgrade;
use actix_web::{
    HttpRequest, Route,
    web::{self, Payload, ServiceConfig},
};
use realtime_core::Realtime;

/// Serves all handlers and endpoints under `{prefix}/{id}`: the argument for `App::configure`.
pub fn routes(realtime: &Realtime) -> impl FnOnce(&mut ServiceConfig) {
    let (path, route) = (format!("{}/{{id}}", realtime.prefix()), upgrade_websocket(realtime));
    move |config| {
        config.route(&path, route);
    }
}

/// Serves WebSockets, HTTP calls and server-sent events on a route of the application; the method and headers of a
/// request select one of the three. The last segment of the path is the id of the handler or endpoint.
pub fn upgrade_websocket(realtime: &Realtime) -> Route {
    let realtime = realtime.clone();
    web::to(move |request: HttpRequest, payload: Payload| {
        let realtime = realtime.clone();
        async move { upgrade(&realtime, &request, payload).await }
    })
}
