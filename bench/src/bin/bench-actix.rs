//! This library on actix-web.

use actix_web::{App, HttpServer};
use bench::{Outcome, process};
use std::time::Duration;

fn main() -> Outcome {
    process::prepare()?;
    actix_web::rt::System::new().block_on(serve())
}

async fn serve() -> Outcome {
    let realtime = bench::realtime()?;
    let server = HttpServer::new(move || App::new().configure(adapter_actix::routes(&realtime)))
        .workers(bench::pool()?.unwrap_or(1))
        .tcp_nodelay(true)
        .client_disconnect_timeout(Duration::ZERO)
        .h1_allow_half_closed(false)
        .listen(bench::listen()?)?;
    Ok(server.run().await?)
}
