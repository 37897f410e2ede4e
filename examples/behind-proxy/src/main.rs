//! Serves on `127.0.0.1:PORT` with the adapter named by the argument.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use axum::{
    Router,
    http::{StatusCode, Uri, header},
    response::IntoResponse,
};
use std::{env, io};
use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    let address = format!("127.0.0.1:{}", env::var("PORT").as_deref().unwrap_or("3000"));
    match env::args().nth(1).as_deref() {
        None | Some("axum") => axum(&address),
        Some("actix") => actix(&address),
        Some("hyper") => hyper(&address),
        Some(other) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("unknown adapter {other:?}: expected axum, actix or hyper"),
        )),
    }
}

#[tokio::main]
async fn axum(address: &str) -> io::Result<()> {
    let realtime = behind_proxy::realtime();
    let app = Router::new().merge(adapter_axum::routes(&realtime)).fallback(page);
    adapter_axum::serve(TcpListener::bind(address).await?, app, &realtime).await
}

async fn page(uri: Uri) -> impl IntoResponse {
    match chat::asset(uri.path()) {
        Some((kind, content)) => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[actix_web::main]
async fn actix(address: &str) -> io::Result<()> {
    let realtime = behind_proxy::realtime();
    let registry = realtime.clone();
    let app = move || App::new().configure(adapter_actix::routes(&registry)).default_service(web::to(actix_page));
    let server = HttpServer::new(app).workers(2);
    adapter_actix::serve(adapter_actix::configure(server, &realtime).bind(address)?, &realtime).await
}

async fn actix_page(request: HttpRequest) -> HttpResponse {
    match chat::asset(request.path()) {
        Some((kind, content)) => HttpResponse::Ok().content_type(kind).body(content),
        None => HttpResponse::NotFound().finish(),
    }
}

#[tokio::main]
async fn hyper(address: &str) -> io::Result<()> {
    let realtime = behind_proxy::realtime();
    let site = chat::Site::new(&realtime);
    adapter_hyper::serve(TcpListener::bind(address).await?, site, &realtime).await
}
