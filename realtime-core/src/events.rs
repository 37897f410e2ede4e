use crate::{
    error::Error,
    protocol::EVENT_ERROR,
    session::Serving,
    sync::Mutex,
    transport::{SendQueue, Transport},
    websocket::Frame,
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::Body;
use std::{
    convert::Infallible,
    fmt, io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The body of a response of server-sent events, which the framework pulls. It is a session's one future at the same
/// time: it runs while it is polled, and when it is dropped, the client is gone.
#[must_use = "a body is sent by the framework"]
pub struct EventStream {
    serving: Option<Serving<Pulled>>,
    out: Arc<Mutex<Out>>,
}

#[derive(Debug, Default)]
struct Out {
    bytes: BytesMut,
    /// The server has closed.
    closed: bool,
    /// The driver has more than may wait.
    full: bool,
}

impl EventStream {
    pub(crate) fn new(serve: impl FnOnce(Pulled) -> Serving<Pulled>) -> Self {
        let out = Arc::<Mutex<Out>>::default();
        Self { serving: Some(serve(Pulled(Arc::clone(&out)))), out }
    }

    /// Ready when it is known whether the client is served. Gives the error if it is not: then nothing was sent.
    pub(crate) fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let running = self.poll_serving(cx).is_pending();
        let out = self.out.lock();
        if out.bytes.is_empty() && running && !out.closed {
            return Poll::Pending;
        }
        let Some(refused) = out.bytes.strip_prefix(EVENT_ERROR) else { return Poll::Ready(Ok(())) };
        let json = refused.split(|&byte| byte == b'\n').next().and_then(|line| line.strip_prefix(b"data: "));
        Poll::Ready(Err(serde_json::from_slice(json.unwrap_or_default())?))
    }

    /// Runs the session; gives what it has sent, and `None` at its end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let ended = self.poll_serving(cx).is_ready();
        let mut out = self.out.lock();
        if !out.bytes.is_empty() {
            let bytes = mem::take(&mut out.bytes).freeze();
            if mem::take(&mut out.full) {
                cx.waker().wake_by_ref();
            }
            return Poll::Ready(Some(bytes));
        }
        // Its hooks may still run; the client need not wait for them.
        if ended || out.closed { Poll::Ready(None) } else { Poll::Pending }
    }

    fn poll_serving(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(serving) = &mut self.serving {
            ready!(Pin::new(serving).poll(cx));
            self.serving = None;
        }
        Poll::Ready(())
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx).map(|chunk| chunk.map(Ok))
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.poll_chunk(cx).map(|chunk| chunk.map(|chunk| Ok(http_body::Frame::data(chunk))))
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}

/// The transport of server-sent events: it takes the frames apart, and has what they carry pulled.
pub(crate) struct Pulled(Arc<Mutex<Out>>);

/// What may wait to be pulled: as much as one write takes.
const PULLED_AHEAD: usize = 64 * 1024;

impl Transport for Pulled {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        // Nobody answers our close: it is the end.
        if self.0.lock().closed { Poll::Ready(Ok(0)) } else { Poll::Pending }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        let mut out = self.0.lock();
        while out.bytes.len() < PULLED_AHEAD {
            let Some(frames) = queue.pop() else { return Poll::Ready(Ok(())) };
            for (opcode, payload) in Frame::split(&frames) {
                match opcode {
                    CLOSE => {
                        out.closed = true;
                        // Reading tells it.
                        cx.waker().wake_by_ref();
                    }
                    // A comment is a sign of life.
                    PING => out.bytes.extend_from_slice(b":\n\n"),
                    _ => out.bytes.extend_from_slice(payload),
                }
            }
        }
        out.full = !queue.is_empty();
        if out.full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().closed = true;
        Poll::Ready(Ok(()))
    }
}

const CLOSE: u8 = 8;
const PING: u8 = 9;
