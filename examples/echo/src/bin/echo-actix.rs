//! The echo on actix-web.

use actix_web::{App, HttpServer};
use std::time::Duration;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let realtime = echo::realtime();
    HttpServer::new(move || App::new().configure(adapter_actix::routes(&realtime)))
        .tcp_nodelay(true)
        .client_disconnect_timeout(Duration::ZERO)
        .h1_allow_half_closed(false)
        .bind(echo::address())?
        .run()
        .await
}
