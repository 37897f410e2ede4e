//! Tests of features that only axum has: layers, routes, state, listeners.

use adapter_axum::HttpError;
use adapter_testing::conformance::{Capabilities, Command, Lab, Reply, Stop, Subject};
use axum::{
    Extension, Router,
    body::Body,
    extract::{ConnectInfo, Request},
    http::StatusCode,
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
    serve::{Listener, ListenerExt},
};
use futures_core::Stream;
use realtime_core::{Config, Endpoint, Error, Procedure, Realtime};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

fn realtime() -> Realtime {
    Realtime::builder().manual_time().handler("lab", Lab::new().0).build()
}

async fn run(app: Router, listener: std::net::TcpListener, stop: Stop) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    axum::serve(listener, app).with_graceful_shutdown(stop).await.expect("axum serves");
}

fn described(variable: Option<u32>, uri: &str) -> Reply {
    let (method, endpoint, header) = ("GET".into(), "lab".into(), None);
    Reply::Described { method, uri: uri.into(), endpoint, header, variable, peer: false }
}

#[test]
fn a_layer_runs_first_and_its_extension_reaches_the_handler() {
    #[tokio::main(flavor = "current_thread")]
    async fn serve(realtime: Realtime, listener: std::net::TcpListener, stop: Stop) {
        let app = Router::new().merge(adapter_axum::routes(&realtime));
        run(app.layer(Extension(7_u32)), listener, stop).await;
    }
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    let mut client = server.connect("lab");
    client.value(&Command::Describe);
    client.expect_value(&described(Some(7), "/__realtime/lab"));
}

#[test]
fn a_layer_may_refuse() {
    async fn refuse(_: Request, _: Next) -> Result<Response, StatusCode> {
        Err(StatusCode::PAYMENT_REQUIRED)
    }
    #[tokio::main(flavor = "current_thread")]
    async fn serve(realtime: Realtime, listener: std::net::TcpListener, stop: Stop) {
        let app = Router::new().merge(adapter_axum::routes(&realtime)).layer(from_fn(refuse));
        run(app, listener, stop).await;
    }
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    server.request("lab").refused(402);
}

#[test]
fn a_call_by_name_works_behind_a_prefix_that_is_stripped() {
    #[tokio::main(flavor = "current_thread")]
    async fn serve(_: Realtime, listener: std::net::TcpListener, stop: Stop) {
        let endpoint = Endpoint::new(()).procedure(SEVEN, |_, ()| async { Ok(7) });
        let inner = Realtime::builder().endpoint("api", endpoint).build();
        run(Router::new().nest("/app", adapter_axum::routes(&inner)), listener, stop).await;
    }
    const SEVEN: Procedure<(), u32> = Procedure::query("seven");
    let outer = Realtime::builder().manual_time().prefix("/app/__realtime").build();
    let server = Subject::tcp(Capabilities::default(), serve).start(outer);
    server.http("api").query("path=seven").gives(&7.into());
    server.http("api/seven").gives(&7.into());
    server.http("api/nothing").fails(404, "NOT_FOUND");
}

#[test]
fn a_handler_is_mounted_on_a_route_of_the_applications_own() {
    #[tokio::main(flavor = "current_thread")]
    async fn serve(realtime: Realtime, listener: std::net::TcpListener, stop: Stop) {
        let live = Router::new().route("/{tenant}/{id}", adapter_axum::upgrade_websocket(&realtime));
        run(Router::new().nest("/live", live).with_state(()), listener, stop).await;
    }
    let realtime = Realtime::builder().manual_time().prefix("/live/acme").handler("lab", Lab::new().0).build();
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime);
    let mut client = server.connect("lab");
    client.value(&Command::Describe);
    // The path as the framework gives it to a nested route: without what was matched before.
    client.expect_value(&described(None, "/acme/lab"));
}

