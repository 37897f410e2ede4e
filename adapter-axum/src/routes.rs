use crate::upgrade::upgrade;
use axum::{
    Router,
    extract::Request,
    routing::{MethodRouter, any},
};
use realtime_core::Realtime;

/// Serves the handlers under `{prefix}/{id}`: a router to merge into the application's own.
pub fn routes<S: Clone + Send + Sync + 'static>(realtime: &Realtime) -> Router<S> {
    Router::new().route(&format!("{}/{{id}}", realtime.prefix()), upgrade_websocket(realtime))
}

/// Serves WebSockets, calls by HTTP and server-sent events on a route of the application's own: the id is the last segment of
/// the path. The name is that of the first; what a request is follows from its method and headers.
///
/// All methods come here: HTTP/2 opens a WebSocket by CONNECT.
pub fn upgrade_websocket<S: Clone + Send + Sync + 'static>(realtime: &Realtime) -> MethodRouter<S> {
    let realtime = realtime.clone();
    any(move |request: Request| async move { upgrade(&realtime, request).await })
}
