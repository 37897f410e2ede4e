use crate::{
    Ended, TestFrame, TestServer,
    form::Form,
    packet::{Head, Packet},
    pipe::Pipe,
};
use realtime_core::websocket::Opcode;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

/// A client's end of its connection, shared by the client and by what it has under way.
#[derive(Clone)]
pub(crate) struct Wire {
    server: TestServer,
    peer: Arc<Mutex<Peer>>,
    form: Form,
}

impl Wire {
    pub(crate) fn new(server: TestServer, pipe: Arc<Pipe>, form: Form) -> Self {
        let peer = Arc::new(Mutex::new(Peer::new(pipe, form)));
        server.add(&peer);
        Self { server, peer, form }
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// An id that no call or subscription of this client has had.
    pub(crate) fn next_id(&self) -> String {
        let mut peer = self.lock();
        peer.last_id += 1;
        peer.last_id.to_string()
    }

    pub(crate) async fn send<T: Serialize + Send + 'static>(&self, packet: Packet<T>) {
        let frame = self.form.packet(packet);
        self.send_bytes(&frame.to_bytes()).await;
    }

    /// Sends bytes as they are, and lets the server handle them.
    pub(crate) async fn send_bytes(&self, bytes: &[u8]) {
        self.lock().pipe.send(bytes);
        self.server.settle().await;
    }

    /// Waits for the first frame that is wanted; those before it stay for others.
    pub(crate) async fn wait(&self, wanted: impl Fn(&Head) -> bool) -> Result<(Head, TestFrame), Ended> {
        self.poll(|peer| peer.take(&wanted).transpose()).await
    }

    /// The first frame that is wanted if there is one, after the server has done all that it can.
    pub(crate) async fn look(&self, wanted: impl Fn(&Head) -> bool) -> Result<Option<(Head, TestFrame)>, Ended> {
        self.server.settle().await;
        self.lock().take(&wanted)
    }

    /// Waits for the first frame that is wanted; `None` if `last` comes before it, which stays.
    pub(crate) async fn wait_before(
        &self,
        wanted: impl Fn(&Head) -> bool,
        last: impl Fn(&Head) -> bool,
    ) -> Option<(Head, TestFrame)> {
        self.poll(|peer| match peer.take(&wanted) {
            Ok(None) => peer.has(&last).then_some(None),
            found => Some(found.ok().flatten()),
        })
        .await
    }

    /// Whether such a frame waits, after the server has done all that it can.
    pub(crate) async fn has(&self, wanted: impl Fn(&Head) -> bool) -> bool {
        self.server.settle().await;
        self.lock().has(wanted)
    }

    /// Waits for the next frame, whatever it is.
    pub(crate) async fn wait_any(&self) -> Result<TestFrame, Ended> {
        self.poll(|peer| peer.take_any().transpose()).await
    }

    /// The next frame if there is one, after the server has done all that it can.
    pub(crate) async fn look_any(&self) -> Result<Option<TestFrame>, Ended> {
        self.server.settle().await;
        self.lock().take_any()
    }

    /// Reads what a frame carries.
    ///
    /// # Panics
    ///
    /// If it is not of the type.
    pub(crate) fn parse<T: DeserializeOwned + 'static>(&self, frame: &TestFrame) -> T {
        self.form.read(frame).unwrap_or_else(|error| panic!("{error}: {}", frame.payload.escape_ascii()))
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
        f.debug_struct("Wire").field("form", &self.form).finish_non_exhaustive()
    }
}

/// What has come for a client, and how it behaves.
#[derive(Debug)]
pub(crate) struct Peer {
    pipe: Arc<Pipe>,
    form: Form,
    bytes: Vec<u8>,
    frames: VecDeque<Arrived>,
    last_id: u64,
    ended: bool,
    stalled: bool,
    silent: bool,
}

/// A frame that nobody has taken yet.
#[derive(Debug)]
struct Arrived {
    /// What it says of itself, where it is one of the protocol.
    head: Option<Head>,
    frame: TestFrame,
}

impl Peer {
    fn new(pipe: Arc<Pipe>, form: Form) -> Self {
        Self {
            pipe,
            form,
            bytes: Vec::new(),
            frames: VecDeque::new(),
            last_id: 0,
            ended: false,
            stalled: false,
            silent: false,
        }
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
        while let Some(frame) = TestFrame::take(&mut self.bytes) {
            if frame.opcode == Opcode::Ping && !self.silent {
                self.pipe.send(&TestFrame::new(Opcode::Pong, frame.payload).to_bytes());
            } else {
                self.frames.push_back(Arrived { head: self.form.head(&frame), frame });
            }
        }
        progress
    }

    fn has(&self, wanted: impl Fn(&Head) -> bool) -> bool {
        self.frames.iter().any(|arrived| arrived.head.as_ref().is_some_and(&wanted))
    }

    /// Takes the first frame.
    fn take_any(&mut self) -> Result<Option<TestFrame>, Ended> {
        match self.frames.pop_front() {
            None if self.ended => Err(Ended::Lost),
            arrived => Ok(arrived.map(|arrived| arrived.frame)),
        }
    }

    /// Takes the first frame that is wanted. A welcome before it is passed over; a close stays: it is the answer to
    /// all who wait.
    fn take(&mut self, wanted: impl Fn(&Head) -> bool) -> Result<Option<(Head, TestFrame)>, Ended> {
        let is_welcome = |arrived: &mut Arrived| arrived.head.as_ref().is_some_and(|head| head.is("welcome"));
        if self.frames.front_mut().is_some_and(is_welcome) {
            self.frames.pop_front();
        }
        for at in 0..self.frames.len() {
            let Arrived { head, frame } = &self.frames[at];
            if let Some((code, reason)) = frame.as_close() {
                return Err(Ended::Closed { code, reason });
            }
            let is_data = matches!(frame.opcode, Opcode::Text | Opcode::Binary | Opcode::Continuation);
            if head.is_none() && is_data {
                panic!("a frame that is not of the protocol: {}", frame.payload.escape_ascii());
            }
            if head.as_ref().is_some_and(&wanted)
                && let Some(Arrived { head: Some(head), frame }) = self.frames.remove(at)
            {
                return Ok(Some((head, frame)));
            }
        }
        if self.ended { Err(Ended::Lost) } else { Ok(None) }
    }
}
