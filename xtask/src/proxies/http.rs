//! A minimal HTTP/1.1 client for tests of proxies.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use crate::command::Outcome;

/// The address of clients: not that of the proxies, 127.0.0.1, so that the two can be told apart.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The `Host` that a browser sends for a page behind a proxy, with the port.
pub(super) const HOST: &str = "app.example.com:8443";
pub(super) const ORIGIN: &str = "https://app.example.com:8443";

/// Longer than a proxy takes for anything that does not wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A way to the server.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) port: u16,
    /// The prefix of the server's own paths.
    pub(super) prefix: &'static str,
}

/// A request to the probe; the path, the host and the body's length are added.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

impl Request<'_> {
    fn head(&self, prefix: &str) -> String {
        let Self { method, query, .. } = self;
        let mut head = format!("{method} {prefix}/__realtime/probe{query} HTTP/1.1\r\nHost: {HOST}\r\n");
        for (name, value) in self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.method == "POST" {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        head + "\r\n"
    }

    /// Sends the request over a new connection.
    pub(super) fn send(&self, way: Way) -> Outcome<TcpStream> {
        self.send_over(connect(way.port)?, way)
    }

    pub(super) fn send_over(&self, mut stream: TcpStream, way: Way) -> Outcome<TcpStream> {
        stream.write_all(self.head(way.prefix).as_bytes()).map_err(|error| format!("the request: {error}"))?;
        // The server may respond and close before the whole body is sent: only the response counts.
        let _ = stream.write_all(self.body);
        Ok(stream)
    }

    /// Sends the request and returns the status and the whole body.
    pub(super) fn answer(&self, way: Way) -> Outcome<(u16, String)> {
        whole(self.send(way)?)
    }
}

/// Requests a file by its whole path, as in the browser's address bar.
pub(super) fn fetch(port: u16, path: &str) -> Outcome<(u16, String)> {
    let mut stream = connect(port)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(head.as_bytes()).map_err(|error| format!("the request: {error}"))?;
    whole(stream)
}

/// Reads a response to its end.
pub(super) fn whole(stream: TcpStream) -> Outcome<(u16, String)> {
    let (head, mut body) = read(stream)?;
    let mut text = String::new();
    body.read_to_string(&mut text).map_err(|error| format!("the body of a {}: {error}", head.status))?;
    Ok((head.status, text))
}

fn connect(port: u16) -> Outcome<TcpStream> {
    let connect = || -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((CLIENT, 0)).into())?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    connect().map_err(|error| format!("cannot connect to port {port}: {error}"))
}

/// The status and headers of a response.
pub(super) struct Head {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Reads a response's head; the body is read on demand.
pub(super) fn read(stream: TcpStream) -> Outcome<(Head, BufReader<Body>)> {
    let mut stream = BufReader::new(stream);
    let status = line(&mut stream)?;
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut head = Head { status: code.ok_or(format!("{status:?} is not a status line"))?, headers: Vec::new() };
    loop {
        let line = line(&mut stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or(format!("{line:?} is not a header"))?;
        head.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let left = match head.header("content-length").map(str::parse) {
        Some(Ok(length)) => Left::Bytes(length),
        _ if head.header("transfer-encoding").is_some() => Left::Chunk(0),
        _ => Left::UntilTheEnd,
    };
    Ok((head, BufReader::new(Body { stream, left })))
}

fn line(stream: &mut impl BufRead) -> Outcome<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).map_err(|error| format!("the answer's head: {error}"))?;
    if read == 0 {
        return Err("the connection was closed without an answer".into());
    }
    Ok(line.trim_end().to_owned())
}

/// The body of a response.
pub(super) struct Body {
    stream: BufReader<TcpStream>,
    left: Left,
}

enum Left {
    Bytes(u64),
    /// The number of bytes left in the chunk.
    Chunk(u64),
    UntilTheEnd,
}

impl Body {
    pub(super) fn into_socket(self) -> TcpStream {
        self.stream.into_inner()
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Left::Chunk(0) = self.left {
            self.left = next_chunk(&mut self.stream)?;
        }
        let (Left::Bytes(left) | Left::Chunk(left)) = &mut self.left else { return self.stream.read(buffer) };
        let read = self.stream.by_ref().take(*left).read(buffer)?;
        if read == 0 && *left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *left -= read as u64;
        if *left == 0 && matches!(self.left, Left::Chunk(_)) {
            self.stream.read_line(&mut String::new())?;
        }
        Ok(read)
    }
}

fn next_chunk(stream: &mut impl BufRead) -> io::Result<Left> {
    let mut size = String::new();
    stream.read_line(&mut size)?;
    match u64::from_str_radix(size.trim(), 16) {
        Ok(0) => Ok(Left::Bytes(0)),
        Ok(size) => Ok(Left::Chunk(size)),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{size:?} is not a chunk size"))),
    }
}
