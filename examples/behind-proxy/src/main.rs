//! Serves it at `127.0.0.1:PORT` with the adapter that the argument names.

use actix_web::{App, HttpServer};
use axum::Router;
use std::{env, future::pending, io, net::SocketAddr, time::Duration};
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
    let app = Router::new().merge(adapter_axum::routes(&behind_proxy::realtime()));
    // Without the address of the socket nobody could be a trusted proxy.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(TcpListener::bind(address).await?, app).await
}

#[actix_web::main]
async fn actix(address: &str) -> io::Result<()> {
    let realtime = behind_proxy::realtime();
    HttpServer::new(move || App::new().configure(adapter_actix::routes(&realtime)))
        .tcp_nodelay(true)
        .client_disconnect_timeout(Duration::ZERO)
        .h1_allow_half_closed(false)
        .workers(2)
        .bind(address)?
        .run()
        .await
}

#[tokio::main]
async fn hyper(address: &str) -> io::Result<()> {
    let routes = adapter_hyper::routes(&behind_proxy::realtime());
    adapter_hyper::serve(TcpListener::bind(address).await?, routes, pending()).await;
    Ok(())
}
