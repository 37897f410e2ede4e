//! The connections: sockets, epoll, the handshake, and the assembly of messages.

use crate::{
    frames::{Kind, Template, close_frame, first_frame, pong_frame, text_frame},
    options::Options,
};
use bench::Outcome;
use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    net::{AddressFamily, SocketType, bind, connect, socket, sockopt::set_socket_recv_buffer_size},
};
use std::{
    borrow::Cow,
    io::{ErrorKind, Read, Write},
    mem,
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// The size of a read: enough for a full pipeline.
const READ: usize = 256 * 1024;
/// The number of concurrent handshakes.
const OPENING: usize = 64;
/// The number of connections from one address: each has about 28 000 ports, and a port stays in use for a minute after
/// its connection.
const SOURCES: usize = 64;
/// The time limit for opening all connections.
const PATIENCE: Duration = Duration::from_secs(60);

/// The example of RFC 6455: one pair for all, so that nothing is computed.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(crate) struct Clients<'a> {
    options: &'a Options,
    epoll: OwnedFd,
    events: Vec<Event>,
    list: Vec<Client>,
    request: Request,
    hello: Option<Vec<u8>>,
    buffer: Vec<u8>,
    connects: usize,
    /// The receive buffer of the next connections, if it is not the kernel's default.
    receive_buffer: Option<usize>,
    /// The number of the server's heartbeats, by WebSocket or Engine.IO.
    pings: u64,
}

/// The request of the next connections.
struct Request {
    head: String,
    /// The messages to receive before a connection counts as open.
    replies: usize,
}

struct Client {
    stream: Option<TcpStream>,
    state: State,
    /// The messages to receive after the handshake.
    replies: usize,
    /// The number of its pings that were answered.
    pongs: usize,
    /// The close code from the server.
    code: Option<u16>,
    /// The start of an incomplete frame.
    unread: Vec<u8>,
    /// Bytes that did not fit into the socket.
    unsent: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Handshake,
    /// The number of messages to receive before the connection is open.
    Greeting(usize),
    Open,
    Closed,
}

impl<'a> Clients<'a> {
    pub(crate) fn new(options: &'a Options) -> Outcome<Self> {
        Ok(Self {
            options,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(1024),
            list: Vec::new(),
            request: Request::new(options, &options.path, options.replies),
            hello: options.hello.as_deref().map(text_frame),
            buffer: vec![0; READ],
            connects: 0,
            receive_buffer: None,
            pings: 0,
        })
    }

    /// Sets the request of the next connections; `{INDEX}` in the path is replaced by the connection's number.
    pub(crate) fn ask_for(&mut self, path: &str, replies: usize) {
        self.request = Request::new(self.options, path, replies);
    }

    /// Sets a small receive buffer for the next connections, so that a stalled client shows soon.
    pub(crate) fn take_little(&mut self, bytes: usize) {
        self.receive_buffer = Some(bytes);
    }

    /// Opens all connections, a few at a time, and waits until each is open.
    pub(crate) fn open_all(&mut self) -> Outcome {
        self.open(self.options.connections)
    }

