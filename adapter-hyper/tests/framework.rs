//! Tests of features that only hyper has: services around the routes, connections of other servers.
#![cfg(feature = "tokio")]

use adapter_testing::conformance::{Capabilities, Command, Lab, Reply, Stop, Subject};
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use realtime_core::Realtime;
use std::{convert::Infallible, net::TcpListener};

fn realtime() -> Realtime {
    Realtime::builder().manual_time().handler("lab", Lab::new().0).build()
}

fn described(variable: Option<u32>, peer: bool) -> Reply {
    let (method, uri, endpoint) = ("GET".into(), "/__realtime/lab".into(), "lab".into());
    Reply::Described { method, uri, endpoint, header: None, variable, peer }
}

#[test]
fn a_service_around_the_routes_may_refuse_and_set_variables() {
    #[tokio::main(flavor = "current_thread")]
    async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let routes = adapter_hyper::routes(&realtime);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let routes = routes.clone();
            async move {
                if request.headers().contains_key("x-refuse") {
                    let mut response = Response::new(adapter_hyper::Body::Left(Full::default()));
                    *response.status_mut() = http::StatusCode::PAYMENT_REQUIRED;
                    return Ok::<_, Infallible>(response);
                }
                request.extensions_mut().insert(7_u32);
                routes.call(request).await
            }
        });
        adapter_hyper::serve(listener, service, &realtime).shutdown(stop).await.expect("hyper serves");
    }
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    server.request("lab").header("x-refuse", "1").refused(402);
    let mut client = server.connect("lab");
    client.value(&Command::Describe);
    client.expect_value(&described(Some(7), true));
}

/// Plain HTTP/1 connections of hyper's, accepted by another server, run on the bare socket too.
#[test]
fn connections_of_another_server_work() {
    #[tokio::main(flavor = "current_thread")]
    async fn serve(realtime: Realtime, listener: TcpListener, _: Stop) {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let (socket, _) = listener.accept().await.expect("a client");
        let upgrader = adapter_hyper::upgrade_websocket(&realtime);
        let service = service_fn(move |request: Request<Incoming>| upgrader.call(request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades();
        connection.await.expect("the request is served");
        while realtime.stats().accepted == 0 || realtime.connections() > 0 {
            tokio::task::yield_now().await;
        }
    }
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    let mut client = server.connect("lab");
    client.value(&Command::Describe);
    client.expect_value(&described(None, false));
    client.close(1000, "");
}

#[test]
fn all_else_is_404() {
    #[tokio::main(flavor = "current_thread")]
    async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let server = adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime);
        server.shutdown(stop).await.expect("hyper serves");
    }
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    for target in ["/", "/__realtime", "/__realtime/", "/__realtime/lab/more", "/other/lab"] {
        let request = server.request("lab").change(|request| *request.uri_mut() = target.parse().expect("a path"));
        let mut refused = request.refused(404);
        assert_eq!(refused.body()["error"]["code"], "NOT_FOUND", "{target}");
    }
    // The body is discarded, and the response still arrives.
    let mut exchange = server.http("lab/more").body(vec![b' '; 1024 * 1024]).answered(404);
    exchange.body();
    exchange.expect_no_reset();
}
