use crate::{Frame, TestServer, form::Form, pipe::Pipe};
use http::Response;
use realtime_core::{Handler, websocket::Opcode};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

/// A client in memory, typed by the handler that it is connected to.
///
/// It speaks JSON, or MessagePack where it was [offered](crate::TestRequest::subprotocol) and
/// chosen. It answers pings like any client, unless it was told to be silent. Dropping it cuts the
/// connection.
pub struct TestClient<H> {
    server: TestServer,
    peer: Arc<Mutex<Peer>>,
    response: Response<()>,
    form: Form,
    handler: PhantomData<fn() -> H>,
}

impl<H: Handler> TestClient<H> {
    pub(crate) fn new(server: TestServer, peer: Arc<Mutex<Peer>>, response: Response<()>) -> Self {
        let form = Form::of(&response);
        Self { server, peer, response, form, handler: PhantomData }
    }

    /// The response that accepted the upgrade.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Sends a message, and lets the server handle it.
    ///
    /// # Panics
    ///
    /// If it does not serialise.
    pub async fn send(&mut self, message: H::ClientMessage)
    where
        H::ClientMessage: Serialize,
    {
        let frame = self.form.message(message);
        self.send_frame(&frame).await;
    }

    /// The next message. A welcome that comes first is passed over.
    ///
    /// # Errors
    ///
    /// [`Ended::Error`] if the server sends an error instead, [`Ended::Closed`] if it closes, and
    /// [`Ended::Lost`] if the connection is cut.
    ///
    /// # Panics
    ///
    /// If what comes is not of the protocol or of the type.
    pub async fn recv(&mut self) -> Result<H::ServerMessage, Ended>
    where
        H::ServerMessage: DeserializeOwned,
    {
        loop {
            let frame = self.recv_frame().await.ok_or(Ended::Lost)?;
            if let Some(message) = self.read(&frame)? {
                return Ok(message);
            }
        }
    }

    /// The next message if there is one, after the server has done all that it can.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn try_recv(&mut self) -> Result<Option<H::ServerMessage>, Ended>
    where
        H::ServerMessage: DeserializeOwned,
    {
        self.server.settle().await;
        loop {
            let next = self.lock().frames.pop_front();
            let Some(frame) = next else { break };
            if let Some(message) = self.read(&frame)? {
                return Ok(Some(message));
            }
        }
        match self.lock().ended {
            true => Err(Ended::Lost),
            false => Ok(None),
        }
    }

    /// `None` for the welcome.
    fn read(&self, frame: &Frame) -> Result<Option<H::ServerMessage>, Ended>
    where
        H::ServerMessage: DeserializeOwned,
    {
        if let Some((code, reason)) = frame.as_close() {
            return Err(Ended::Closed { code, reason });
        }
        match &*self.parse::<Kind>(frame).kind {
            "message" => Ok(Some(self.parse::<Message<H::ServerMessage>>(frame).value)),
            "error" => Err(Ended::Error(self.parse::<Failure>(frame).error)),
            "welcome" => Ok(None),
            other => panic!("a frame of the type {other:?}"),
        }
    }

    fn parse<T: DeserializeOwned + 'static>(&self, frame: &Frame) -> T {
        self.form.read(frame).unwrap_or_else(|error| panic!("{error}: {}", frame.payload.escape_ascii()))
    }

    /// Sends a text message as it is.
    pub async fn send_text(&mut self, text: &str) {
        self.send_frame(&Frame::text(text)).await;
    }

    /// Sends one frame.
    pub async fn send_frame(&mut self, frame: &Frame) {
        self.send_bytes(&frame.to_bytes()).await;
    }

    /// Sends bytes as they are, and lets the server handle them.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.lock().pipe.send(bytes);
        self.server.settle().await;
    }

    /// The next frame; `None` when the connection has ended. Pings are answered and left out,
    /// unless the client is silent.
    pub async fn recv_frame(&mut self) -> Option<Frame> {
        poll_fn(|cx| {
            self.server.run(cx);
            let mut peer = self.lock();
            match peer.frames.pop_front() {
                Some(frame) => Poll::Ready(Some(frame)),
                None if peer.ended => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// The next frame if there is one, after the server has done all that it can.
    pub async fn try_frame(&mut self) -> Option<Frame> {
        self.server.settle().await;
        self.lock().frames.pop_front()
    }

    /// Closes, and waits for the server's answer; gives its code and reason. Messages that come
    /// first are dropped.
    pub async fn close(mut self, code: u16, reason: &str) -> Option<(u16, String)> {
        self.send_frame(&Frame::close(code, reason)).await;
        while let Some(frame) = self.recv_frame().await {
            if let Some(close) = frame.as_close() {
                return Some(close);
            }
        }
        None
    }

    /// Reads nothing from now on, as a client that hangs.
    pub fn stall(&mut self) {
        self.lock().stalled = true;
    }

    /// Answers no pings from now on, as a client that is gone without a word.
    pub fn silence(&mut self) {
        self.lock().silent = true;
    }

    fn lock(&self) -> MutexGuard<'_, Peer> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H> Drop for TestClient<H> {
    fn drop(&mut self) {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).pipe.end(true);
    }
}

impl<H> fmt::Debug for TestClient<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestClient")
    }
}

/// Why there was no message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The server sent an error; the session goes on.
    Error(ErrorFrame),
    /// The server closed.
    Closed {
        /// The close code; 1005 if there was none.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// The connection is gone, without a close frame or after it.
    Lost,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => write!(f, "{}: {}", error.code, error.message),
            Self::Closed { code, reason } => write!(f, "closed with {code}: {reason}"),
            Self::Lost => f.write_str("the connection is gone"),
        }
    }
}

impl std::error::Error for Ended {}

/// An error, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[non_exhaustive]
pub struct ErrorFrame {
    /// What kind of error it is.
    pub code: String,
    /// The text.
    pub message: String,
    /// Machine-readable details; null if there are none.
    #[serde(default)]
    pub details: serde_json::Value,
    /// Whether trying again may help.
    #[serde(default)]
    pub retryable: bool,
}

#[derive(serde::Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(serde::Deserialize)]
struct Message<T> {
    value: T,
}

#[derive(serde::Deserialize)]
struct Failure {
    error: ErrorFrame,
}

/// The client's side of a pipe.
#[derive(Debug)]
pub(crate) struct Peer {
    pipe: Arc<Pipe>,
    bytes: Vec<u8>,
    frames: VecDeque<Frame>,
    ended: bool,
    stalled: bool,
    silent: bool,
}

impl Peer {
    pub(crate) fn new(pipe: Arc<Pipe>) -> Self {
        Self { pipe, bytes: Vec::new(), frames: VecDeque::new(), ended: false, stalled: false, silent: false }
    }

    /// Takes what has come and answers pings; gives whether there was anything.
    pub(crate) fn pump(&mut self) -> bool {
        if self.stalled {
            return false;
        }
        let (bytes, ended) = self.pipe.take();
        let progress = !bytes.is_empty() || ended != self.ended;
        self.ended = ended;
        self.bytes.extend(bytes);
        while let Some(frame) = Frame::take(&mut self.bytes) {
            if frame.opcode == Opcode::Ping && !self.silent {
                self.pipe.send(&Frame::new(Opcode::Pong, frame.payload).to_bytes());
            } else {
                self.frames.push_back(frame);
            }
        }
        progress
    }
}
