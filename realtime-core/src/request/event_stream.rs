//! The two halves of an event stream: the transport of its session, and the body that the framework pulls.

use crate::{
    hub::{Ahead, ConnectionPermit},
    outbox::{Closing, Opening},
    protocol::{Events, Outgoing, Protocol as _, write_close, write_end, write_retry},
    seams::{SendQueue, Transport},
    session::Carrier,
    util::{
        register_waker,
        sync::{Mutex, MutexGuard},
        wake,
    },
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::Body;
use realtime_protocol::{Close, CloseCode, Code, Error};
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

/// The body of a server-sent events response, pulled by the framework. Its session runs in a task of its own.
///
/// Dropping the body tells the session at once that the client is gone. If the session ends before everything is
/// pulled, because the client does not read, the body ends in an error, so that the framework closes the socket instead
/// of waiting for the client to read the rest.
///
/// The body holds the connection's permit until the framework drops it.
#[must_use = "a body is sent by the framework"]
pub struct EventStream {
    shared: Arc<Shared>,
    _permit: Option<ConnectionPermit>,
}

impl EventStream {
    /// Creates a body and the transport of the session that fills it. `preface` is sent first, once it is known that
    /// the client is served.
    pub(super) fn new(
        content: Content,
        preface: Vec<u8>,
        opening: Arc<Opening>,
        permit: ConnectionPermit,
    ) -> (Self, Pulled) {
        let shared = Arc::new(Shared { opening, state: Mutex::new(State::new(preface)) });
        (Self { shared: Arc::clone(&shared), _permit: Some(permit) }, Pulled(shared, content))
    }

    /// Creates a body without a session: these bytes, then the end.
    pub(super) fn whole(bytes: BytesMut) -> Self {
        let state = State { bytes, flow: Flow::Ended, ..State::new(Vec::new()) };
        let shared = Shared { opening: Arc::new(Opening::opened()), state: Mutex::new(state) };
        Self { shared: Arc::new(shared), _permit: None }
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
            let replaced = register_waker(&mut state.body, cx);
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
struct Shared {
    opening: Arc<Opening>,
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// The state shared by the two halves.
#[derive(Debug)]
struct State {
    /// Bytes to be pulled.
    bytes: BytesMut,
    /// Sent before the first of them.
    preface: Vec<u8>,
    flow: Flow,
    life: Life,
    /// The session has more bytes than the limit allows.
    full: bool,
    body: Option<Waker>,
    session: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// The session adds nothing more.
    Closing,
    /// The session is over, and all its bytes were pulled.
    Ended,
    /// The session ended before all was pulled; the rest is dropped.
    Cut,
    /// The framework has dropped the body.
    Dropped,
}

/// The client's sign of life: a comment that was pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Unasked,
    Asked,
    Shown,
}

impl State {
    fn new(preface: Vec<u8>) -> Self {
        Self {
            bytes: BytesMut::new(),
            preface,
            flow: Flow::Open,
            life: Life::Unasked,
            full: false,
            body: None,
            session: None,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&mem::take(&mut self.preface));
        self.bytes.extend_from_slice(bytes);
    }

    /// Notes that all bytes were pulled; returns the session's waker if it has to know.
    fn handle_pull(&mut self) -> Option<Waker> {
        let shown = self.life == Life::Asked;
        if shown {
            self.life = Life::Shown;
        }
        let matters = mem::take(&mut self.full) || shown || self.flow == Flow::Closing;
        if matters { self.session.take() } else { None }
    }
}

/// The session's half: the transport whose bytes the framework pulls.
#[derive(Debug)]
pub(super) struct Pulled(Arc<Shared>, Content);

/// The content of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The messages of a handler.
    Messages,
    /// One subscription, whose last event says that it is the last.
    Subscription,
    /// Frames, for a program that knows when to come back.
    Frames,
}

impl Content {
    fn form(self) -> Events {
        match self {
            Self::Messages | Self::Subscription => Events::Values,
            Self::Frames => Events::Frames,
        }
    }
}

impl Pulled {
    /// Returns the bytes that are not pulled, to be dropped.
    pub(super) fn ahead(&self) -> Arc<dyn Ahead> {
        Arc::clone(&self.0) as Arc<dyn Ahead>
    }
}

impl Ahead for Shared {
    fn discard(&self) -> Option<Waker> {
        let mut state = self.lock();
        let bytes = mem::take(&mut state.bytes);
        let session = state.handle_pull();
        drop(state);
        drop(bytes);
        session
    }
}

/// Bytes that may wait to be pulled: as much as one write takes.
const PULLED_AHEAD: usize = 64 * 1024;

impl Transport for Pulled {
    fn poll_read(&mut self, cx: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        // The client does not answer a close: the stream ends once everything is pulled.
        if state.flow == Flow::Dropped || (state.flow == Flow::Closing && state.bytes.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let replaced = register_waker(&mut state.session, cx);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        // Without the lock: it wakes the request's future, which may be dropped by that, with the body.
        let is_opened = !queue.is_empty() && self.0.opening.open();
        let mut state = self.0.lock();
        if state.flow == Flow::Dropped {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        while state.bytes.len() < PULLED_AHEAD {
            let Some(events) = queue.pop() else { break };
            // A client that was refused is sent nothing.
            if is_opened {
                state.add(&events);
            }
        }
        state.full = !queue.is_empty();
        let replaced = register_waker(&mut state.session, cx);
        let (full, body) = (state.full, state.body.take());
        drop(state);
        drop(replaced);
        wake(body);
        if full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_opened = self.0.opening.open();
        let mut state = self.0.lock();
        if state.flow != Flow::Open {
            return Poll::Ready(Ok(()));
        }
        if is_opened {
            state.add(b"");
        }
        state.flow = Flow::Closing;
        let body = state.body.take();
        drop(state);
        wake(body);
        // `poll_read` reports the end once everything is pulled, which may be the case already.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }
}

impl Carrier for Pulled {
    const IS_CLOSE_ANSWERED: bool = false;

    /// Sends a comment. It shows life on our side, and on the client's once it is pulled.
    fn push_ping(&mut self, queue: &mut SendQueue) {
        // Before it is known whether the client is served, a comment would answer that.
        if self.0.opening.is_opened() {
            queue.push_ping(Bytes::from_static(COMMENT));
            self.0.lock().life = Life::Asked;
        }
    }

    fn push_close(&mut self, close: &Close, _: Closing, queue: &mut SendQueue) {
        if close.code == CloseCode::UNAUTHORIZED {
            let error = Error::new(Code::UNAUTHENTICATED, close.reason.clone()).with_retry();
            let mut event = Vec::new();
            if self.1.form().encode(&Outgoing::Error { id: None, error: &error }, &mut event).is_ok() {
                queue.push(event.into());
            }
        }
        if self.1 == Content::Frames {
            let mut frame = Vec::new();
            if write_close(close, &mut frame).is_ok() {
                queue.push(frame.into());
            }
        }
        if COMES_BACK.contains(&close.code) {
            let mut field = Vec::new();
            write_retry(come_back_after(None), &mut field);
            field.push(b'\n');
            queue.push(field.into());
        }
        if self.1 == Content::Messages && IS_OVER.contains(&close.code) {
            let mut event = Vec::new();
            write_end(&mut event);
            event.push(b'\n');
            queue.push(event.into());
        }
    }

    fn takes_life(&mut self) -> bool {
        let mut state = self.0.lock();
        let shown = state.life == Life::Shown;
        if shown {
            state.life = Life::Unasked;
        }
        shown
    }
}

/// The session is over: frees the bytes that were not pulled, however long the framework keeps the body.
impl Drop for Pulled {
    fn drop(&mut self) {
        self.0.opening.refuse(&Error::unavailable("the server is going away"));
        let mut state = self.0.lock();
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

/// Returns the time after which a client that is sent away should reconnect: `earliest`, plus a random part, so that
/// clients closed together do not reconnect together.
pub(super) fn come_back_after(earliest: Option<Duration>) -> Duration {
    let earliest = earliest.unwrap_or(EARLIEST);
    let spread = u64::try_from(earliest.max(SPREAD).as_millis()).unwrap_or(u64::MAX);
    // `RandomState` has random keys.
    let random = RandomState::new().hash_one(spread);
    earliest.saturating_add(Duration::from_millis(random % spread))
}

/// The least time a restart takes; refusals of a draining server carry the same value.
const EARLIEST: Duration = Duration::from_secs(1);

/// With this spread, 10 000 clients reconnect at 2 500 a second, which a server that has just started can take.
const SPREAD: Duration = Duration::from_secs(4);

/// Close codes after which a client should reconnect.
const COMES_BACK: [CloseCode; 4] =
    [CloseCode::GOING_AWAY, CloseCode::RESTART, CloseCode::TRY_AGAIN_LATER, CloseCode::UNAUTHORIZED];

/// Close codes after which a client should not reconnect, as it would get the same again.
const IS_OVER: [CloseCode; 3] = [CloseCode::NORMAL, CloseCode::NO_STATUS, CloseCode::POLICY];

const COMMENT: &[u8] = b":\n\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn halves() -> (EventStream, Pulled, Arc<Opening>) {
        let opening = Arc::<Opening>::default();
        let state = Mutex::new(State::new(b"first\n\n".to_vec()));
        let shared = Arc::new(Shared { opening: Arc::clone(&opening), state });
        (
            EventStream { shared: Arc::clone(&shared), _permit: None },
            Pulled(shared, Content::Subscription),
            opening,
        )
    }

    #[test]
    fn what_is_discarded_is_not_pulled() {
        let (stream, mut transport, opening) = halves();
        opening.open();
        assert!(send(&mut transport, &["data: 1\n\n"]).is_ready());
        transport.ahead().discard();
        assert!(send(&mut transport, &["data: 2\n\n"]).is_ready());
        let Poll::Ready(Some(Ok(bytes))) = stream.poll_chunk(&cx()) else { panic!("nothing to pull") };
        assert_eq!(bytes, "data: 2\n\n");
    }

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn send(transport: &mut Pulled, events: &[&str]) -> Poll<Result<(), ErrorKind>> {
        let mut queue = SendQueue::default();
        events.iter().for_each(|event| queue.push(Bytes::copy_from_slice(event.as_bytes())));
        transport.poll_send(&mut cx(), &mut queue).map_err(|error| error.kind())
    }

    /// Closes as the driver does.
    fn close(transport: &mut Pulled, code: CloseCode) {
        let mut queue = SendQueue::default();
        transport.push_close(&Close::by_server(code, ""), Closing::Own, &mut queue);
        assert!(transport.poll_send(&mut cx(), &mut queue).is_ready());
        assert!(transport.poll_close(&mut cx()).is_ready());
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

    #[test]
    fn a_body_that_is_dropped_before_its_first_poll_is_the_end() {
        let (body, mut transport, _) = halves();
        assert_eq!(read(&mut transport), None);
        drop(body);
        assert_eq!(read(&mut transport), Some(0));
        assert_eq!(send(&mut transport, &["a"]), Poll::Ready(Err(ErrorKind::BrokenPipe)));
    }

    #[test]
    fn an_end_is_told_when_the_rest_was_pulled() {
        let (body, mut transport, opening) = halves();
        assert!(opening.poll(&cx()).is_pending());
        assert!(send(&mut transport, &["a"]).is_ready());
        assert!(matches!(opening.poll(&cx()), Poll::Ready(Ok(()))));
        close(&mut transport, CloseCode::NORMAL);
        assert_eq!(read(&mut transport), None);
        assert_eq!(pull(&body), Poll::Ready(Some(Ok(Bytes::from_static(b"first\n\na")))));
        assert_eq!(read(&mut transport), Some(0));
        assert_eq!(pull(&body), Poll::Ready(None));
    }

    #[test]
    fn a_comment_that_was_pulled_is_a_sign_of_life() {
        let (body, mut transport, opening) = halves();
        assert!(opening.open());
        let mut queue = SendQueue::default();
        queue.push(Bytes::from_static(b"a"));
        transport.push_ping(&mut queue);
        assert!(transport.poll_send(&mut cx(), &mut queue).is_ready());
        assert!(!transport.takes_life());
        assert_eq!(pull(&body), Poll::Ready(Some(Ok(Bytes::from_static(b"first\n\n:\n\na")))));
        assert!(transport.takes_life());
        assert!(!transport.takes_life());
        assert_eq!(read(&mut transport), None);
    }

    #[test]
    fn what_is_not_pulled_is_freed_with_the_session() {
        let (body, mut transport, _) = halves();
        let large = "x".repeat(PULLED_AHEAD);
        assert!(send(&mut transport, &[&large, &large]).is_pending());
        drop(transport);
        assert_eq!(body.shared.lock().bytes.capacity(), 0);
        assert_eq!(pull(&body), Poll::Ready(Some(Err(ErrorKind::ConnectionAborted))));
        assert_eq!(pull(&body), Poll::Ready(None));
    }

    #[test]
    fn a_stream_that_closes_before_it_is_known_to_be_served_was_served() {
        for (code, retries) in [(CloseCode::GOING_AWAY, true), (CloseCode::NORMAL, false)] {
            let (body, mut transport, opening) = halves();
            close(&mut transport, code);
            assert!(matches!(opening.poll(&cx()), Poll::Ready(Ok(()))));
            let Poll::Ready(Some(Ok(pulled))) = pull(&body) else { panic!("the preface is there") };
            assert!(pulled.starts_with(b"first\n\n"));
            assert_eq!(pulled[b"first\n\n".len()..].starts_with(b"retry: "), retries, "{code:?}");
        }
    }

    #[test]
    fn one_who_is_refused_is_sent_nothing() {
        let (body, mut transport, opening) = halves();
        assert!(opening.refuse(&Error::not_found("gone")));
        assert!(send(&mut transport, &["a"]).is_ready());
        assert!(pull(&body).is_pending());
        let (_body, transport, opening) = halves();
        drop(transport);
        assert!(matches!(opening.poll(&cx()), Poll::Ready(Err(error)) if error.is_retryable()));
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
