//! A minimal WebSocket client for tests of proxies.

use std::{
    io::{BufReader, Read, Write},
    time::{Duration, Instant},
};

use super::http::{Body, ORIGIN, PATIENCE, Request, Way, read};
use crate::command::Outcome;

pub(super) struct WebSocket(BufReader<Body>);

/// A frame from the server.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    Text(String),
    Close(u16),
}

const SUBPROTOCOL: &str = "realtime.v1.json";

/// Returns the headers of a request for a WebSocket, from a page of the origin.
pub(super) fn headers(origin: &str) -> [(&'static str, &str); 6] {
    [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", SUBPROTOCOL),
        ("Origin", origin),
    ]
}

impl WebSocket {
    /// Connects, and reads the two greeting frames of the probe.
    pub(super) fn open(way: Way) -> Outcome<Self> {
        let request = Request { method: "GET", query: "", headers: &headers(ORIGIN), body: b"" };
        let (head, mut body) = read(request.send(way)?)?;
        if head.status != 101 {
            let mut text = String::new();
            let _ = body.read_to_string(&mut text);
            return Err(format!("the upgrade was answered by {}: {:.80}", head.status, text.trim()));
        }
        let subprotocol = head.header("sec-websocket-protocol");
        if subprotocol != Some(SUBPROTOCOL) {
            return Err(format!("the subprotocol is {subprotocol:?}"));
        }
        let mut opened = Self(body);
        opened.expect_text("welcome")?;
        opened.expect_text("hello")?;
        Ok(opened)
    }

    pub(super) fn say(&mut self, text: &str) -> Outcome {
        self.write(TEXT, text.as_bytes())
    }

    pub(super) fn close(&mut self, code: u16) -> Outcome {
        self.write(CLOSE, &code.to_be_bytes())
    }

    /// Returns the next text or close frame. Pings are answered.
    pub(super) fn next(&mut self) -> Outcome<Frame> {
        loop {
            let (opcode, payload) = self.read().map_err(|error| format!("reading a frame: {error}"))?;
            match opcode {
                TEXT => return Ok(Frame::Text(String::from_utf8_lossy(&payload).into_owned())),
                CLOSE => {
                    let code = payload.first_chunk().copied().map_or(1005, u16::from_be_bytes);
                    return Ok(Frame::Close(code));
                }
                PING => self.write(PONG, &payload)?,
                _ => return Err(format!("a frame of type {opcode}")),
            }
        }
    }

    pub(super) fn expect_text(&mut self, part: &str) -> Outcome {
        match self.next()? {
            Frame::Text(text) if text.contains(part) => Ok(()),
            other => Err(format!("expected {part:.20}, got {:.80}", format!("{other:?}"))),
        }
    }

    pub(super) fn expect_close(&mut self, code: u16) -> Outcome {
        match self.next()? {
            Frame::Close(got) if got == code => Ok(()),
            other => Err(format!("expected the close code {code}, got {other:?}")),
        }
    }

    /// Checks that nothing but pings arrives for this long.
    pub(super) fn rest(&mut self, time: Duration) -> Outcome {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.0.get_ref().socket().set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
            match self.read() {
                Ok((PING, payload)) => self.write(PONG, &payload)?,
                Ok((opcode, _)) => return Err(format!("a frame of type {opcode} while at rest")),
                Err(_) if Instant::now() >= end => break,
                Err(error) => return Err(format!("lost while at rest: {error}")),
            }
        }
        self.0.get_ref().socket().set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())
    }

    fn read(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.0.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            length => u64::from(length),
        };
        let mut payload = Vec::new();
        self.0.by_ref().take(length).read_to_end(&mut payload)?;
        Ok((head[0] & 0x0f, payload))
    }

    /// Masks with zeros: a real mask protects proxies that do not recognise a WebSocket, and these do.
    fn write(&mut self, opcode: u8, payload: &[u8]) -> Outcome {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ ..126 => frame.push(0x80 | length as u8),
            length @ ..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.0.get_ref().socket().write_all(&frame).map_err(|error| format!("sending a frame: {error}"))
    }
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
