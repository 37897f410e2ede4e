//! Serves on `127.0.0.1:PORT` with the adapter named by the argument. `ORIGINS` lists the origins of other pages, with
//! commas.

#![allow(clippy::print_stdout, reason = "a test waits for its address")]

use actix_web::{App, HttpServer};
use axum::Router;
use example_address::{address, bound};
use realtime_core::Realtime;
use std::{
    env,
    io::{self, ErrorKind},
    net::SocketAddr,
};

fn main() -> io::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let origins = env::var("ORIGINS").unwrap_or_default();
    let origins = origins.split(',').filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
    let realtime = in_browsers::realtime(origins);
    match env::args().nth(1).as_deref() {
        None | Some("axum") => axum(&realtime),
        Some("actix") => actix(&realtime),
        Some("hyper") => hyper(&realtime),
        Some("smol") => smol::block_on(on_smol(&realtime)),
        Some("async-std") => async_std::task::block_on(on_async_std(&realtime)),
        Some(other) => Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!("unknown adapter {other:?}: expected axum, actix, hyper, smol or async-std"),
        )),
    }
}

#[tokio::main]
async fn axum(realtime: &Realtime) -> io::Result<()> {
    let listener = bound(tokio::net::TcpListener::bind(address()).await);
    announce(listener.local_addr()?);
    adapter_axum::serve(listener, Router::new().merge(adapter_axum::routes(realtime)), realtime).await
}

#[actix_web::main]
async fn actix(realtime: &Realtime) -> io::Result<()> {
    let registry = realtime.clone();
    let app = move || App::new().configure(adapter_actix::routes(&registry));
    let server = bound(adapter_actix::configure(HttpServer::new(app).workers(2), realtime).bind(address()));
    announce(server.addrs()[0]);
    adapter_actix::serve(server, realtime).await
}

#[tokio::main]
async fn hyper(realtime: &Realtime) -> io::Result<()> {
    let listener = bound(tokio::net::TcpListener::bind(address()).await);
    announce(listener.local_addr()?);
    adapter_hyper::serve(listener, adapter_hyper::routes(realtime), realtime).await
}

async fn on_smol(realtime: &Realtime) -> io::Result<()> {
    let listener = bound(smol::net::TcpListener::bind(address()).await);
    announce(listener.local_addr()?);
    adapter_hyper::serve(listener, adapter_hyper::routes(realtime), realtime).await
}

async fn on_async_std(realtime: &Realtime) -> io::Result<()> {
    let listener = bound(async_std::net::TcpListener::bind(address()).await);
    announce(listener.local_addr()?);
    adapter_hyper::serve(listener, adapter_hyper::routes(realtime), realtime).await
}

fn announce(address: SocketAddr) {
    println!("browsers is at http://{address}/__realtime/browsers");
}
