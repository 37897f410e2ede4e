//! The mains as processes that receive SIGINT and SIGTERM.
#![cfg(unix)]

use adapter_testing::TestFrame;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Containers send SIGTERM. Half a request does not delay the shutdown.
fn ends_by_sigterm(main: &str) {
    let mut server = Server::start(main);
    let (mut first, mut second) = (server.websocket(), server.websocket());
    let mut half = server.connect();
    half.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").expect("the server reads");
    server.signal("TERM");
    for client in [&mut first, &mut second] {
        let close = frame(client).as_close();
        assert_eq!(close.map(|(code, _)| code), Some(1001));
        client.write_all(&TestFrame::close(1001, "").to_bytes()).expect("the server reads");
    }
    let (status, took) = server.ended();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// A second signal ends the main at once, without waiting for a client that does not answer.
fn ends_at_once_by_a_second_sigint(main: &str) {
    let mut server = Server::start(main);
    let mut client = server.websocket();
    server.signal("INT");
    assert!(frame(&mut client).as_close().is_some());
    server.signal("INT");
    let (status, took) = server.ended();
    assert!(status.success(), "{status}");
    // The closing handshake has five seconds.
    assert!(took < Duration::from_secs(4), "{took:?}");
}

macro_rules! mains {
    ($($name:ident: $main:literal,)*) => {$(
        mod $name {
            #[test]
            fn ends_by_sigterm() {
                super::ends_by_sigterm(env!(concat!("CARGO_BIN_EXE_", $main)));
            }

            #[test]
            fn ends_at_once_by_a_second_sigint() {
                super::ends_at_once_by_a_second_sigint(env!(concat!("CARGO_BIN_EXE_", $main)));
            }
        }
    )*};
}

mains! {
    axum: "echo-axum",
    actix: "echo-actix",
    hyper: "echo-hyper",
    smol: "echo-smol",
    async_std: "echo-async-std",
}

struct Server {
    process: Child,
    port: u16,
    signalled: Option<Instant>,
}

impl Server {
    fn start(main: &str) -> Self {
        loop {
            // The port is free now. If another process takes it first, the main exits.
            let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
            let port = port.expect("a free port").port();
            let mut process = Command::new(main);
            process.env("PORT", port.to_string()).stdout(Stdio::piped());
            let process = process.spawn().expect("the main starts");
            let mut server = Self { process, port, signalled: None };
            let started = Instant::now();
            while server.process.try_wait().expect("a child").is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return server;
                }
                assert!(started.elapsed() < PATIENCE, "{main} does not listen");
                thread::yield_now();
            }
        }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        client
    }

    fn websocket(&self) -> TcpStream {
        let mut client = self.connect();
        let head = "GET /__realtime/echo HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client.write_all(head.as_bytes()).expect("it is read");
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            response.push(byte(&mut client));
        }
        assert!(response.starts_with(b"HTTP/1.1 101 "), "{}", response.escape_ascii());
        client
    }

    fn signal(&mut self, name: &str) {
        let mut kill = Command::new("kill");
        let sent = kill.args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(sent.expect("`kill` runs").success());
        self.signalled = Some(Instant::now());
    }

    /// Returns the exit status, and the time that the exit took.
    fn ended(&mut self) -> (ExitStatus, Duration) {
        let signalled = self.signalled.expect("it was told to end");
        let mut output = self.process.stdout.take().expect("a pipe");
        let (ends, ended) = channel();
        // The output ends when the process does.
        thread::spawn(move || ends.send(output.read_to_end(&mut Vec::new())));
        let output = ended.recv_timeout(PATIENCE).expect("it still runs");
        output.expect("it is read");
        (self.process.wait().expect("a child"), signalled.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
