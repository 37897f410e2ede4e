//! The deadlines of `serve` for idle clients and for its shutdown, on tokio's paused clock.
#![cfg(feature = "tokio")]

use adapter_testing::TestFrame;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::{self, Incoming},
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use realtime_core::{Connection, Endpoint, Handler, Procedure, Realtime, Result, websocket::Opcode};
use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::{JoinHandle, yield_now},
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
    go_by(70).await;
    assert!(client.get("/").await.ends_with("ok"), "it was there in time");
    client.write_all(b"GET / HT").await.expect("the connection is kept");
    assert_eq!(ended_after(&mut client).await, 10);
}

/// An HTTP/2 client that answers pings but sends no request.
#[tokio::test(start_paused = true)]
async fn an_http2_connection_without_requests_is_closed() {
    let server = Server::start().await;
    let (mut requests, connection) =
        h2::client::handshake(server.connect().await.0).await.expect("HTTP/2 is spoken");
    let ended = tokio::spawn(connection);
    let request = Request::get("http://x/").body(()).expect("a request");
    let (response, _) = requests.send_request(request, true).expect("a stream");
    assert_eq!(response.await.expect("a response").status(), 200);
    let (seconds, ended) = seconds_until(ended).await;
    ended.expect("no panic").expect("it ends without an error");
    assert_eq!(seconds, 75);
}

/// The open response stream would otherwise keep the connection.
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

/// An HTTP/2 connection that carries a WebSocket and no requests.
#[tokio::test(start_paused = true)]
async fn an_http2_connection_lives_as_long_as_its_websocket() {
    let server = Server::start().await;
    let (mut requests, connection) =
        h2::client::handshake(server.connect().await.0).await.expect("HTTP/2 is spoken");
    let ended = tokio::spawn(connection);
    while !requests.is_extended_connect_protocol_enabled() {
        requests = requests.ready().await.expect("the connection lives");
        yield_now().await;
    }
    let request = Request::connect("http://x/__realtime/quiet").header("sec-websocket-version", "13");
    let mut request = request.body(()).expect("a request");
    request.extensions_mut().insert(h2::ext::Protocol::from("websocket"));
    let (response, mut send) = requests.send_request(request, false).expect("a stream");
    let mut received = response.await.expect("a response").into_body();
    let talk = async {
        let mut bytes = Vec::new();
        for _ in 0..10 {
            while TestFrame::take(&mut bytes).is_none_or(|frame| frame.opcode != Opcode::Ping) {
                bytes.extend_from_slice(&next(&mut received).await);
            }
            send.send_data(TestFrame::new(Opcode::Pong, "").to_bytes().into(), false).expect("the stream is open");
        }
        send.send_data(TestFrame::close(1000, "").to_bytes().into(), false).expect("the stream is open");
        bytes.extend_from_slice(&next(&mut received).await);
        TestFrame::take(&mut bytes).and_then(|frame| frame.as_close())
    };
    let (seconds, close) = seconds_until(talk).await;
    assert_eq!(close, Some((1000, String::new())));
    // A ping after 25 seconds of silence each, or up to a quarter earlier.
    assert!((187..300).contains(&seconds), "{seconds}");
    drop((send, received));
    seconds_until(ended).await.1.expect("no panic").expect("it ends without an error");
}

async fn next(received: &mut h2::RecvStream) -> Bytes {
    let data = received.data().await.expect("the stream goes on").expect("data");
    received.flow_control().release_capacity(data.len()).expect("what was taken is given back");
    data
}

/// Not TLS: a handshake that waits for one byte.
#[tokio::test(start_paused = true)]
async fn a_handshake_comes_first_and_has_ten_seconds() {
    hold_clock();
    let (listener, realtime) = (listener(), Realtime::builder().build());
    let address = listener.local_addr().expect("an address");
    let server = adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime);
    let tls = |mut socket: TokioIo<TcpStream>| async move {
        let byte = socket.inner_mut().read_u8().await?;
        if byte == b'!' { Ok(socket) } else { Err(ErrorKind::InvalidData.into()) }
    };
    tokio::spawn(server.tls(tls).shutdown(pending()).into_future());
    let connect = async || Client(TcpStream::connect(address).await.expect("the server listens"));
    assert_eq!(ended_after(&mut connect().await).await, 10);
    let mut client = connect().await;
    client.write_all(b"?").await.expect("the server reads");
    assert_eq!(ended_after(&mut client).await, 0);
    let mut client = connect().await;
    client.write_all(b"!").await.expect("the server reads");
    assert!(client.get("/").await.starts_with("HTTP/1.1 404 "));
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
        go_by(30).await;
        // Until the server has room for more.
        let before = server.chunks.load(Relaxed);
        while server.chunks.load(Relaxed) == before {
            assert!(client.read(&mut buffer).await.expect("the connection lives") > 0);
        }
    }
    // From the last byte on that there was room for.
    assert!(server.body_dropped().await >= 60);
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

    server.shut_down();
    let close = seconds_until(session.frame()).await.1.and_then(|frame| frame.as_close());
    assert_eq!(close.map(|(code, _)| code), Some(1001));
    session.write_all(&TestFrame::close(1001, "").to_bytes()).await.expect("the server reads");
    assert_eq!(seconds_until(session.frame()).await, (0, None));
    assert_eq!(seconds_until(idle.rest()).await, (0, String::new()));
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is gone");
    server.gate.open.notify_one();
    let (_, response) = seconds_until(slow.rest()).await;
    assert!(response.contains("connection: close") && response.ends_with("done"), "{response}");
    assert_eq!(server.ended().await, 0);
}

