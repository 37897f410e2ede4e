use super::{Command, Reply, Seen, Server, api_http::Notes};
use crate::TestFrame;
use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest, ext::Protocol};
use http::{Method, Request};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

/// Opens two sessions on one connection, and uses both.
pub(crate) fn two_sessions(server: &Server, seen: &Seen) {
    let address = server.address().expect("an adapter with HTTP/2 has an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let patience = Duration::from_secs(20);
    runtime.block_on(async { timeout(patience, run(address)).await.expect("an answer over HTTP/2 comes") });
    for _ in 0..2 {
        assert_eq!(seen.closed().code.get(), 1000);
    }
}

async fn run(address: std::net::SocketAddr) {
    let socket = TcpStream::connect(address).await.expect("the server listens");
    let (mut requests, connection) = h2::client::handshake(socket).await.expect("HTTP/2 is spoken");
    tokio::spawn(connection);
    while !requests.is_extended_connect_protocol_enabled() {
        // The server's first frame announces the support.
        requests = requests.ready().await.expect("the connection lives");
        tokio::task::yield_now().await;
    }
    let mut first = Stream::open(&mut requests, address, None).await;
    // Like a proxy that translates for an HTTP/1.1 client.
    let mut second = Stream::open(&mut requests, address, Some("dGhlIHNhbXBsZSBub25jZQ==")).await;
    for text in ["a", &"long ".repeat(20_000)] {
        first.echoes(text).await;
        second.echoes(text).await;
    }
    first.send(&TestFrame::close(1000, "")).await;
    assert_eq!(first.next().await.as_close(), Some((1000, String::new())));
    second.echoes("the other goes on").await;
    second.send(&TestFrame::close(1000, "")).await;
    assert_eq!(second.next().await.as_close(), Some((1000, String::new())));
}

struct Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    bytes: Vec<u8>,
}

impl Stream {
    async fn open(requests: &mut SendRequest<Bytes>, address: std::net::SocketAddr, key: Option<&str>) -> Self {
        let request = Request::builder().method(Method::CONNECT).uri(format!("http://{address}/__realtime/lab"));
        let request = request.header("sec-websocket-version", "13");
        let request = key.into_iter().fold(request, |request, key| request.header("sec-websocket-key", key));
        let mut request = request.body(()).expect("a request");
        request.extensions_mut().insert(Protocol::from("websocket"));
        let (response, send) = requests.send_request(request, false).expect("a stream");
        let response = response.await.expect("a response");
        assert_eq!(response.status(), 200);
        let accept = response.headers().get("sec-websocket-accept").map(|accept| accept.as_bytes().to_vec());
        assert_eq!(accept, key.map(|key| realtime_core::websocket::accept_key(key).into_bytes()));
        Self { send, recv: response.into_body(), bytes: Vec::new() }
    }

    async fn echoes(&mut self, text: &str) {
        let value = serde_json::json!({ "type": "message", "value": Command::Echo(text.into()) });
        self.send(&TestFrame::text(&value.to_string())).await;
        let expected = serde_json::json!({ "type": "message", "value": Reply::Text(text.into()) });
        assert!(
            self.next().await == TestFrame::text(&expected.to_string()),
            "{} bytes came back otherwise",
            text.len()
        );
    }

    async fn send(&mut self, frame: &TestFrame) {
        let mut bytes = Bytes::from(frame.to_bytes());
        while !bytes.is_empty() {
            self.send.reserve_capacity(bytes.len());
            let capacity = std::future::poll_fn(|cx| self.send.poll_capacity(cx)).await;
            let capacity = capacity.expect("the stream is open").expect("there will be room");
            let chunk = bytes.split_to(capacity.min(bytes.len()));
            self.send.send_data(chunk, false).expect("there is room");
        }
    }

    async fn next(&mut self) -> TestFrame {
        loop {
            if let Some(frame) = TestFrame::take(&mut self.bytes) {
                return frame;
            }
            let data = self.recv.data().await.expect("the stream goes on").expect("data");
            self.recv.flow_control().release_capacity(data.len()).expect("what was taken is given back");
            self.bytes.extend_from_slice(&data);
        }
    }
}

/// Makes calls beside two streams of events, and resets one of the streams.
pub(crate) fn calls_and_streams(server: &Server, notes: &Notes) {
    let address = server.address().expect("an adapter with HTTP/2 has an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let patience = Duration::from_secs(20);
    runtime.block_on(async {
        timeout(patience, use_streams(address, server, notes)).await.expect("an answer over HTTP/2 comes");
    });
}

async fn use_streams(address: std::net::SocketAddr, server: &Server, notes: &Notes) {
    let socket = TcpStream::connect(address).await.expect("the server listens");
    let (requests, connection) = h2::client::handshake(socket).await.expect("HTTP/2 is spoken");
    tokio::spawn(connection);
    let mut requests = requests.ready().await.expect("the connection lives");
    let mut ask = |query: &str, events: bool| {
        let request = Request::builder().uri(format!("http://{address}/__realtime/http?{query}"));
        let request = if events { request.header("accept", "text/event-stream") } else { request };
        let request = request.header("cookie", "a=1").header("cookie", "session=s");
        let (response, _) = requests.send_request(request.body(()).expect("a request"), true).expect("a stream");
        async { response.await.expect("a response") }
    };
    let quiet = ask("path=quiet", true).await;
    assert_eq!(quiet.status(), 200);
    assert_eq!(quiet.headers()["content-type"], "text/event-stream");
    let mut quiet = quiet.into_body();
    assert_eq!(next(&mut quiet).await, ":\n\n");
    let mut ticks = ask("path=ticks&input=1", true).await.into_body();
    let mut all = String::new();
    while !ticks.is_end_stream() {
        all += &next(&mut ticks).await;
    }
    assert_eq!(all, ":\n\nid: lab:1\nevent: tick\ndata: 1\n\nid: end\nevent: complete\ndata: null\n\n");
    notes.expect("left 1000");
    let seven = ask("path=seven", false).await;
    assert_eq!((seven.status().as_u16(), &*next(&mut seven.into_body()).await), (200, r#"{"ok":true,"data":7}"#));
    let cookies = next(&mut ask("path=cookies", false).await.into_body()).await;
    assert_eq!(cookies, r#"{"ok":true,"data":["a=1; session=s","s"]}"#);
    let refused = ask("path=refused", true).await;
    assert_eq!(refused.status(), 200);
    assert!(next(&mut refused.into_body()).await.starts_with("retry: "));
    assert_eq!(ask("path=nothing", true).await.status(), 404);
    (0..2).for_each(|_| notes.expect("left 1000"));
    assert_eq!(server.realtime().connections(), 1);
    // Dropping the last handle resets the stream.
    drop(quiet);
    tokio::task::yield_now().await;
    let seven = ask("path=seven", false).await;
    assert_eq!(seven.status(), 200);
    notes.expect("dropped quiet");
    notes.expect("left 1006");
}

async fn next(body: &mut RecvStream) -> String {
    let Some(data) = body.data().await else { return String::new() };
    let data = data.expect("data");
    body.flow_control().release_capacity(data.len()).expect("what was taken is given back");
    String::from_utf8_lossy(&data).into_owned()
}
