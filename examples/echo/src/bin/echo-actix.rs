//! The echo on actix-web.

use actix_web::{App, HttpServer};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let realtime = echo::realtime();
    let registry = realtime.clone();
    let app = move || App::new().configure(adapter_actix::routes(&registry));
    let server = adapter_actix::configure(HttpServer::new(app), &realtime);
    let server = echo::bound(server.bind(echo::address()));
    echo::announce(server.addrs()[0]);
    adapter_actix::serve(server, &realtime).await
}
