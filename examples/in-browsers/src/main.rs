//! Serves on `127.0.0.1:PORT` with the adapter named by the argument: axum, actix, hyper, smol, async-std, or one of the first
//! three with `-tls`. `ORIGINS` lists the origins of other pages, with commas.

#![allow(clippy::print_stdout, reason = "a test waits for its address")]

mod encryption;

use actix_web::{App, HttpServer};
use axum::Router;
use example_address::{address, bound};
use realtime_core::Realtime;
use std::{env, error::Error, io, net::SocketAddr};
use tracing_subscriber::filter::LevelFilter;

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(LevelFilter::WARN).init();
    let origins = env::var("ORIGINS").unwrap_or_default();
    let origins = origins.split(',').filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
    let realtime = in_browsers::realtime(origins);
    let argument = env::args().nth(1).unwrap_or_else(|| "axum".to_owned());
    match argument.as_str() {
        "axum" | "axum-tls" => axum(&realtime, argument.ends_with("-tls")),
        "actix" | "actix-tls" => actix(&realtime, argument.ends_with("-tls")),
        "hyper" | "hyper-tls" => hyper(&realtime, argument.ends_with("-tls")),
        "smol" => smol::block_on(on_smol(&realtime)),
        "async-std" => async_std::task::block_on(on_async_std(&realtime)),
        other => Err(format!("unknown adapter {other:?}: expected axum, actix, hyper, smol or async-std").into()),
    }
}

type Served = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn axum(realtime: &Realtime, tls: bool) -> Served {
    let listener = bound(tokio::net::TcpListener::bind(address()).await);
    announce(listener.local_addr()?, tls);
    let serve = adapter_axum::serve(listener, Router::new().merge(adapter_axum::routes(realtime)), realtime);
    match tls {
        true => serve.tls(encryption::handshake(encryption::config()?)).await?,
        false => serve.await?,
    }
    Ok(())
}

#[actix_web::main]
async fn actix(realtime: &Realtime, tls: bool) -> Served {
    let registry = realtime.clone();
    let app = move || App::new().configure(adapter_actix::routes(&registry));
    let server = adapter_actix::configure(HttpServer::new(app).workers(2), realtime);
    let server = bound(match tls {
        true => server.bind_rustls_0_23(address(), encryption::config()?),
        false => server.bind(address()),
    });
    announce(server.addrs()[0], tls);
    Ok(adapter_actix::serve(server, realtime).await?)
}

#[tokio::main]
async fn hyper(realtime: &Realtime, tls: bool) -> Served {
    let listener = bound(tokio::net::TcpListener::bind(address()).await);
    announce(listener.local_addr()?, tls);
    let serve = adapter_hyper::serve(listener, adapter_hyper::routes(realtime), realtime);
    match tls {
        true => serve.tls(encryption::handshake(encryption::config()?)).await?,
        false => serve.await?,
    }
    Ok(())
}

async fn on_smol(realtime: &Realtime) -> Served {
    let listener = bound(smol::net::TcpListener::bind(address()).await);
    announce(listener.local_addr()?, false);
    Ok(adapter_hyper::serve(listener, adapter_hyper::routes(realtime), realtime).await?)
}

async fn on_async_std(realtime: &Realtime) -> Served {
    let listener = bound(async_std::net::TcpListener::bind(address()).await);
    announce(listener.local_addr()?, false);
    Ok(adapter_hyper::serve(listener, adapter_hyper::routes(realtime), realtime).await?)
}

fn announce(address: SocketAddr, tls: bool) {
    let scheme = if tls { "https" } else { "http" };
    println!("browsers is at {scheme}://{address}/__realtime/browsers");
}
