//! The mains as processes, with a certificate made for the test: each way to reach a handler over TLS.

use adapter_testing::TestFrame;
use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest, ext::Protocol};
use http::{Request, StatusCode};
use rcgen::CertifiedKey;
use realtime_client::Client;
use std::{env, fs, path::PathBuf, process::Stdio, sync::Arc, time::Duration};
use tls::GREET;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject},
};

const PATIENCE: Duration = Duration::from_secs(30);

macro_rules! mains {
    ($($name:ident: $main:literal, $over_http2:expr;)*) => {$(
        mod $name {
            use super::*;

            const MAIN: &str = env!(concat!("CARGO_BIN_EXE_", $main));

            #[tokio::test]
            async fn a_websocket_by_http1() {
                timeout(PATIENCE, websocket_by_http1(MAIN)).await.expect("it answers");
            }

            #[tokio::test]
            async fn a_missing_certificate_is_named() {
                timeout(PATIENCE, missing_certificate(MAIN)).await.expect("it ends");
            }

            #[tokio::test]
            async fn a_call_by_http2() {
                timeout(PATIENCE, call_by_http2(MAIN)).await.expect("it answers");
            }

            #[tokio::test]
            async fn a_websocket_by_http2() {
                timeout(PATIENCE, websocket_by_http2(MAIN, $over_http2)).await.expect("it answers");
            }
        }
    )*};
}

mains! {
    axum: "tls-axum", WebSocket::Offered;
    hyper: "tls-hyper", WebSocket::Offered;
    actix: "tls-actix", WebSocket::NotOffered;
}

/// Support of a main for WebSockets over HTTP/2.
#[derive(Clone, Copy, PartialEq)]
enum WebSocket {
    Offered,
    NotOffered,
}

/// The Rust client offers no protocol by ALPN.
async fn websocket_by_http1(main: &str) {
    let server = Server::start(main).await;
    let client = Client::builder(format!("wss://127.0.0.1:{}/__realtime/api", server.port));
    let client = client.root_certificates(&server.certificate).connect();
    assert_eq!(client.call(GREET, "Ann".into()).await.expect("an answer"), "Hello, Ann!");
    client.close().await;
    // A client that offers both protocols gets HTTP/2, one that offers only HTTP/1.1 gets that.
    assert_eq!(server.connect(&[b"h2", b"http/1.1"]).await.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(server.connect(&[b"http/1.1"]).await.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

async fn missing_certificate(main: &str) {
    let mut main = Command::new(main);
    let main = main.env("PORT", "0").env_remove("CERTIFICATE").env("KEY", "none.pem");
    let output = main.kill_on_drop(true).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("CERTIFICATE must be the path"), "{said}");
}

async fn call_by_http2(main: &str) {
    let server = Server::start(main).await;
    let mut requests = server.http2().await;
    let uri = format!("https://127.0.0.1:{}/__realtime/api?path=greet&input=%22Ann%22", server.port);
    let request = Request::get(uri).body(()).expect("a request");
    let (response, _) = requests.send_request(request, true).expect("a stream");
    let response = response.await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    let body = next(&mut response.into_body()).await;
    assert_eq!(body, r#"{"ok":true,"data":"Hello, Ann!"}"#);
}

/// By extended CONNECT (RFC 8441), as browsers do where the server's settings offer it.
async fn websocket_by_http2(main: &str, offered: WebSocket) {
    let server = Server::start(main).await;
    let mut requests = server.http2().await;
    // A response comes after the settings.
    let get = Request::get(format!("https://127.0.0.1:{}/", server.port)).body(()).expect("a request");
    let (response, _) = requests.send_request(get, true).expect("a stream");
    response.await.expect("a response");
    let offers = requests.is_extended_connect_protocol_enabled();
    assert_eq!(offers, offered == WebSocket::Offered);
    if !offers {
        return;
    }

    let uri = format!("https://127.0.0.1:{}/__realtime/api", server.port);
    let connect = Request::connect(uri).header("sec-websocket-version", "13");
    let mut connect = connect.header("sec-websocket-protocol", "realtime.v1.json").body(()).expect("a request");
    connect.extensions_mut().insert(Protocol::from("websocket"));
    let (response, mut send) = requests.send_request(connect, false).expect("a stream");
    let response = response.await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["sec-websocket-protocol"], "realtime.v1.json");

    let mut received = Received { stream: response.into_body(), bytes: Vec::new() };
    assert_eq!(received.packet().await["type"], "welcome");
    say(&mut send, &TestFrame::text(r#"{"type":"call","id":"1","path":"greet","input":"Ann"}"#));
    assert_eq!(received.packet().await["data"], "Hello, Ann!");
    say(&mut send, &TestFrame::close(1000, ""));
    assert_eq!(received.frame().await.as_close(), Some((1000, String::new())));
}

fn say(send: &mut SendStream<Bytes>, frame: &TestFrame) {
    send.send_data(frame.to_bytes().into(), false).expect("the stream is open");
}

struct Received {
    stream: RecvStream,
    bytes: Vec<u8>,
}

impl Received {
    async fn frame(&mut self) -> TestFrame {
        loop {
            if let Some(frame) = TestFrame::take(&mut self.bytes) {
                return frame;
            }
            self.bytes.extend_from_slice(&next(&mut self.stream).await);
        }
    }

    async fn packet(&mut self) -> serde_json::Value {
        serde_json::from_slice(&self.frame().await.payload).expect("JSON")
    }
}

async fn next(stream: &mut RecvStream) -> Bytes {
    let data = stream.data().await.expect("the stream goes on").expect("data");
    stream.flow_control().release_capacity(data.len()).expect("what was taken is given back");
    data
}

/// A running main. Dropping this ends it.
struct Server {
    _process: Child,
    port: u16,
    /// The certificate, as PEM.
    certificate: String,
    _files: Files,
}

impl Server {
    async fn start(main: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let files = Files::create(&cert.pem(), &signing_key.serialize_pem());
        let mut process = Command::new(main);
        process.env("PORT", "0").env("CERTIFICATE", files.path("certificate")).env("KEY", files.path("key"));
        let mut process = process.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the main starts");
        let mut said = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let url = said.next_line().await.expect("text").expect("it says where it is");
        let port = url
            .strip_prefix("A greeting is at https://127.0.0.1:")
            .and_then(|rest| rest.split('/').next()?.parse().ok());
        Self { _process: process, port: port.expect("a port"), certificate: cert.pem(), _files: files }
    }

    async fn connect(&self, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("it is trusted");
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.expect("the server listens");
        let name = "127.0.0.1".try_into().expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a handshake")
    }

    async fn http2(&self) -> SendRequest<Bytes> {
        let stream = self.connect(&[b"h2"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2 is spoken");
        tokio::spawn(connection);
        requests.ready().await.expect("the connection lives")
    }
}

/// The files of a certificate and its key. Dropping this removes them.
struct Files(PathBuf);

impl Files {
    fn create(certificate: &str, key: &str) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let files = Self(env::temp_dir().join(format!("tls-{}-{number}", std::process::id())));
        fs::create_dir(&files.0).expect("a folder");
        fs::write(files.path("certificate"), certificate).expect("a file");
        fs::write(files.path("key"), key).expect("a file");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pem"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_documentation_shows_what_is_tested() {
    let page = include_str!("../../../docs/deployment.md");
    for shown in [include_str!("../src/config.rs"), include_str!("../src/bin/tls-axum.rs")] {
        assert!(page.contains(&format!("\n```rust\n{shown}```\n")), "docs/deployment.md has another:\n{shown}");
    }
}
