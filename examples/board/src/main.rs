//! The board on axum.

use axum::{
    Router,
    http::{StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use board::Page;
use example_address::{address, announce, bound};
use std::{io, sync::Arc};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let listener = bound(TcpListener::bind(address()).await);
    let page = Arc::new(Page::load(say)?);
    let realtime = board::realtime();
    let app = Router::new()
        .fallback(move |uri: Uri| async move { file(&page, uri.path()) })
        .merge(adapter_axum::routes(&realtime));
    announce("The board", format_args!("http://{}", listener.local_addr()?));
    adapter_axum::serve(listener, app, &realtime).await
}

fn file(page: &Page, path: &str) -> Response {
    match page.file(path) {
        Some((content_type, bytes)) => ([(CONTENT_TYPE, content_type)], bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[expect(clippy::print_stdout, reason = "this is what the person who started it wants to know")]
fn say(text: &str) {
    println!("{text}");
}
