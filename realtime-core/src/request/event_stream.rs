//! The two halves of an event stream: the transport of its session, and the body that the framework pulls.

use crate::hub::ConnectionPermit;
use crate::protocol::{EVENT_ERROR, parse_event_error, write_retry};
use crate::seams::{SendQueue, Transport};
use crate::util::sync::{Mutex, MutexGuard};
use crate::websocket::{Frame, Opcode};
use realtime_protocol::{CloseCode, Error};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::Body;
use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The body of a response of server-sent events, which the framework pulls. Its session runs in a task of its own;
/// dropping the body tells it at once that the client is gone. Where the session is over before all was pulled, because
/// the client does not read, the body ends in an error: then the framework closes the socket, and does not wait for the
/// client to take what it still has.
///
/// It holds the connection's permit for as long as the framework holds the body.
#[must_use = "a body is sent by the framework"]
pub struct EventStream {
    shared: Arc<Shared>,
    _permit: Option<ConnectionPermit>,
}

impl EventStream {
    /// A body and the transport of the session that fills it. `preface` is sent before all else, once it is known
    /// that the client is served.
    pub(crate) fn new(preface: Vec<u8>, permit: ConnectionPermit) -> (Self, Pulled) {
        let shared = Arc::new(Shared(Mutex::new(State::new(Opening::Unknown(preface)))));
        (Self { shared: Arc::clone(&shared), _permit: Some(permit) }, Pulled(shared))
    }

    /// A body without a session: these bytes and the end.
    pub(crate) fn whole(bytes: BytesMut) -> Self {
        let state = State { bytes, flow: Flow::Ended, ..State::new(Opening::Opened) };
        Self { shared: Arc::new(Shared(Mutex::new(state))), _permit: None }
    }

    /// Ready when it is known whether the client is served; the error if it is not. Then nothing was sent.
    pub(crate) fn poll_opened(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.shared.lock();
        match &state.opening {
            Opening::Opened => Poll::Ready(Ok(())),
            Opening::Refused(error) => Poll::Ready(Err(error.copied())),
            Opening::Unknown(_) => {
                let replaced = register(&mut state.body, cx);
                drop(state);
                drop(replaced);
                Poll::Pending
            }
        }
    }

    fn poll_chunk(&self, cx: &Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut state = self.shared.lock();
        if state.bytes.is_empty() {
            if state.flow == Flow::Cut {
                state.flow = Flow::Ended;
                return Poll::Ready(Some(Err(ErrorKind::ConnectionAborted.into())));
            }
            if state.flow != Flow::Open {
                return Poll::Ready(None);
            }
            let replaced = register(&mut state.body, cx);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        let bytes = mem::take(&mut state.bytes).freeze();
        let session = state.handle_pull();
        drop(state);
        wake(session);
        Poll::Ready(Some(Ok(bytes)))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.flow = Flow::Dropped;
        state.bytes = BytesMut::new();
        let (session, body) = (state.session.take(), state.body.take());
        drop(state);
        wake(session);
        drop(body);
    }
}

impl Stream for EventStream {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx)
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        self.poll_chunk(cx).map(|chunk| chunk.map(|chunk| chunk.map(http_body::Frame::data)))
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}