    /// Opens `count` more connections, paced if they are to be spread over a time.
    pub(crate) fn open(&mut self, count: usize) -> Outcome {
        let begin = Instant::now();
        let first = self.list.len();
        let mut open = 0;
        while open < count {
            let due = first + count.min(open + OPENING).min(self.due(count, begin.elapsed()));
            while self.list.len() < due {
                self.connect(self.list.len())?;
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("{open} of {count} connections were open after a minute").into());
            }
            for index in self.wait()? {
                let before = self.state(index);
                self.receive(index, |_| ())?;
                match self.state(index) {
                    State::Open if before != State::Open => open += 1,
                    State::Closed => return Err("a connection was closed while it was opened".into()),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Returns the number of connections that may have been started after this time.
    fn due(&self, count: usize, elapsed: Duration) -> usize {
        let spread = self.options.spread.as_secs_f64();
        if spread == 0.0 { count } else { (count as f64 * elapsed.as_secs_f64() / spread) as usize }
    }

    /// Connects the client with this index, or reconnects it.
    pub(crate) fn connect(&mut self, index: usize) -> Outcome {
        let source = Ipv4Addr::new(127, 0, 1, (1 + self.connects % SOURCES) as u8);
        self.connects += 1;
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        if let Some(bytes) = self.receive_buffer {
            set_socket_recv_buffer_size(&socket, bytes)?;
        }
        bind(&socket, &SocketAddrV4::new(source, 0))?;
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.options.port))?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        let client = Client::new(stream, self.request.replies);
        if index == self.list.len() {
            self.list.push(client);
        } else {
            self.list[index] = client;
        }
        let request = self.request.of(index);
        self.list[index].send(&self.epoll, index, request.as_bytes());
        Ok(())
    }

    pub(crate) fn state(&self, index: usize) -> State {
        self.list[index].state
    }

    /// Returns the code of the server's close frame, if there was one.
    pub(crate) fn close_code(&self, index: usize) -> Option<u16> {
        self.list[index].code
    }

    /// Returns the number of answered pings since the last call.
    pub(crate) fn take_pongs(&mut self, index: usize) -> usize {
        mem::take(&mut self.list[index].pongs)
    }

    /// Returns the number of heartbeats from the server, over all clients.
    pub(crate) fn pings(&self) -> u64 {
        self.pings
    }

    /// Stops reading from this client: its data stays in the kernel.
    pub(crate) fn stall(&mut self, index: usize) -> Outcome {
        match &self.list[index].stream {
            Some(stream) => Ok(epoll::delete(&self.epoll, stream)?),
            None => Ok(()),
        }
    }

    /// Starts reading again.
    pub(crate) fn resume(&mut self, index: usize) -> Outcome {
        let data = EventData::new_u64(index as u64);
        match &self.list[index].stream {
            Some(stream) => Ok(epoll::add(&self.epoll, stream, data, EventFlags::IN)?),
            None => Ok(()),
        }
    }

    /// Returns the number of clients that are no longer open.
    pub(crate) fn closed(&self) -> usize {
        self.list.iter().filter(|client| client.state != State::Open).count()
    }

    /// Returns the clients with new data, or none after a tenth of a second.
    pub(crate) fn wait(&mut self) -> Outcome<Vec<usize>> {
        self.wait_for(Duration::from_millis(100))
    }

    /// Returns the clients with new data, or none after this time.
    pub(crate) fn wait_for(&mut self, time: Duration) -> Outcome<Vec<usize>> {
        let timeout = Timespec::try_from(time)?;
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| event.data.u64() as usize).collect())
    }

    pub(crate) fn send(&mut self, index: usize, bytes: &[u8]) {
        self.list[index].send(&self.epoll, index, bytes);
    }

    /// Sends the message with this number.
    pub(crate) fn send_message(&mut self, index: usize, template: &Template, number: u64) {
        let mut bytes = Vec::new();
        template.append(number, &mut bytes);
        self.send(index, &bytes);
    }

    /// Reads once, and calls `take` with each relevant reply.
    pub(crate) fn receive(&mut self, index: usize, take: impl FnMut(&[u8])) -> Outcome {
        let mut buffer = mem::take(&mut self.buffer);
        let received = self.receive_into(&mut buffer, index, take);
        self.buffer = buffer;
        received
    }

    fn receive_into(&mut self, buffer: &mut Vec<u8>, index: usize, mut take: impl FnMut(&[u8])) -> Outcome {
        let client = &mut self.list[index];
        client.flush(&self.epoll, index);
        let Some(end) = client.read(buffer) else {
            return Ok(());
        };
        let mut start = 0;
        if client.state == State::Handshake {
            let Some(length) = buffer[..end].windows(4).position(|window| window == b"\r\n\r\n") else {
                client.unread.extend_from_slice(&buffer[..end]);
                return Ok(());
            };
            check_response(&buffer[..length])?;
            start = length + 4;
            client.state = greeting(client.replies);
            if let Some(hello) = &self.hello {
                client.send(&self.epoll, index, hello);
            }
        }
        while let Some((kind, payload)) = first_frame(&buffer[start..end]) {
            let frame = &buffer[start..start + payload.end];
            start += payload.end;
            let payload = &frame[payload];
            match kind {
                Kind::Message if self.options.engine_io && payload == b"2" => {
                    self.pings += 1;
                    client.send(&self.epoll, index, &text_frame("3"));
                }
                Kind::Message => match client.state {
                    State::Greeting(left) => client.state = greeting(left - 1),
                    _ if payload.starts_with(self.options.prefix.as_bytes()) => take(payload),
                    _ => {}
                },
                Kind::Ping => {
                    self.pings += 1;
                    client.send(&self.epoll, index, &pong_frame(payload));
                }
                Kind::Pong => client.pongs += 1,
                Kind::Close => {
                    client.code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    if self.options.answer_close {
                        client.send(&self.epoll, index, &close_frame());
                    }
                    client.close();
                }
                Kind::Fragment => {}
            }
        }
        client.unread.extend_from_slice(&buffer[start..end]);
        Ok(())
    }
}