/// Clients in the listener's backlog.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_to_be_accepted_is_answered() {
    const SEVEN: Procedure<(), u32> = Procedure::query("seven");
    let listener = listener();
    let address = listener.local_addr().expect("an address");
    let mut client = Client(TcpStream::connect(address).await.expect("the system accepts"));
    let request = b"GET /__realtime/api?path=seven HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(request).await.expect("the system takes it");
    let api = Endpoint::new(()).procedure(SEVEN, |_, ()| async { Ok(7) });
    let mut server = Server::start_on(listener, Realtime::builder().endpoint("api", api).build());
    server.shut_down();
    let (_, response) = seconds_until(client.rest()).await;
    assert!(response.ends_with(r#"{"ok":true,"data":7}"#), "{response}");
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
        go_by(0).await;
        server.shut_down();
        assert_eq!(server.ended().await, seconds, "{}", beginning.escape_ascii());
    }
}

/// A client that does not answer the close frame.
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
            // Longer than the drain.
            tokio::time::sleep(Duration::from_secs(2)).await;
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

/// Serves `/`, and paths whose responses do not end by themselves.
struct Server {
    address: SocketAddr,
    gate: Arc<Gate>,
    /// The chunks of `/endless` that were taken.
    chunks: Arc<AtomicUsize>,
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
        let chunks = Arc::<AtomicUsize>::default();
        let (routes, at_gate, taken) = (adapter_hyper::routes(&realtime), Arc::clone(&gate), Arc::clone(&chunks));
        let service = service_fn(move |request: Request<Incoming>| {
            let (routes, gate, drops) = (routes.clone(), Arc::clone(&at_gate), Arc::clone(&drops));
            let chunks = Arc::clone(&taken);
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
                        let drops = drops.lock().expect("no panic").take();
                        let endless = Endless { quiet: path == "/quiet", chunks, drops };
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
        hold_clock();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = adapter_hyper::serve(listener, service, &realtime).shutdown(async { drop(stopped.await) });
        let running = tokio::spawn(server.into_future());
        Self { address, gate, chunks, dropped: Some(dropped), stop: Some(stop), running }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.expect("the server listens"))
    }

    /// Returns the seconds until the body of `/endless` or `/quiet` is dropped.
    async fn body_dropped(&mut self) -> u64 {
        let dropped = self.dropped.take().expect("it is asked for once");
        seconds_until(dropped).await.0
    }

    fn shut_down(&mut self) {
        drop(self.stop.take());
    }

    /// Returns the seconds until `serve` returns.
    async fn ended(&mut self) -> u64 {
        let (seconds, ended) = seconds_until(&mut self.running).await;
        ended.expect("no panic").expect("no error");
        seconds
    }
}

struct Endless {
    quiet: bool,
    chunks: Arc<AtomicUsize>,
    drops: Option<oneshot::Sender<()>>,
}

impl futures_core::Stream for Endless {
    type Item = std::result::Result<body::Frame<Bytes>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.quiet {
            return Poll::Pending;
        }
        self.chunks.fetch_add(1, Relaxed);
        Poll::Ready(Some(Ok(body::Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        drop(self.drops.take());
    }
}

/// Returns the seconds until the server closes the connection.
async fn ended_after(client: &mut Client) -> u64 {
    seconds_until(client.rest()).await.0
}

/// Keeps tokio from advancing the paused clock when all tasks are idle: data may still be on its way through the
/// sockets.
fn hold_clock() {
    tokio::spawn(async {
        loop {
            std::thread::yield_now();
            yield_now().await;
        }
    });
}

/// Returns the seconds until `future` is ready. Before each second, data that is on its way has time to arrive.
async fn seconds_until<T>(future: impl Future<Output = T>) -> (u64, T) {
    let mut future = pin!(future);
    for seconds in 0..3600 {
        for _ in 0..ROUNDS {
            if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
                return (seconds, output);
            }
            yield_now().await;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    panic!("what is awaited will not come");
}

async fn go_by(seconds: u64) {
    for second in 0..=seconds {
        tokio::time::advance(Duration::from_secs(second.min(1))).await;
        for _ in 0..ROUNDS {
            yield_now().await;
        }
    }
}

/// The number of yields between two seconds. tokio polls its sockets on every 61st.
const ROUNDS: usize = 1000;

struct Client(TcpStream);

impl Client {
    async fn get(&mut self, path: &str) -> String {
        self.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.expect("it is read");
        let mut response = vec![0; 1024];
        let count = self.read(&mut response).await.expect("a response");
        String::from_utf8_lossy(&response[..count]).into_owned()
    }

    /// Reads until the end.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        match self.read_to_end(&mut rest).await {
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

    async fn frame(&mut self) -> Option<TestFrame> {
        let mut bytes = Vec::new();
        loop {
            if let Some(frame) = TestFrame::take(&mut bytes) {
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
