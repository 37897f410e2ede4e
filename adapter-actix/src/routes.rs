use crate::upgrade::upgrade;
use actix_web::{HttpRequest, Route, web};
use realtime_core::{Realtime, raw};

/// Serves all handlers and endpoints under `{prefix}/{id}`, and their procedures and subscriptions by HTTP under
/// `{prefix}/{id}/{name}` too: the argument for `App::configure`. Those with [paths of their
/// own](realtime_core::Mount::at) are served there as well.
pub fn routes(realtime: &Realtime) -> impl FnOnce(&mut web::ServiceConfig) {
    let id = format!("{}/{{id}}", realtime.prefix());
    let (route, by_name) = (upgrade_websocket(realtime), answer(realtime, raw::Ending::IdAndName));
    // Patterns are regular expressions, which cost more than all else of a route: they are for what is not mounted.
    let fixed =
        realtime.ids().map(|id| format!("{}/{id}", realtime.prefix())).chain(realtime.paths().map(str::to_owned));
    let fixed: Vec<_> = fixed.map(|path| (path, upgrade_websocket(realtime))).collect();
    move |config| {
        fixed.into_iter().for_each(|(path, route)| _ = config.route(&path, route));
        config.route(&id, route).route(&format!("{id}/{{name}}"), by_name);
    }
}

/// Serves WebSockets, HTTP calls and server-sent events on a route of the application; the method and headers of a
/// request select one of the three. The last segment of the path is the id of the handler or endpoint.
pub fn upgrade_websocket(realtime: &Realtime) -> Route {
    answer(realtime, raw::Ending::Id)
}

fn answer(realtime: &Realtime, ending: raw::Ending) -> Route {
    let route = raw::Route::new(realtime, ending);
    web::to(move |request: HttpRequest, payload: web::Payload| upgrade(route.clone(), request, payload))
}