impl Client {
    fn new(stream: TcpStream, replies: usize) -> Self {
        Self {
            stream: Some(stream),
            state: State::Handshake,
            replies,
            pongs: 0,
            code: None,
            unread: Vec::new(),
            unsent: Vec::new(),
        }
    }

    fn send(&mut self, epoll: &OwnedFd, index: usize, bytes: &[u8]) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return;
        }
        let sent = match stream.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return self.close(),
        };
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
            self.interest(epoll, index, EventFlags::IN | EventFlags::OUT);
        }
    }

    fn flush(&mut self, epoll: &OwnedFd, index: usize) {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.unsent.is_empty()) else {
            return;
        };
        if let Ok(sent) = stream.write(&self.unsent) {
            self.unsent.drain(..sent);
        }
        if self.unsent.is_empty() {
            self.interest(epoll, index, EventFlags::IN);
        }
    }

    fn interest(&mut self, epoll: &OwnedFd, index: usize, flags: EventFlags) {
        let changed = self.stream.as_ref().map(|stream| {
            let data = EventData::new_u64(index as u64);
            epoll::modify(epoll, stream, data, flags)
        });
        if let Some(Err(_)) = changed {
            self.close();
        }
    }

    /// Appends to the unread bytes. Returns the end of the bytes, if there are new ones.
    fn read(&mut self, buffer: &mut Vec<u8>) -> Option<usize> {
        let kept = self.unread.len();
        if buffer.len() < kept + READ {
            buffer.resize(kept + READ, 0);
        }
        match self.stream.as_mut()?.read(&mut buffer[kept..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Ok(0) | Err(_) => {
                self.close();
                None
            }
            Ok(length) => {
                buffer[..kept].copy_from_slice(&self.unread);
                self.unread.clear();
                Some(kept + length)
            }
        }
    }

    fn close(&mut self) {
        self.stream = None;
        self.state = State::Closed;
    }
}

fn greeting(replies: usize) -> State {
    if replies == 0 { State::Open } else { State::Greeting(replies) }
}

impl Request {
    fn new(options: &Options, path: &str, replies: usize) -> Self {
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n",
            options.port
        );
        if let Some(subprotocol) = &options.subprotocol {
            head += &format!("Sec-WebSocket-Protocol: {subprotocol}\r\n");
        }
        Self { head: head + "\r\n", replies }
    }

    fn of(&self, index: usize) -> Cow<'_, str> {
        if !self.head.contains(INDEX) {
            return Cow::Borrowed(&self.head);
        }
        Cow::Owned(self.head.replace(INDEX, &index.to_string()))
    }
}

/// The placeholder for the connection's number in a path.
const INDEX: &str = "{INDEX}";

fn check_response(head: &[u8]) -> Outcome {
    let accepted = head.windows(ACCEPT.len()).any(|window| window == ACCEPT);
    if head.starts_with(b"HTTP/1.1 101 ") && accepted {
        return Ok(());
    }
    Err(format!("the handshake was refused: {}", String::from_utf8_lossy(head)).into())
}
