//! The suite, on axum.

use adapter_testing::conformance::{Capabilities, Stop, Subject};
use axum::Router;
use realtime_core::Realtime;
use std::net::{SocketAddr, TcpListener};

fn subject() -> Subject {
    Subject::tcp(Capabilities::default().peer_address().http2(), serve)
}

#[tokio::main(flavor = "current_thread")]
async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
    let app = Router::new().merge(adapter_axum::routes(&realtime));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let server = axum::serve(listener, app).with_graceful_shutdown(stop);
    server.await.expect("axum serves");
}

adapter_testing::conformance!(subject());
