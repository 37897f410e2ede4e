use hyper::{
    body::{Body, Frame, SizeHint},
    rt::{Read, ReadBufCursor, Write},
};
use pin_project_lite::pin_project;
use realtime_core::raw::{BoxFuture, Runtime};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Tracks the activity of a connection, for its time limits.
pub(super) struct Watch {
    seen: Mutex<Seen>,
    runtime: Arc<dyn Runtime>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) activity: Activity,
    /// The time since which the client has read nothing, while data waits for it.
    pub(super) stalled: Option<Instant>,
    pub(super) http2: bool,
    /// An HTTP/2 stream became a WebSocket, whose end is not visible here.
    pub(super) tunnels: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Accepted, without a request so far.
    New(Instant),
    /// Waiting for the next request.
    Idle(Instant),
    /// Receiving the head of the next request. HTTP/1 only: on HTTP/2 other frames look the same.
    Head(Instant),
    /// The number of requests whose responses have not ended.
    Busy(usize),
}

impl Watch {
    pub(super) fn new(runtime: Arc<dyn Runtime>) -> Self {
        let activity = Activity::New(runtime.now());
        Self { seen: Mutex::new(Seen { activity, stalled: None, http2: false, tunnels: false }), runtime }
    }

    pub(super) fn now(&self) -> Instant {
        self.runtime.now()
    }

    /// Returns a timer of the runtime.
    pub(super) fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        self.runtime.sleep(duration)
    }

    pub(super) fn seen(&self) -> Seen {
        *self.lock()
    }

    /// Counts a request as busy until the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>, http2: bool) -> Busy {
        let mut seen = self.lock();
        seen.http2 = http2;
        seen.activity = match seen.activity {
            Activity::Busy(count) => Activity::Busy(count + 1),
            _ => Activity::Busy(1),
        };
        Busy(Arc::clone(self))
    }

    fn end(&self) {
        let mut seen = self.lock();
        seen.activity = match seen.activity {
            Activity::Busy(count @ 2..) => Activity::Busy(count - 1),
            _ => Activity::Idle(self.now()),
        };
    }

    fn read(&self) {
        let mut seen = self.lock();
        if matches!(seen.activity, Activity::Idle(_)) && !seen.http2 {
            seen.activity = Activity::Head(self.now());
        }
    }

    fn stall(&self, stalled: bool) {
        self.lock().stalled = stalled.then(|| self.now());
    }

    /// Restarts the time for the next request when data was written: hyper drops a body before its last bytes are
    /// sent. Not for HTTP/2, which also writes pings, and buffers little.
    fn wrote(&self) {
        let mut seen = self.lock();
        if matches!(seen.activity, Activity::Idle(_)) && !seen.http2 {
            seen.activity = Activity::Idle(self.now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in progress. Dropping it ends the request.
pub(super) struct Busy(Arc<Watch>);

impl Busy {
    pub(super) fn tunnel(&self) {
        self.0.lock().tunnels = true;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The stream of a connection, which reports reads and writes to its [`Watch`].
pub(crate) struct Watched<I> {
    io: I,
    watch: Arc<Watch>,
    stalled: bool,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, watch: Arc<Watch>) -> Self {
        Self { io, watch, stalled: false }
    }

    pub(crate) fn into_inner(self) -> I {
        self.io
    }

    fn written<T>(&mut self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_pending() != self.stalled {
            self.stalled = poll.is_pending();
            self.watch.stall(self.stalled);
        }
        poll
    }

    fn took(&mut self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = poll {
            self.watch.wrote();
        }
        self.written(poll)
    }
}

impl<I: Read + Unpin> Read for Watched<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_read(cx, buffer);
        if poll.is_ready() {
            this.watch.read();
        }
        poll
    }
}

impl<I: Write + Unpin> Write for Watched<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.took(poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.took(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_flush(cx);
        this.written(poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_shutdown(cx);
        this.written(poll)
    }
}

pin_project! {
    /// The body of a response. Dropping it ends the request.
    pub(super) struct Tracked<B> {
        #[pin]
        pub(super) body: B,
        pub(super) busy: Busy,
    }
}

impl<B: Body> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
