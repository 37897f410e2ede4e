use crate::{
    Ended, TestFrame, TestServer,
    pipe::Pipe,
    protocol::write,
    watch::{Frames, Watched},
};
use realtime_core::websocket::Opcode;
use realtime_protocol::client::{Format, Incoming, Outgoing, Payload};
use serde::Serialize;
use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

/// A client's end of its connection, shared with its calls and subscriptions.
#[derive(Clone)]
pub(crate) struct Wire {
    server: TestServer,
    peer: Arc<Mutex<Peer>>,
    format: Format,
}

impl Wire {
    pub(crate) fn new(server: TestServer, pipe: Arc<Pipe>, format: Format, watched: Option<Watched>) -> Self {
        let watched = watched.map(|watched| Frames::new(watched, format));
        let peer = Arc::new(Mutex::new(Peer::new(pipe, format, watched)));
        server.add(&peer);
        Self { server, peer, format }
    }

    /// Returns an id that this client has not used yet.
    pub(crate) fn next_id(&self) -> String {
        let mut peer = self.lock();
        peer.last_id += 1;
        peer.last_id.to_string()
    }

    /// Encodes a value in the format of this connection.
    ///
    /// # Panics
    ///
    /// If the value does not serialise.
    #[track_caller]
    pub(crate) fn write(&self, value: impl Serialize) -> Payload {
        write(self.format, &value)
    }

    /// Sends a frame of the protocol, and lets the server handle it.
    pub(crate) async fn send(&self, frame: Outgoing<'_>) {
        self.send_frame(&TestFrame::outgoing(self.format, &frame)).await;
    }

    /// Sends one frame, and lets the server handle it.
    pub(crate) async fn send_frame(&self, frame: &TestFrame) {
        self.lock().watched.iter_mut().for_each(|watched| watched.sent(frame));
        self.send_bytes(&frame.to_bytes()).await;
    }

    /// Sends raw bytes, and lets the server handle them.
    pub(crate) async fn send_bytes(&self, bytes: &[u8]) {
        self.lock().pipe.send(bytes);
        self.server.settle().await;
    }

    /// Waits for the first matching frame; those before it stay for others.
    pub(crate) async fn wait(&self, wanted: impl Fn(&Incoming) -> bool) -> Result<Incoming, Ended> {
        self.poll(|peer| peer.take(&wanted).transpose()).await
    }

    /// Returns the first matching frame if there is one, after running the server until it is idle.
    pub(crate) async fn look(&self, wanted: impl Fn(&Incoming) -> bool) -> Result<Option<Incoming>, Ended> {
        self.server.settle().await;
        self.lock().take(&wanted)
    }

    /// Waits for the first matching frame; returns `None` if a frame that matches `last` comes first, which stays.
    pub(crate) async fn wait_before(
        &self,
        wanted: impl Fn(&Incoming) -> bool,
        last: impl Fn(&Incoming) -> bool,
    ) -> Option<Incoming> {
        self.poll(|peer| match peer.take(&wanted) {
            Ok(None) => peer.has(&last).then_some(None),
            found => Some(found.ok().flatten()),
        })
        .await
    }

    /// Returns true if a matching frame waits, after running the server until it is idle.
    pub(crate) async fn has(&self, wanted: impl Fn(&Incoming) -> bool) -> bool {
        self.server.settle().await;
        self.lock().has(wanted)
    }

    /// Waits for the next frame.
    pub(crate) async fn wait_any(&self) -> Result<TestFrame, Ended> {
        self.poll(|peer| peer.take_any().transpose()).await
    }

    /// Returns the next frame if there is one, after running the server until it is idle.
    pub(crate) async fn look_any(&self) -> Result<Option<TestFrame>, Ended> {
        self.server.settle().await;
        self.lock().take_any()
    }

    pub(crate) fn stall(&self) {
        self.lock().stalled = true;
    }

    pub(crate) fn resume(&self) {
        self.lock().stalled = false;
    }

