//! The chat on actix-web.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use std::time::Duration;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let realtime = chat::realtime();
    let registry = realtime.clone();
    let app = move || App::new().configure(adapter_actix::routes(&registry)).default_service(web::to(page));
    let server = HttpServer::new(app)
        .tcp_nodelay(true)
        .client_disconnect_timeout(Duration::ZERO)
        .h1_allow_half_closed(false);
    let server = server.disable_signals().bind(chat::address())?.run();
    let handle = server.handle();
    actix_web::rt::spawn(async move {
        let _ = actix_web::rt::signal::ctrl_c().await;
        realtime.drain(Duration::from_secs(5)).await;
        handle.stop(true).await;
    });
    server.await
}

async fn page(request: HttpRequest) -> HttpResponse {
    match chat::asset(request.path()) {
        Some((kind, content)) => HttpResponse::Ok().content_type(kind).body(content),
        None => HttpResponse::NotFound().finish(),
    }
}
