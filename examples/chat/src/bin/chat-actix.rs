//! The chat on actix-web.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let realtime = chat::realtime();
    let registry = realtime.clone();
    let app = move || App::new().configure(adapter_actix::routes(&registry)).default_service(web::to(page));
    let server = adapter_actix::configure(HttpServer::new(app), &realtime);
    let server = chat::bound(server.bind(chat::address()));
    chat::announce(server.addrs()[0]);
    adapter_actix::serve(server, &realtime).await
}

async fn page(request: HttpRequest) -> HttpResponse {
    match chat::asset(request.path()) {
        Some((kind, content)) => HttpResponse::Ok().content_type(kind).body(content),
        None => HttpResponse::NotFound().finish(),
    }
}
