//! This library on actix-web.

use actix_web::{App, HttpServer};
use bench::{Outcome, process};

fn main() -> Outcome {
    process::prepare()?;
    actix_web::rt::System::new().block_on(serve())
}

async fn serve() -> Outcome {
    let realtime = bench::realtime()?;
    let registry = realtime.clone();
    let app = move || App::new().configure(adapter_actix::routes(&registry));
    let server = adapter_actix::configure(HttpServer::new(app), &realtime).workers(bench::pool()?.unwrap_or(1));
    Ok(adapter_actix::serve(server.listen(bench::listen()?)?, &realtime).await?)
}