#[derive(Debug)]
struct Shared(Mutex<State>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// What the two halves share.
#[derive(Debug)]
struct State {
    /// Waits to be pulled.
    bytes: BytesMut,
    opening: Opening,
    flow: Flow,
    life: Life,
    /// The session has more than may wait.
    full: bool,
    body: Option<Waker>,
    session: Option<Waker>,
}

/// Whether the client is served.
#[derive(Debug)]
enum Opening {
    /// Not known yet, with what it is sent first if it is.
    Unknown(Vec<u8>),
    Opened,
    Refused(Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// The session adds nothing to what waits.
    Closing,
    /// The session is over, and all that it sent was pulled.
    Ended,
    /// The session ended before that: what waited is gone.
    Cut,
    /// The framework has dropped the body.
    Dropped,
}

/// Whether the client reads: it took a comment that it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Unasked,
    Asked,
    Shown,
}

impl State {
    fn new(opening: Opening) -> Self {
        Self {
            bytes: BytesMut::new(),
            opening,
            flow: Flow::Open,
            life: Life::Unasked,
            full: false,
            body: None,
            session: None,
        }
    }

    /// Takes frames apart.
    fn handle_frames(&mut self, frames: &[u8]) {
        for (opcode, payload) in Frame::split(frames) {
            match opcode {
                CLOSE => self.handle_close(payload),
                PING => self.handle_ping(),
                ERROR if matches!(self.opening, Opening::Unknown(_)) => {
                    self.opening = Opening::Refused(parse_event_error(payload));
                }
                _ => self.add(payload),
            }
        }
    }

    fn add(&mut self, payload: &[u8]) {
        self.open();
        if let Opening::Opened = self.opening {
            self.bytes.extend_from_slice(payload);
        }
    }

    fn open(&mut self) {
        if let Opening::Unknown(preface) = &mut self.opening {
            self.bytes.extend_from_slice(&mem::take(preface));
            self.opening = Opening::Opened;
        }
    }

    /// A comment is a sign of life, and asks for one.
    fn handle_ping(&mut self) {
        if let Opening::Opened = self.opening {
            self.bytes.extend_from_slice(COMMENT);
            self.life = Life::Asked;
        }
    }

    fn handle_close(&mut self, payload: &[u8]) {
        let code = payload.first_chunk().and_then(|code| CloseCode::new(u16::from_be_bytes(*code)));
        if code == Some(CloseCode::INTERNAL) && matches!(self.opening, Opening::Unknown(_)) {
            // It is logged where it happened.
            self.opening = Opening::Refused(Error::internal("the stream failed before it opened"));
        }
        if code.is_some_and(|code| COMES_BACK.contains(&code)) {
            let mut field = Vec::new();
            write_retry(come_back_after(None), &mut field);
            field.push(b'\n');
            self.add(&field);
        }
        self.open();
        self.flow = Flow::Closing;
    }

    /// What waited was pulled; returns the session's waker if that matters to it.
    fn handle_pull(&mut self) -> Option<Waker> {
        let shown = self.life == Life::Asked;
        if shown {
            self.life = Life::Shown;
        }
        let matters = mem::take(&mut self.full) || shown || self.flow == Flow::Closing;
        if matters { self.session.take() } else { None }
    }
}

/// The session's half: it takes the frames apart, and has what they carry pulled.
#[derive(Debug)]
pub(crate) struct Pulled(Arc<Shared>);

/// What may wait to be pulled: as much as one write takes.
const PULLED_AHEAD: usize = 64 * 1024;

impl Transport for Pulled {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        // Nobody answers our close: it is the end once it is pulled.
        if state.flow == Flow::Dropped || (state.flow == Flow::Closing && state.bytes.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        if state.life == Life::Shown {
            state.life = Life::Unasked;
            buffer[..PONG.len()].copy_from_slice(PONG);
            return Poll::Ready(Ok(PONG.len()));
        }
        let replaced = register(&mut state.session, cx);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.flow == Flow::Dropped {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        while state.bytes.len() < PULLED_AHEAD {
            let Some(frames) = queue.pop() else { break };
            state.handle_frames(&frames);
        }
        state.full = !queue.is_empty();
        let replaced = register(&mut state.session, cx);
        let (full, closing, body) = (state.full, state.flow == Flow::Closing, state.body.take());
        drop(state);
        drop(replaced);
        wake(body);
        if closing {
            // Reading tells it.
            cx.waker().wake_by_ref();
        }
        if full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.flow == Flow::Open {
            state.flow = Flow::Closing;
        }
        let body = state.body.take();
        drop(state);
        wake(body);
        Poll::Ready(Ok(()))
    }
}

/// What is not pulled by now never is, as far as the session knows: it is freed, however long the framework keeps
/// the body.
impl Drop for Pulled {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let Opening::Unknown(_) = state.opening {
            state.opening = Opening::Refused(Error::unavailable("the server is going away"));
        }
        if state.flow != Flow::Dropped {
            let pulled = state.flow == Flow::Closing && state.bytes.is_empty();
            state.flow = if pulled { Flow::Ended } else { Flow::Cut };
            state.bytes = BytesMut::new();
        }
        let (body, session) = (state.body.take(), state.session.take());
        drop(state);
        wake(body);
        drop(session);
    }
}

/// When a client that is sent away is to come back: not before it may, and then somewhere in a span of time, so that
/// those who were sent away together do not come back together.
pub(crate) fn come_back_after(earliest: Option<Duration>) -> Duration {
    let earliest = earliest.unwrap_or(EARLIEST);
    let spread = u64::try_from(earliest.max(SPREAD).as_millis()).unwrap_or(u64::MAX);
    // Its keys are random.
    let random = RandomState::new().hash_one(spread);
    earliest.saturating_add(Duration::from_millis(random % spread))
}

/// As long as a restart takes at least, and as the refusals of a server that stops say.
const EARLIEST: Duration = Duration::from_secs(1);

/// With it, 10 000 clients come back at 2 500 a second, which a server that has just started can take.
const SPREAD: Duration = Duration::from_secs(4);

/// Closes after which a client shall come back.
const COMES_BACK: [CloseCode; 3] = [CloseCode::GOING_AWAY, CloseCode::RESTART, CloseCode::TRY_AGAIN_LATER];

const CLOSE: u8 = Opcode::Close as u8;
const PING: u8 = Opcode::Ping as u8;
const ERROR: u8 = EVENT_ERROR as u8;

const COMMENT: &[u8] = b":\n\n";

/// A client's pong, masked as its frames are: the comment was pulled.
const PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];

