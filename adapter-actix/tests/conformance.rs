//! The suite, on actix-web.

use actix_web::{App, HttpServer};
use adapter_testing::conformance::{Capabilities, Stop, Subject};
use realtime_core::Realtime;
use std::{net::TcpListener, time::Duration};

fn subject() -> Subject {
    Subject::tcp(Capabilities::default().peer_address(), serve)
}

#[actix_web::main]
async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
    let app = move || App::new().configure(adapter_actix::routes(&realtime));
    let server = HttpServer::new(app).workers(1).disable_signals().tcp_nodelay(true);
    let server = server
        .h1_allow_half_closed(false)
        .client_disconnect_timeout(Duration::ZERO)
        .listen(listener)
        .expect("a listener")
        .run();
    let handle = server.handle();
    actix_web::rt::spawn(async move {
        stop.await;
        handle.stop(false).await;
    });
    server.await.expect("actix serves");
}

adapter_testing::conformance!(subject());
