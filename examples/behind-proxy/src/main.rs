//! Serves it at `127.0.0.1:PORT` with the adapter that the argument names.

use actix_web::{App, HttpServer};
use axum::Router;
use std::{env, io};
use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    let address = format!("127.0.0.1:{}", env::var("PORT").as_deref().unwrap_or("3000"));
    match env::args().nth(1).as_deref() {
        None | Some("axum") => axum(&address),
        Some("actix") => actix(&address),
        Some("hyper") => hyper(&address),
        Some(other) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{other} is none of axum, actix and hyper")))
        }
    }
}

#[tokio::main]
async fn axum(address: &str) -> io::Result<()> {
    let realtime = behind_proxy::realtime();
    let app = Router::new().merge(adapter_axum::routes(&realtime));
    adapter_axum::serve(TcpListener::bind(address).await?, app, &realtime).await
}

#[actix_web::main]
async fn actix(address: &str) -> io::Result<()> {
    let realtime = behind_proxy::realtime();
    let registry = realtime.clone();
    let server = HttpServer::new(move || App::new().configure(adapter_actix::routes(&registry))).workers(2);
    adapter_actix::serve(adapter_actix::configure(server, &realtime).bind(address)?, &realtime).await
}

#[tokio::main]
async fn hyper(address: &str) -> io::Result<()> {
    let realtime = behind_proxy::realtime();
    let routes = adapter_hyper::routes(&realtime);
    adapter_hyper::serve(TcpListener::bind(address).await?, routes, &realtime).await
}
