use super::{
    client::{Received, Wire},
    exchange::Body,
    server::Host,
    stop::Stop,
};
use http::{Response, Version};
use realtime_core::Realtime;
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Serves a listener on the calling thread until the stop signal.
pub type ServeFn = fn(Realtime, TcpListener, Stop);

/// An adapter's server, with its own thread and port.
pub(crate) struct Tcp {
    address: SocketAddr,
    stop: Stop,
    _thread: JoinHandle<()>,
}

impl Tcp {
    pub(crate) fn start(realtime: Realtime, serve: ServeFn) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("the listener has an address");
        listener.set_nonblocking(true).expect("the listener can be made non-blocking");
        let stop = Stop::default();
        let stopped = stop.clone();
        let thread = thread::spawn(move || serve(realtime, listener, stopped));
        Self { address, stop, _thread: thread }
    }
}

impl Drop for Tcp {
    /// Does not join the thread: a framework may wait for connections that the case still holds.
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl Host for Tcp {
    fn request(&self, request: &http::Request<()>, early: &[u8]) -> (Response<()>, Box<dyn Wire>) {
        let mut socket = TcpStream::connect(self.address).expect("the server listens");
        socket.set_nodelay(true).expect("a socket option");
        socket.write_all(&[&head(request), early].concat()).expect("the server reads the request");
        let mut wire = TcpWire { socket, rest: Vec::new() };
        let mut bytes = Vec::new();
        loop {
            assert_eq!(wire.recv(&mut bytes, Duration::from_secs(10)), Received::Bytes, "no response: {bytes:?}");
            if let Some((response, used)) = parse(&bytes) {
                wire.rest = bytes.split_off(used);
                return (response, Box::new(wire));
            }
        }
    }

    fn begin(&self, request: &http::Request<()>, body: &Body) -> Box<dyn Wire> {
        let mut socket = TcpStream::connect(self.address).expect("the server listens");
        socket.set_nodelay(true).expect("a socket option");
        let mut bytes = head(request);
        match body {
            Body::None => {}
            Body::Whole(body) | Body::Unfinished(body) => bytes.extend_from_slice(body),
            Body::Chunks(chunks) => {
                for chunk in chunks {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        socket.write_all(&bytes).expect("the server reads the request");
        Box::new(TcpWire { socket, rest: Vec::new() })
    }

    fn address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }
}

fn head(request: &http::Request<()>) -> Vec<u8> {
    let version = if request.version() == Version::HTTP_10 { "1.0" } else { "1.1" };
    let mut head = format!("{} {} HTTP/{version}\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend_from_slice(b"\r\n");
    head
}

pub(super) fn parse(bytes: &[u8]) -> Option<(Response<()>, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(used) = response.parse(bytes).expect("an HTTP response") else { return None };
    let mut head = Response::builder().status(response.code?);
    for header in response.headers {
        head = head.header(header.name, header.value);
    }
    Some((head.body(()).expect("a valid head"), used))
}

struct TcpWire {
    socket: TcpStream,
    /// The bytes received together with the head of the response.
    rest: Vec<u8>,
}

impl Wire for TcpWire {
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    fn recv(&mut self, into: &mut Vec<u8>, patience: Duration) -> Received {
        if !self.rest.is_empty() {
            into.append(&mut self.rest);
            return Received::Bytes;
        }
        self.socket.set_read_timeout(Some(patience)).expect("a timeout above zero");
        let mut buffer = [0; 64 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(0) => Received::End,
            Ok(count) => {
                into.extend_from_slice(&buffer[..count]);
                Received::Bytes
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Received::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => Received::Nothing,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                Received::Reset
            }
        }
    }

    fn finish(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}
