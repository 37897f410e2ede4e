//! The deadlines of `serve` for idle clients, and its shutdown.

use actix_web::{App, HttpResponse, HttpServer, web};
use adapter_testing::TestFrame;
use bytes::Bytes;
use futures_core::Stream;
use realtime_core::{Config, Connection, Handler, Realtime, Result};
use std::{
    convert::Infallible,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The system cuts the client: actix-web does not poll the body of a response whose socket is full.
#[cfg(target_os = "linux")]
#[test]
fn a_client_that_reads_nothing_is_cut() {
    let mut config = Config::default();
    config.idle_timeout = Duration::from_secs(1);
    let server = Server::start(Realtime::builder().config(config).handler("quiet", Quiet).build());
    let mut client = server.connect();
    client.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").expect("the server reads");
    server.dropped.recv_timeout(PATIENCE).expect("the connection is never cut");
}

#[test]
fn a_shutdown_closes_sessions_and_answers_what_came_before() {
    let server = Server::start(Realtime::builder().handler("quiet", Quiet).build());
    let mut session = server.connect();
    websocket(&mut session);
    let mut slow = server.connect();
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").expect("the server reads");
    server.begun.recv_timeout(PATIENCE).expect("the request arrives");
    server.shut_down();
    let close = frame(&mut session).as_close();
    assert_eq!(close.map(|(code, _)| code), Some(1001));
    session.write_all(&TestFrame::close(1001, "").to_bytes()).expect("the server reads");
    server.gate.open();
    assert!(rest(&mut slow).ends_with("done"));
    server.running.join().expect("no panic");
}

#[test]
fn a_shutdown_ends_though_clients_do_nothing() {
    let server = Server::start(Realtime::builder().handler("quiet", Quiet).build());
    let (mut head, mut stalled, mut session) = (server.connect(), server.connect(), server.connect());
    head.write_all(b"GET / HT").expect("the server reads");
    stalled.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").expect("the server reads");
    websocket(&mut session);
    let started = Instant::now();
    server.shut_down();
    server.running.join().expect("no panic");
    let took = started.elapsed();
    assert!(took >= DEADLINE && took < DEADLINE + Duration::from_secs(5), "{took:?}");
}

const DEADLINE: Duration = Duration::from_secs(2);

struct Quiet;

impl Handler for Quiet {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, _: &Connection<Self>, _: String) -> Result {
        Ok(())
    }
}

struct Server {
    address: SocketAddr,
    stop: Gate,
    gate: Gate,
    begun: Receiver<()>,
    dropped: Receiver<()>,
    running: JoinHandle<()>,
}

impl Server {
    fn start(realtime: Realtime) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (begins, begun) = channel();
        let (drops, dropped) = channel();
        let (stop, gate) = (Gate::default(), Gate::default());
        let (stopped, opened) = (stop.clone(), gate.clone());
        let running = thread::spawn(move || serve(realtime, listener, stopped, opened, begins, drops));
        Self { address, stop, gate, begun, dropped, running }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("the server listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        client
    }

    fn shut_down(&self) {
        self.stop.open();
    }
}

#[actix_web::main]
async fn serve(
    realtime: Realtime,
    listener: TcpListener,
    stop: Gate,
    gate: Gate,
    begins: Sender<()>,
    drops: Sender<()>,
) {
    let registry = realtime.clone();
    let app = move || {
        let (gate, begins, drops) = (gate.clone(), begins.clone(), drops.clone());
        let slow = move || {
            let _ = begins.send(());
            let gate = gate.clone();
            async move {
                gate.await;
                "done"
            }
        };
        let endless = move || {
            let endless = Endless(drops.clone());
            async move { HttpResponse::Ok().streaming(endless) }
        };
        let app = App::new().configure(adapter_actix::routes(&registry));
        app.route("/slow", web::to(slow)).route("/endless", web::to(endless))
    };
    let server = adapter_actix::configure(HttpServer::new(app).workers(1), &realtime).listen(listener);
    let server = adapter_actix::serve(server.expect("a listener"), &realtime).shutdown(stop).deadline(DEADLINE);
    server.await.expect("actix serves");
}

struct Endless(Sender<()>);

impl Stream for Endless {
    type Item = std::result::Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Ok(Bytes::from_static(&[b'x'; 1024]))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A future that is ready once the gate is open.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    fn open(&self) {
        let mut state = self.0.lock().expect("no panic");
        state.0 = true;
        state.1.drain(..).for_each(Waker::wake);
    }
}

impl Future for Gate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().expect("no panic");
        if state.0 {
            return Poll::Ready(());
        }
        state.1.push(cx.waker().clone());
        Poll::Pending
    }
}

fn websocket(client: &mut TcpStream) {
    let head = "GET /__realtime/quiet HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(head.as_bytes()).expect("it is read");
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(byte(client));
    }
    assert!(response.starts_with(b"HTTP/1.1 101 "), "{}", response.escape_ascii());
}

fn frame(client: &mut TcpStream) -> TestFrame {
    let mut bytes = Vec::new();
    loop {
        if let Some(frame) = TestFrame::take(&mut bytes) {
            return frame;
        }
        bytes.push(byte(client));
    }
}

fn byte(client: &mut TcpStream) -> u8 {
    let mut byte = [0];
    client.read_exact(&mut byte).expect("a byte");
    byte[0]
}

fn rest(client: &mut TcpStream) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).expect("the end");
    rest
}
