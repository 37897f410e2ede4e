//! Serves on `127.0.0.1:PORT` with the adapter named by the argument.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use axum::{
    Router,
    http::{StatusCode, Uri, header},
    response::IntoResponse,
};
use example_address::{address, announce, bound};
use std::{env, io};
use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    match env::args().nth(1).as_deref() {
        None | Some("axum") => axum(),
        Some("actix") => actix(),
        Some("hyper") => hyper(),
        Some(other) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("unknown adapter {other:?}: expected axum, actix or hyper"),
        )),
    }
}

#[tokio::main]
async fn axum() -> io::Result<()> {
    let realtime = behind_proxy::realtime();
    let app = Router::new().merge(adapter_axum::routes(&realtime)).fallback(page);
    let listener = bound(TcpListener::bind(address()).await);
    announce("The server", format_args!("http://{}", listener.local_addr()?));
    adapter_axum::serve(listener, app, &realtime).await
}

async fn page(uri: Uri) -> impl IntoResponse {
    match chat::asset(uri.path()) {
        Some((kind, content)) => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[actix_web::main]
async fn actix() -> io::Result<()> {
    let realtime = behind_proxy::realtime();
    let registry = realtime.clone();
    let app = move || App::new().configure(adapter_actix::routes(&registry)).default_service(web::to(actix_page));
    let server = adapter_actix::configure(HttpServer::new(app).workers(2), &realtime);
    let server = bound(server.bind(address()));
    announce("The server", format_args!("http://{}", server.addrs()[0]));
    adapter_actix::serve(server, &realtime).await
}

async fn actix_page(request: HttpRequest) -> HttpResponse {
    match chat::asset(request.path()) {
        Some((kind, content)) => HttpResponse::Ok().content_type(kind).body(content),
        None => HttpResponse::NotFound().finish(),
    }
}

#[tokio::main]
async fn hyper() -> io::Result<()> {
    let realtime = behind_proxy::realtime();
    let site = chat::Site::new(&realtime);
    let listener = bound(TcpListener::bind(address()).await);
    announce("The server", format_args!("http://{}", listener.local_addr()?));
    adapter_hyper::serve(listener, site, &realtime).await
}