    pub(crate) fn silence(&self) {
        self.lock().silent = true;
    }

    pub(crate) fn cut(&self) {
        self.lock().pipe.end(true);
    }

    async fn poll<T>(&self, ready: impl Fn(&mut Peer) -> Option<T>) -> T {
        poll_fn(|cx| {
            self.server.run(cx);
            ready(&mut self.lock()).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Peer> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("format", &self.format).finish_non_exhaustive()
    }
}

/// The received frames of a client, and its behaviour.
#[derive(Debug)]
pub(crate) struct Peer {
    pipe: Arc<Pipe>,
    format: Format,
    bytes: Vec<u8>,
    frames: VecDeque<Arrived>,
    last_id: u64,
    ended: bool,
    stalled: bool,
    silent: bool,
    watched: Option<Frames>,
}

/// A received frame that is still unread.
#[derive(Debug)]
struct Arrived {
    /// The decoded frame, or the reason why it is invalid.
    incoming: Result<Incoming, String>,
    frame: TestFrame,
}

impl Peer {
    fn new(pipe: Arc<Pipe>, format: Format, watched: Option<Frames>) -> Self {
        Self {
            pipe,
            format,
            bytes: Vec::new(),
            frames: VecDeque::new(),
            last_id: 0,
            ended: false,
            stalled: false,
            silent: false,
            watched,
        }
    }

    /// Reads available bytes and answers pings. Returns true if there were any bytes.
    pub(crate) fn pump(&mut self) -> bool {
        if self.stalled {
            return false;
        }
        let (bytes, ended) = self.pipe.take();
        let progress = !bytes.is_empty() || ended != self.ended;
        self.ended = ended;
        self.bytes.extend(bytes);
        while let Some(frame) = TestFrame::take(&mut self.bytes) {
            if frame.opcode == Opcode::Ping && !self.silent {
                self.pipe.send(&TestFrame::new(Opcode::Pong, frame.payload).to_bytes());
            } else {
                self.watched.iter_mut().for_each(|watched| watched.came(&frame));
                self.frames.push_back(Arrived { incoming: frame.incoming(self.format), frame });
            }
        }
        progress
    }

    fn has(&self, wanted: impl Fn(&Incoming) -> bool) -> bool {
        self.frames.iter().any(|arrived| arrived.incoming.as_ref().is_ok_and(&wanted))
    }

    /// Takes the first frame.
    fn take_any(&mut self) -> Result<Option<TestFrame>, Ended> {
        match self.frames.pop_front() {
            None if self.ended => Err(Ended::Lost),
            arrived => Ok(arrived.map(|arrived| arrived.frame)),
        }
    }

    /// Takes the first matching frame. A welcome before it is skipped; a close stays, since it ends all waits.
    fn take(&mut self, wanted: impl Fn(&Incoming) -> bool) -> Result<Option<Incoming>, Ended> {
        let is_welcome = |arrived: &Arrived| matches!(arrived.incoming, Ok(Incoming::Welcome { .. }));
        if self.frames.front().is_some_and(is_welcome) {
            self.frames.pop_front();
        }
        for at in 0..self.frames.len() {
            let Arrived { incoming, frame } = &self.frames[at];
            if let Some((code, reason)) = frame.as_close() {
                return Err(Ended::Closed { code, reason });
            }
            let is_data = matches!(frame.opcode, Opcode::Text | Opcode::Binary | Opcode::Continuation);
            if let Err(wrong) = incoming
                && is_data
            {
                panic!("a frame that is not part of the protocol, {wrong}: {}", frame.payload.escape_ascii());
            }
            if incoming.as_ref().is_ok_and(&wanted)
                && let Some(Arrived { incoming: Ok(incoming), .. }) = self.frames.remove(at)
            {
                return Ok(Some(incoming));
            }
        }
        if self.ended { Err(Ended::Lost) } else { Ok(None) }
    }
}