/// Gives back the waker that was there before: to be dropped without the lock, since a task may go with it.
#[must_use]
fn register(slot: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        _ => slot.replace(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::Frame;
    use realtime_protocol::Close;

    fn halves() -> (EventStream, Pulled) {
        let shared = Arc::new(Shared(Mutex::new(State::new(Opening::Unknown(b"first\n\n".to_vec())))));
        (EventStream { shared: Arc::clone(&shared), _permit: None }, Pulled(shared))
    }

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn send(transport: &mut Pulled, frames: &[Frame]) -> Poll<Result<(), ErrorKind>> {
        let mut queue = SendQueue::default();
        frames.iter().for_each(|frame| queue.push(frame.clone().into_bytes()));
        transport.poll_send(&mut cx(), &mut queue).map_err(|error| error.kind())
    }

    fn read(transport: &mut Pulled) -> Option<usize> {
        match transport.poll_read(&mut cx(), &mut [0; 64]) {
            Poll::Pending => None,
            Poll::Ready(read) => Some(read.unwrap()),
        }
    }

    fn pull(body: &EventStream) -> Poll<Option<Result<Bytes, ErrorKind>>> {
        body.poll_chunk(&cx()).map(|chunk| chunk.map(|chunk| chunk.map_err(|error| error.kind())))
    }

    fn text(text: &str) -> Frame {
        Frame::new(Opcode::Text, text.as_bytes())
    }

    #[test]
    fn a_body_that_is_dropped_before_its_first_poll_is_the_end() {
        let (body, mut transport) = halves();
        assert_eq!(read(&mut transport), None);
        drop(body);
        assert_eq!(read(&mut transport), Some(0));
        assert_eq!(send(&mut transport, &[text("a")]), Poll::Ready(Err(ErrorKind::BrokenPipe)));
    }

    #[test]
    fn an_end_is_told_when_the_rest_was_pulled() {
        let (body, mut transport) = halves();
        assert!(body.poll_opened(&cx()).is_pending());
        let close = Frame::close(&Close::by_server(CloseCode::NORMAL, ""));
        assert!(send(&mut transport, &[text("a"), close]).is_ready());
        assert!(matches!(body.poll_opened(&cx()), Poll::Ready(Ok(()))));
        assert_eq!(read(&mut transport), None);
        assert_eq!(pull(&body), Poll::Ready(Some(Ok(Bytes::from_static(b"first\n\na")))));
        assert_eq!(read(&mut transport), Some(0));
        assert_eq!(pull(&body), Poll::Ready(None));
    }

    #[test]
    fn a_comment_that_was_pulled_is_a_sign_of_life() {
        let (body, mut transport) = halves();
        assert!(send(&mut transport, &[text("a"), Frame::new(Opcode::Ping, b"")]).is_ready());
        assert_eq!(read(&mut transport), None);
        assert_eq!(pull(&body), Poll::Ready(Some(Ok(Bytes::from_static(b"first\n\na:\n\n")))));
        assert_eq!((read(&mut transport), read(&mut transport)), (Some(PONG.len()), None));
    }

    #[test]
    fn what_is_not_pulled_is_freed_with_the_session() {
        let (body, mut transport) = halves();
        let large = text(&"x".repeat(PULLED_AHEAD));
        assert!(send(&mut transport, &[large.clone(), large]).is_pending());
        drop(transport);
        assert_eq!(body.shared.lock().bytes.capacity(), 0);
        assert_eq!(pull(&body), Poll::Ready(Some(Err(ErrorKind::ConnectionAborted))));
        assert_eq!(pull(&body), Poll::Ready(None));
    }

    #[test]
    fn a_stream_that_closes_before_it_opens_is_refused_if_it_failed() {
        for (code, opens) in
            [(CloseCode::INTERNAL, false), (CloseCode::GOING_AWAY, true), (CloseCode::NORMAL, true)]
        {
            let (body, mut transport) = halves();
            assert!(send(&mut transport, &[Frame::close(&Close::by_server(code, ""))]).is_ready());
            let Poll::Ready(opened) = body.poll_opened(&cx()) else { panic!("it is known") };
            assert_eq!(opened.is_ok(), opens, "{code:?}");
        }
        let (body, transport) = halves();
        drop(transport);
        assert!(matches!(body.poll_opened(&cx()), Poll::Ready(Err(error)) if error.is_retryable()));
    }

    #[test]
    fn clients_come_back_in_their_time_and_not_together() {
        for (earliest, span) in [(None, 1000..5000), (Some(0), 0..4000), (Some(9000), 9000..18_000)] {
            let earliest = earliest.map(Duration::from_millis);
            let times: Vec<_> = (0..64).map(|_| come_back_after(earliest).as_millis()).collect();
            assert!(times.iter().all(|time| span.contains(time)), "{times:?}");
            assert!(times.iter().any(|time| *time != times[0]));
        }
        assert!(come_back_after(Some(Duration::MAX)) >= Duration::from_secs(1));
    }
}