/// Extractors and middleware find the address, and so does the handler.
#[test]
fn the_adapters_own_server_knows_who_connects() {
    async fn ask(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
        assert!(peer.ip().is_loopback());
        next.run(request).await
    }
    #[tokio::main(flavor = "current_thread")]
    async fn serve(realtime: Realtime, listener: std::net::TcpListener, stop: Stop) {
        let app = Router::new().merge(adapter_axum::routes(&realtime)).layer(from_fn(ask));
        let listener = TcpListener::from_std(listener).expect("a listener");
        adapter_axum::serve(listener, app, &realtime).shutdown(stop).await.expect("axum serves");
    }
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    let mut client = server.connect("lab");
    client.value(&Command::Describe);
    let (method, uri, endpoint) = ("GET".into(), "/__realtime/lab".into(), "lab".into());
    client.expect_value(&Reply::Described { method, uri, endpoint, header: None, variable: None, peer: true });
}

/// A listener whose streams are not sockets, as with TLS.
struct Streams(UnboundedReceiver<DuplexStream>);

impl Listener for Streams {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(stream) => (stream, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn any_other_stream_works() {
    let (streams, accepted) = unbounded_channel();
    let app = Router::new().merge(adapter_axum::routes(&realtime()));
    tokio::spawn(async move { axum::serve(Streams(accepted), app).await });
    let (mut client, server) = tokio::io::duplex(1000);
    streams.send(server).expect("axum accepts");
    let head = "GET /__realtime/lab HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(head.as_bytes()).await.expect("the request is read");
    let close = adapter_testing::TestFrame::close(1000, "").to_bytes();
    client.write_all(&close).await.expect("the frame is read");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("the server ends the stream");
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer.escape_ascii());
    assert!(answer.ends_with(b"\r\n\r\n\x88\x02\x03\xe8"), "{}", answer.escape_ascii());
}

/// Under `axum::serve` the system cuts the client.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    struct Endless(UnboundedSender<()>);
    impl Stream for Endless {
        type Item = Result<&'static [u8], Infallible>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(Some(Ok(&[b'x'; 1024])))
        }
    }
    impl Drop for Endless {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (drops, mut dropped) = unbounded_channel();
    let app = Router::new().route("/", get(move || async move { Body::from_stream(Endless(drops)) }));
    let mut config = Config::default();
    config.idle_timeout = Duration::from_secs(1);
    let realtime = Realtime::builder().config(config).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let listener = listener.tap_io(adapter_axum::cut_stalled(&realtime));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut client = TcpStream::connect(address).await.expect("the server listens");
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the request is read");
    let cut = timeout(Duration::from_secs(20), dropped.recv()).await;
    assert!(cut.is_ok(), "the connection is never cut");
}

/// Routes of the application fail as calls by HTTP do.
#[test]
fn an_error_of_a_route_is_answered_as_that_of_a_call() {
    async fn exhausted() -> Result<String, HttpError> {
        Err(Error::resource_exhausted("too many").with_retry_after(Duration::from_millis(1500)).into())
    }
    async fn foreign() -> Result<String, HttpError> {
        Ok("secret".parse::<u8>()?.to_string())
    }
    #[tokio::main(flavor = "current_thread")]
    async fn serve(realtime: Realtime, listener: std::net::TcpListener, stop: Stop) {
        let app = Router::new().route("/__realtime/exhausted", get(exhausted));
        let app = app.route("/__realtime/foreign", get(foreign)).merge(adapter_axum::routes(&realtime));
        run(app, listener, stop).await;
    }
    const FAIL: Procedure<(), ()> = Procedure::query("fail");
    let api = Endpoint::new(()).procedure(FAIL, |_, ()| async {
        Err(Error::resource_exhausted("too many").with_retry_after(Duration::from_millis(1500)))
    });
    let realtime = Realtime::builder().manual_time().endpoint("api", api).build();
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime);
    let answers = [server.http("exhausted"), server.http("api").query("path=fail")].map(|request| {
        let mut answer = request.answered(429);
        let headers = ["content-type", "cache-control", "retry-after"].map(|name| answer.header(name));
        (headers, answer.json())
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0[2].as_deref(), Some("2"));
    let body = server.http("foreign").fails(500, "INTERNAL").json();
    assert_eq!(body["error"]["message"], "internal error");
}
