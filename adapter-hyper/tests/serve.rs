//! How long `serve` waits: for clients that do nothing, and for its own end. On tokio's clock, which goes on by itself
//! when nothing else can.
#![cfg(feature = "tokio")]

use adapter_testing::Frame;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::{self, Incoming},
    service::{Service, service_fn},
};
use realtime_core::{Connection, Handler, Realtime, Result};
use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test(start_paused = true)]
async fn a_first_request_that_does_not_come_is_waited_for_ten_seconds() {
    let server = Server::start().await;
    let half_headers = [PREFACE, SETTINGS, &[0, 0, 50, 1, 5, 0, 0, 0, 1, 0x82]].concat();
    let beginnings: [&[u8]; 5] = [b"", b"GET / HT", &PREFACE[..10], &[PREFACE, SETTINGS].concat(), &half_headers];
    for beginning in beginnings {
        let mut client = server.connect().await;
        client.write_all(beginning).await.expect("the server listens");
        assert_eq!(ended_after(&mut client).await, 10, "{}", beginning.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn a_next_request_is_waited_for_longer_and_its_head_is_not() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert!(client.get("/").await.ends_with("ok"));
    assert_eq!(ended_after(&mut client).await, 75);

    let mut client = server.connect().await;
    assert!(client.get("/").await.ends_with("ok"));
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert!(client.get("/").await.ends_with("ok"), "it was there in time");
    client.write_all(b"GET / HT").await.expect("the connection is kept");
    assert_eq!(ended_after(&mut client).await, 10);
}

/// It answers pings, which is no request.
#[tokio::test(start_paused = true)]
async fn an_http2_connection_without_requests_is_closed() {
    let server = Server::start().await;
    let (mut requests, connection) =
        h2::client::handshake(server.connect().await.0).await.expect("HTTP/2 is spoken");
    let ended = tokio::spawn(connection);
    let request = Request::get("http://x/").body(()).expect("a request");
    let (response, _) = requests.send_request(request, true).expect("a stream");
    assert_eq!(response.await.expect("a response").status(), 200);
    let started = Instant::now();
    ended.await.expect("no panic").expect("it ends without an error");
    assert_eq!(started.elapsed().as_secs(), 75);
}

/// The stream of the response would keep it open.
#[tokio::test(start_paused = true)]
async fn an_http2_client_that_answers_no_ping_is_gone() {
    let mut server = Server::start().await;
    let (mut requests, mut connection) =
        h2::client::handshake(server.connect().await.0).await.expect("HTTP/2 is spoken");
    let request = Request::get("http://x/quiet").body(()).expect("a request");
    let (response, _) = requests.send_request(request, true).expect("a stream");
    let response = tokio::select! {
        response = response => response.expect("a response"),
        _ = &mut connection => panic!("the connection ended"),
    };
    assert_eq!(response.status(), 200);
    assert_eq!(server.body_dropped().await, 60);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_cut() {
    let mut server = Server::start().await;
    let mut client = server.connect().await;
    client.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the server reads");
    assert_eq!(server.body_dropped().await, 60);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not() {
    let mut server = Server::start().await;
    let mut client = server.connect().await;
    client.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the server reads");
    let mut buffer = vec![0; 1024 * 1024];
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        // So much that the system asks for more.
        for _ in 0..8 {
            assert!(client.read(&mut buffer).await.expect("the connection lives") > 0);
        }
    }
    assert_eq!(server.body_dropped().await, 60);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_closes_sessions_and_answers_what_came_before() {
    let mut server = Server::start().await;
    let mut session = server.connect().await;
    session.websocket().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the server reads");
    server.gate.begun.notified().await;
    let mut idle = server.connect().await;
    assert!(idle.get("/").await.ends_with("ok"));

    let started = Instant::now();
    server.shut_down();
    let close = session.frame().await.and_then(|frame| frame.as_close());
    assert_eq!(close.map(|(code, _)| code), Some(1001));
    session.write_all(&Frame::close(1001, "").to_bytes()).await.expect("the server reads");
    assert_eq!(session.frame().await, None);
    assert_eq!(idle.rest().await, "");
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is gone");
    server.gate.open.notify_one();
    let response = slow.rest().await;
    assert!(response.contains("connection: close") && response.ends_with("done"), "{response}");
    server.ended().await;
    assert!(started.elapsed() < Duration::from_secs(2));
}

/// Accepted by the system, and not yet by the server.
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_to_be_accepted_is_answered() {
    let listener = listener();
    let address = listener.local_addr().expect("an address");
    let mut client = Client(TcpStream::connect(address).await.expect("the system accepts"));
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the system takes it");
    let mut server = Server::start_on(listener, Realtime::builder().build());
    server.shut_down();
    assert!(client.rest().await.ends_with("ok"));
    server.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_though_clients_do_nothing() {
    let half_headers = [PREFACE, SETTINGS, &[0, 0, 50, 1, 5, 0, 0, 0, 1, 0x82]].concat();
    let beginnings: [(&[u8], u64); 6] = [
        (b"", 1),
        (b"GET / HT", 1),
        (&PREFACE[..10], 1),
        (&half_headers, 1),
        (b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n12", 8),
        (b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n", 8),
    ];
    for (beginning, seconds) in beginnings {
        let mut server = Server::start().await;
        let mut client = server.connect().await;
        client.write_all(beginning).await.expect("the server reads");
        tokio::time::sleep(Duration::from_millis(1)).await;
        let started = Instant::now();
        server.shut_down();
        server.ended().await;
        assert_eq!(started.elapsed().as_secs(), seconds, "{}", beginning.escape_ascii());
    }
}

/// It does not answer the close frame.
#[tokio::test(start_paused = true)]
async fn on_close_of_a_session_that_is_cut_still_runs() {
    struct Closing(Arc<Mutex<Vec<u16>>>);
    impl Handler for Closing {
        type Input = ();
        type ClientMessage = String;
        type ServerMessage = String;

        async fn on_message(&self, _: &Connection<Self>, _: String) -> Result {
            Ok(())
        }

        async fn on_close(&self, _: &Connection<Self>, close: realtime_core::Close) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.0.lock().expect("no panic").push(close.code.get());
        }
    }
    let closed = Arc::<Mutex<Vec<u16>>>::default();
    let realtime = Realtime::builder().handler("quiet", Closing(Arc::clone(&closed))).build();
    let mut server = Server::start_on(listener(), realtime);
    let mut client = server.connect().await;
    client.websocket().await;
    server.shut_down();
    server.ended().await;
    assert_eq!(*closed.lock().expect("no panic"), [1001]);
}

fn listener() -> TcpListener {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.set_nonblocking(true).expect("a socket option");
    TcpListener::from_std(listener).expect("a listener")
}

struct Quiet;

impl Handler for Quiet {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, _: &Connection<Self>, _: String) -> Result {
        Ok(())
    }
}

/// Serves `/`, and what the others do not end by themselves.
struct Server {
    address: SocketAddr,
    gate: Arc<Gate>,
    dropped: Option<oneshot::Receiver<()>>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<io::Result<()>>,
}

#[derive(Default)]
struct Gate {
    begun: Notify,
    open: Notify,
}

impl Server {
    async fn start() -> Self {
        Self::start_on(listener(), Realtime::builder().handler("quiet", Quiet).build())
    }

    fn start_on(listener: TcpListener, realtime: Realtime) -> Self {
        let address = listener.local_addr().expect("an address");
        let gate = Arc::<Gate>::default();
        let (drops, dropped) = oneshot::channel();
        let drops = Arc::new(Mutex::new(Some(drops)));
        let (routes, at_gate) = (adapter_hyper::routes(&realtime), Arc::clone(&gate));
        let service = service_fn(move |request: Request<Incoming>| {
            let (routes, gate, drops) = (routes.clone(), Arc::clone(&at_gate), Arc::clone(&drops));
            async move {
                let body = match request.uri().path() {
                    "/" => "ok",
                    "/slow" => {
                        gate.begun.notify_one();
                        request.into_body().collect().await.expect("a body");
                        gate.open.notified().await;
                        "done"
                    }
                    path @ ("/endless" | "/quiet") => {
                        let endless =
                            Endless { quiet: path == "/quiet", drops: drops.lock().expect("no panic").take() };
                        return Ok::<_, Infallible>(Response::new(StreamBody::new(endless).boxed_unsync()));
                    }
                    _ => {
                        return Ok(routes
                            .call(request)
                            .await?
                            .map(|body| body.map_err(|_| unreachable!()).boxed_unsync()));
                    }
                };
                Ok(Response::new(Full::from(body).boxed_unsync()))
            }
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let server = adapter_hyper::serve(listener, service, &realtime).shutdown(async { drop(stopped.await) });
        let running = tokio::spawn(server.into_future());
        Self { address, gate, dropped: Some(dropped), stop: Some(stop), running }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.expect("the server listens"))
    }

    /// The seconds until the body of `/endless` or `/quiet` is dropped.
    async fn body_dropped(&mut self) -> u64 {
        let started = Instant::now();
        let dropped = self.dropped.take().expect("it is asked for once");
        assert!(timeout(Duration::from_secs(3600), dropped).await.is_ok(), "the connection is never cut");
        started.elapsed().as_secs()
    }

    fn shut_down(&mut self) {
        drop(self.stop.take());
    }

    async fn ended(&mut self) {
        let running = timeout(Duration::from_secs(3600), &mut self.running).await;
        running.expect("the server never ends").expect("no panic").expect("no error");
    }
}

struct Endless {
    quiet: bool,
    drops: Option<oneshot::Sender<()>>,
}

impl futures_core::Stream for Endless {
    type Item = std::result::Result<body::Frame<Bytes>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.quiet {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(body::Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        drop(self.drops.take());
    }
}

/// The seconds until the server ends the connection.
async fn ended_after(client: &mut Client) -> u64 {
    let started = Instant::now();
    client.rest().await;
    started.elapsed().as_secs()
}

struct Client(TcpStream);

impl Client {
    async fn get(&mut self, path: &str) -> String {
        self.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.expect("it is read");
        let mut response = vec![0; 1024];
        let count = self.read(&mut response).await.expect("a response");
        String::from_utf8_lossy(&response[..count]).into_owned()
    }

    /// All that comes until the end.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(3600), self.read_to_end(&mut rest)).await;
        match ended.expect("the connection is never closed") {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
            _ => String::from_utf8_lossy(&rest).into_owned(),
        }
    }

    async fn websocket(&mut self) {
        let head = "GET /__realtime/quiet HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        self.write_all(head.as_bytes()).await.expect("it is read");
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            response.push(self.read_u8().await.expect("a response"));
        }
        assert!(response.starts_with(b"HTTP/1.1 101 "), "{}", response.escape_ascii());
    }

    async fn frame(&mut self) -> Option<Frame> {
        let mut bytes = Vec::new();
        loop {
            if let Some(frame) = Frame::take(&mut bytes) {
                return Some(frame);
            }
            bytes.push(self.read_u8().await.ok()?);
        }
    }
}

impl std::ops::Deref for Client {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.0
    }
}

impl std::ops::DerefMut for Client {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.0
    }
}
