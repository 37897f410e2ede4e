//! A client: a socket that reads, or does not.

use crate::Outcome;
use realtime_client::Position;
use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::timeout,
};

/// The part that a client plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Healthy,
    Ticking,
    Own,
}

impl Kind {
    fn id(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Ticking => "ticking",
            Self::Own => "own",
        }
    }
}

/// The course of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    Load,
    /// The load is over, and so many messages were sent to each kind. Who did not read does so now.
    Over {
        news: u64,
        ticks: u64,
        own: u64,
    },
}

/// The messages and signs that a client has seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) received: u64,
    /// Messages that it was told it has missed.
    pub(crate) missed: u64,
    pub(crate) wanted: u64,
    pub(crate) pings: u64,
    pub(crate) close: Option<u16>,
    pub(crate) latencies_us: Vec<u32>,
}

/// The kernel's buffer of a client that may stall, small so that what waits does so in the server.
const RECEIVE_BUFFER: u32 = 16 * 1024;

/// The time after the load in which a client gives up what is missing.
const REST: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: TcpStream,
    kind: Kind,
    bytes: Vec<u8>,
    tally: Tally,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, kind: Kind) -> Outcome<Self> {
        let socket = TcpSocket::new_v4()?;
        if kind != Kind::Healthy {
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        Self::begin(socket.connect(address).await?, kind, kind.id()).await
    }

    /// Connects to an endpoint.
    pub(crate) async fn connect_to(address: SocketAddr, id: &str) -> Outcome<Self> {
        Self::begin(TcpStream::connect(address).await?, Kind::Ticking, id).await
    }

    async fn begin(stream: TcpStream, kind: Kind, id: &str) -> Outcome<Self> {
        stream.set_nodelay(true)?;
        let mut client = Self { stream, kind, bytes: Vec::new(), tally: Tally::default() };
        client.shake_hands(id).await?;
        Ok(client)
    }

    /// Subscribes behind a position, and reads so many entries.
    pub(crate) async fn resume(mut self, after: &Position, entries: u64) -> Outcome<Tally> {
        let subscribe = serde_json::json!({
            "type": "subscribe", "id": "1", "path": "changes", "input": 0, "shared": true, "after": after,
        });
        self.stream.write_all(&masked(&subscribe.to_string())?).await?;
        self.tally.wanted = entries;
        self.read_rest().await?;
        Ok(self.tally)
    }

    async fn shake_hands(&mut self, id: &str) -> Outcome {
        let request = format!(
            "GET /__realtime/{} HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: realtime.v1.json\r\n\r\n",
            id
        );
        self.stream.write_all(request.as_bytes()).await?;
        loop {
            if !self.read().await? {
                return Err("the server has ended the handshake".into());
            }
            if let Some(end) = self.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let is_accepted = self.bytes.starts_with(b"HTTP/1.1 101");
                self.bytes.drain(..end + 4);
                return if is_accepted { Ok(()) } else { Err("the server has refused a client".into()) };
            }
        }
    }

    /// Runs to the end. If it `stalls`, it reads nothing until the load is over.
    pub(crate) async fn run(mut self, stalls: bool, mut phase: watch::Receiver<Phase>) -> Outcome<Tally> {
        if !stalls {
            self.read_during(&mut phase).await?;
        }
        let over = *phase.wait_for(|phase| matches!(phase, Phase::Over { .. })).await?;
        if let Phase::Over { news, ticks, own } = over {
            self.tally.wanted = match self.kind {
                Kind::Healthy => news,
                Kind::Ticking => ticks,
                Kind::Own => own,
            };
        }
        // What is still missing then shows in the tally.
        let _ = timeout(REST, self.read_rest()).await;
        // A masked close with the code 1000; the server may be gone already.
        let _ = self.stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 232]).await;
        Ok(self.tally)
    }

    async fn read_rest(&mut self) -> Outcome {
        while self.tally.received + self.tally.missed < self.tally.wanted && self.tally.close.is_none() {
            if !self.read().await? {
                break;
            }
            self.handle().await?;
        }
        Ok(())
    }

    async fn read_during(&mut self, phase: &mut watch::Receiver<Phase>) -> Outcome {
        loop {
            tokio::select! {
                changed = phase.changed() => return Ok(changed?),
                read = self.read() => {
                    if !read? {
                        return Ok(());
                    }
                }
            }
            self.handle().await?;
            if self.tally.close.is_some() {
                return Ok(());
            }
        }
    }

    /// Reads what is there; false at the end.
    async fn read(&mut self) -> Outcome<bool> {
        self.bytes.reserve(4096);
        Ok(self.stream.read_buf(&mut self.bytes).await? > 0)
    }

    /// Handles the whole frames.
    async fn handle(&mut self) -> Outcome {
        let mut used = 0;
        let mut pings = 0;
        while let Some((opcode, payload)) = frame(&self.bytes[used..]) {
            let end = used + payload.end;
            let payload = &self.bytes[used + payload.start..end];
            match opcode {
                8 => self.tally.close = Some(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))),
                9 => pings += 1,
                _ => self.tally.note(payload, self.kind),
            }
            used = end;
        }
        self.bytes.drain(..used);
        self.tally.pings += pings;
        for _ in 0..pings {
            // A masked pong.
            self.stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await?;
        }
        Ok(())
    }
}

impl Tally {
    fn note(&mut self, packet: &[u8], kind: Kind) {
        if packet.starts_with(br#"{"type":"data""#) {
            self.received += 1;
        } else if packet.starts_with(br#"{"type":"message""#) {
            self.received += 1;
            if kind == Kind::Healthy {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
                self.latencies_us.extend(number(packet, b"\"at\":").map(|at| now.saturating_sub(at) as u32));
            }
        } else if packet.starts_with(br#"{"type":"gap""#) {
            self.missed += number(packet, b"\"count\":").unwrap_or(0);
        }
    }
}

/// Returns the frame of a text, with a mask of zero.
fn masked(text: &str) -> Outcome<Vec<u8>> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(length @ ..126) => frame.push(0x80 | length),
        _ => {
            frame.push(0xfe);
            frame.extend(u16::try_from(text.len())?.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.bytes());
    Ok(frame)
}

/// Returns the opcode of the first frame, and where its payload is, if all of it is there.
fn frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (start, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        length => (2, usize::from(*length)),
    };
    (bytes.len() >= start + length).then_some((first & 15, start..start + length))
}

/// Returns the number behind a name.
fn number(packet: &[u8], name: &[u8]) -> Option<u64> {
    let at = packet.windows(name.len()).position(|bytes| bytes == name)? + name.len();
    let digits = packet[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}
