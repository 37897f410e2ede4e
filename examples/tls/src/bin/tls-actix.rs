//! TLS on actix-web, which has no WebSockets over HTTP/2: browsers open them over HTTP/1.1.

use actix_web::{App, HttpServer};
use std::error::Error;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let realtime = tls::realtime();
    let registry = realtime.clone();
    let app = move || App::new().configure(adapter_actix::routes(&registry));
    let server = adapter_actix::configure(HttpServer::new(app), &realtime);
    let server = tls::bound(server.bind_rustls_0_23(tls::address(), tls::config()?));
    tls::announce(server.addrs()[0]);
    adapter_actix::serve(server, &realtime).await?;
    Ok(())
}
