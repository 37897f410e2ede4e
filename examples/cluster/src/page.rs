//! The page of the nodes.

use crate::nodes::{Known, Nodes};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::Html,
    routing::{get, post},
};
use std::{io, sync::Arc};
use tokio::net::TcpListener;

/// Serves the page, what it shows, and the end of a node.
pub(crate) async fn run(listener: TcpListener, nodes: Arc<Nodes>) -> io::Result<()> {
    let app = Router::new()
        .route("/", get(async || Html(include_str!("../web/index.html"))))
        .route("/nodes", get(all))
        .route("/nodes/{number}/kill", post(kill))
        .with_state(nodes);
    axum::serve(listener, app).await
}

async fn all(State(nodes): State<Arc<Nodes>>) -> Json<Vec<Known>> {
    Json(nodes.all())
}

async fn kill(State(nodes): State<Arc<Nodes>>, Path(number): Path<u64>) -> StatusCode {
    if nodes.kill(number) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}
