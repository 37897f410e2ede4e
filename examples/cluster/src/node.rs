//! A node: the chat as it is, on a broker, with a route for its status.

use crate::redis::shut_down;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::IntoResponse,
    routing::get,
};
use broker_redis::{Redis, RedisBroker};
use realtime_core::Realtime;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::{
    io::{AsyncReadExt, stdin},
    net::TcpListener,
};

/// The status of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) ready: bool,
    pub(crate) connections: u64,
    pub(crate) delivered: u64,
    pub(crate) appended: u64,
    /// The other nodes that it hears.
    pub(crate) others: u64,
}

/// Runs a node until its starter is gone.
pub(crate) async fn run(number: &str, port: &str, redis_port: &str) -> io::Result<()> {
    let number = number.parse().map_err(io::Error::other)?;
    let redis = Redis::url(format!("redis://127.0.0.1:{redis_port}/"));
    let broker = RedisBroker::connect(redis).await.map_err(|error| io::Error::other(error.to_string()))?;
    let realtime = chat::builder().node(number).broker(broker).build();
    let app = Router::new()
        .merge(adapter_axum::routes(&realtime))
        .route("/status", get(status).with_state(realtime.clone()))
        .fallback(page);
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    tokio::select! {
        ended = adapter_axum::serve(listener, app, &realtime) => ended,
        () = starter_is_gone() => {
            shut_down(redis_port).await;
            Ok(())
        }
    }
}

/// The starter's end of the pipe closes with it, however it ends.
async fn starter_is_gone() {
    let _ = stdin().read(&mut [0]).await;
}

async fn status(State(realtime): State<Realtime>) -> Json<Status> {
    let stats = realtime.stats();
    Json(Status {
        ready: stats.ready,
        connections: stats.connections as u64,
        delivered: stats.delivered,
        appended: stats.appended,
        others: stats.nodes as u64,
    })
}

async fn page(uri: Uri) -> impl IntoResponse {
    match chat::asset(uri.path()) {
        Some((kind, content)) => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
