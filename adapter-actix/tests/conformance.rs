//! The suite, on actix-web.

use actix_web::{App, HttpServer};
use adapter_testing::conformance::{Capabilities, Stop, Subject};
use realtime_core::Realtime;
use std::net::TcpListener;

fn subject() -> Subject {
    Subject::tcp(Capabilities::default().peer_address(), serve)
}

#[actix_web::main]
async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
    let registry = realtime.clone();
    let app = move || App::new().configure(adapter_actix::routes(&registry));
    let server = adapter_actix::configure(HttpServer::new(app).workers(1), &realtime);
    let server = server.listen(listener).expect("a listener");
    adapter_actix::serve(server, &realtime).shutdown(stop).await.expect("actix serves");
}

adapter_testing::conformance!(subject());
