use crate::upgrade::upgrade;
use axum::{
    Router,
    extract::Request,
    routing::{MethodRouter, any},
};
use realtime_core::{
    Realtime,
    raw::{Ending, Route},
};

/// Returns a router that serves all handlers and endpoints under `{prefix}/{id}`, and their procedures and subscriptions
/// by HTTP under `{prefix}/{id}/{name}` too, to be merged into the application's router. Those with [paths of their
/// own](realtime_core::Mount::at) are served there as well.
pub fn routes<S: Clone + Send + Sync + 'static>(realtime: &Realtime) -> Router<S> {
    let id = format!("{}/{{id}}", realtime.prefix());
    let by_name = answer(realtime, Ending::IdAndName);
    let router = Router::new().route(&id, upgrade_websocket(realtime)).route(&format!("{id}/{{name}}"), by_name);
    realtime.paths().fold(router, |router, path| router.route(path, upgrade_websocket(realtime)))
}

/// Serves WebSockets, HTTP calls and server-sent events on a route of the application; the method and headers of a
/// request select one of the three. The last segment of the path is the id of the handler or endpoint.
///
/// The route takes all methods, because HTTP/2 opens WebSockets with CONNECT.
pub fn upgrade_websocket<S: Clone + Send + Sync + 'static>(realtime: &Realtime) -> MethodRouter<S> {
    answer(realtime, Ending::Id)
}

fn answer<S: Clone + Send + Sync + 'static>(realtime: &Realtime, ending: Ending) -> MethodRouter<S> {
    let route = Route::new(realtime, ending);
    any(move |request: Request| async move { upgrade(&route, request).await })
}
