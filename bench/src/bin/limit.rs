//! Measures the limit of the kernel for one thread: epoll, and nothing else.
//!
//! This is not a usable server: it has no runtime, does not check UTF-8, and supports neither fragments nor limits.
//! `/echo` answers all messages of one read with one write; `/chat` builds a frame once and writes it to every member.
//! With `BATCH=1` all frames of one turn of the loop go to each member in one write.

use bench::{Outcome, process};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::{
    env,
    io::{ErrorKind, Read, Write},
    mem,
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const READ: usize = 64 * 1024;
/// The listener's number among those of the clients.
const LISTENER: u64 = u64::MAX;

fn main() -> Outcome {
    process::prepare()?;
    Server::new(bench::listen()?)?.run()
}

struct Server {
    listener: TcpListener,
    epoll: OwnedFd,
    clients: Vec<Option<Client>>,
    /// Free indexes of `clients`.
    free: Vec<usize>,
    members: Vec<usize>,
    /// Frames for all members, written at the end of the turn.
    batch: Option<Vec<u8>>,
}

struct Client {
    stream: TcpStream,
    role: Role,
    /// The start of an incomplete frame or request.
    unread: Vec<u8>,
    /// Bytes that did not fit into the socket.
    unsent: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Request,
    Echo,
    /// A member of the chat, with its index in `members`.
    Chat(usize),
}

impl Server {
    fn new(listener: TcpListener) -> Outcome<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let batch = env::var("BATCH").is_ok_and(|value| value == "1").then(Vec::new);
        Ok(Self { listener, epoll, clients: Vec::new(), free: Vec::new(), members: Vec::new(), batch })
    }

    fn run(&mut self) -> Outcome {
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        let mut buffers = Buffers { input: vec![0; READ], output: Vec::new() };
        loop {
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    index => self.turn(index as usize, event.flags, &mut buffers),
                }
            }
            self.publish_batch();
        }
    }

    fn accept(&mut self) -> Outcome {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let index = self.free.pop().unwrap_or(self.clients.len());
            epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            let client = Client { stream, role: Role::Request, unread: Vec::new(), unsent: Vec::new() };
            if index == self.clients.len() {
                self.clients.push(Some(client));
            } else {
                self.clients[index] = Some(client);
            }
        }
    }

    fn turn(&mut self, index: usize, flags: EventFlags, buffers: &mut Buffers) {
        let Some(client) = &mut self.clients[index] else {
            return;
        };
        if flags.contains(EventFlags::OUT) {
            client.flush(&self.epoll, index);
        }
        if flags != EventFlags::OUT && self.read(index, buffers).is_none() {
            self.leave(index);
        }
    }

    /// Reads once and answers. Returns `None` if the client is to be dropped.
    fn read(&mut self, index: usize, buffers: &mut Buffers) -> Option<()> {
        let client = self.clients[index].as_mut()?;
        let length = match client.stream.read(&mut buffers.input) {
            Ok(0) => return None,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
            Err(_) => return None,
        };
        let mut whole;
        let mut bytes = &mut buffers.input[..length];
        if !client.unread.is_empty() {
            whole = mem::take(&mut client.unread);
            whole.extend_from_slice(bytes);
            bytes = &mut whole;
        }
        let mut start = 0;
        if client.role == Role::Request {
            start = self.upgrade(index, bytes)?;
        }
        buffers.output.clear();
        let end = self.answer(index, &mut bytes[start..], &mut buffers.output)? + start;
        let client = self.clients[index].as_mut()?;
        if !buffers.output.is_empty() {
            client.send(&self.epoll, index, &buffers.output);
        }
        client.unread.extend_from_slice(&bytes[end..]);
        Some(())
    }

    /// Answers the request, if it is complete, and returns its length.
    fn upgrade(&mut self, index: usize, bytes: &[u8]) -> Option<usize> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Some(0);
        };
        let head = str::from_utf8(&bytes[..end]).ok()?;
        let headers = head.lines().filter_map(|line| line.split_once(": "));
        let key = headers.clone().find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?.1;
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        let client = self.clients[index].as_mut()?;
        client.role = Role::Echo;
        if head.starts_with("GET /chat ") {
            client.role = Role::Chat(self.members.len());
            self.members.push(index);
        }
        client.send(&self.epoll, index, response.as_bytes());
        Some(end + 4)
    }

    /// Handles all complete frames. Returns the end of the last one, or `None` after a close.
    fn answer(&mut self, index: usize, bytes: &mut [u8], output: &mut Vec<u8>) -> Option<usize> {
        let role = self.clients[index].as_ref()?.role;
        if role == Role::Request {
            return Some(0);
        }
        let mut end = 0;
        while let Some(frame) = Frame::first(&mut bytes[end..]) {
            end += frame.length;
            match (frame.opcode, role) {
                (0x8, _) => {
                    append_frame(0x8, frame.payload, output);
                    self.clients[index].as_mut()?.send(&self.epoll, index, output);
                    return None;
                }
                (0x9, _) => append_frame(0xa, frame.payload, output),
                (0xa, _) => {}
                (opcode, Role::Chat(_)) => self.publish(opcode, frame.payload),
                (opcode, _) => append_frame(opcode, frame.payload, output),
            }
        }
        Some(end)
    }

    fn publish(&mut self, opcode: u8, payload: &[u8]) {
        if let Some(batch) = &mut self.batch {
            return append_frame(opcode, payload, batch);
        }
        let mut frame = Vec::with_capacity(payload.len() + 10);
        append_frame(opcode, payload, &mut frame);
        self.send_to_all(&frame);
    }

    fn publish_batch(&mut self) {
        let Some(mut batch) = self.batch.take() else {
            return;
        };
        if !batch.is_empty() {
            self.send_to_all(&batch);
            batch.clear();
        }
        self.batch = Some(batch);
    }

    fn send_to_all(&mut self, frames: &[u8]) {
        for &member in &self.members {
            if let Some(client) = &mut self.clients[member] {
                client.send(&self.epoll, member, frames);
            }
        }
    }

    fn leave(&mut self, index: usize) {
        let Some(client) = self.clients[index].take() else {
            return;
        };
        self.free.push(index);
        let Role::Chat(place) = client.role else {
            return;
        };
        self.members.swap_remove(place);
        let moved = self.members.get(place).and_then(|&moved| self.clients[moved].as_mut());
        if let Some(moved) = moved {
            moved.role = Role::Chat(place);
        }
    }
}

struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Client {
    fn send(&mut self, epoll: &OwnedFd, index: usize, bytes: &[u8]) {
        let sent = match self.unsent.is_empty() {
            // The next read sees the error again, and handles it.
            true => self.stream.write(bytes).unwrap_or(0),
            false => 0,
        };
        if sent == bytes.len() {
            return;
        }
        if self.unsent.is_empty() {
            let flags = EventFlags::IN | EventFlags::OUT;
            let _ = epoll::modify(epoll, &self.stream, EventData::new_u64(index as u64), flags);
        }
        self.unsent.extend_from_slice(&bytes[sent..]);
    }

    fn flush(&mut self, epoll: &OwnedFd, index: usize) {
        if let Ok(sent) = self.stream.write(&self.unsent) {
            self.unsent.drain(..sent);
        }
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
            let _ = epoll::modify(epoll, &self.stream, EventData::new_u64(index as u64), EventFlags::IN);
        }
    }
}

struct Frame<'a> {
    opcode: u8,
    payload: &'a [u8],
    length: usize,
}

impl<'a> Frame<'a> {
    /// Returns the first frame, unmasked in place, if it is complete.
    fn first(bytes: &'a mut [u8]) -> Option<Self> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (header, payload): (usize, usize) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
            length => (2, usize::from(length)),
        };
        let length = payload.checked_add(header + 4)?;
        let (mask, payload) = bytes.get_mut(header..length)?.split_first_chunk_mut()?;
        unmask(payload, *mask);
        Some(Self { opcode: first & 0xf, payload, length })
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

fn append_frame(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    into.push(0x80 | opcode);
    match payload.len() {
        length @ 0..126 => into.push(length as u8),
        length @ 126..0x1_0000 => {
            into.push(126);
            into.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            into.push(127);
            into.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(payload);
}
