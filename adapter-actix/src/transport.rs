use actix_web::{
    body::{BodySize, MessageBody},
    web::Payload,
};
use bytes::{Buf, Bytes};
use futures_core::Stream;
use realtime_core::raw::{Chunks, ConnectionPermit, SendQueue, Transport, register_waker};
use std::{
    cell::RefCell,
    convert::Infallible,
    io::{self, ErrorKind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Creates the two halves of a connection: a transport for the session, and a response body that actix pulls from.
/// Both stay on the thread of one worker. The permit is held for as long as actix has the socket.
pub(crate) fn pipe(payload: Payload, permit: ConnectionPermit) -> (PayloadAndBody, PulledBody) {
    let shared = Rc::<RefCell<Shared>>::default();
    let transport = PayloadAndBody { payload, rest: Bytes::new(), shared: Rc::clone(&shared) };
    (transport, PulledBody { shared, _permit: permit })
}

#[derive(Default)]
struct Shared {
    chunks: Chunks,
    /// The session has ended the body.
    ended: bool,
    /// actix has dropped the body: the client is gone.
    dropped: bool,
    body: Option<Waker>,
    session: Option<Waker>,
}

/// The number of bytes that may wait for actix to pull them: as many as its own write buffer holds.
const PULLED_AHEAD: usize = 64 * 1024;

/// The half of the session: reads the request's payload, and writes to the response's body.
pub(crate) struct PayloadAndBody {
    payload: Payload,
    rest: Bytes,
    shared: Rc<RefCell<Shared>>,
}

impl Transport for PayloadAndBody {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.rest.is_empty() {
            // If the client leaves while actix has nothing to read, only the drop of the body shows it.
            let mut shared = self.shared.borrow_mut();
            if shared.dropped {
                return Poll::Ready(Ok(0));
            }
            let replaced = register_waker(&mut shared.session, cx);
            drop((shared, replaced));
            match Pin::new(&mut self.payload).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => self.rest = chunk,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error.to_string()))),
                Poll::Ready(None) => return Poll::Ready(Ok(0)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let count = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..count]);
        if self.rest.is_empty() {
            self.rest = Bytes::new();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        let mut shared = self.shared.borrow_mut();
        if shared.dropped {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let replaced = register_waker(&mut shared.session, cx);
        while shared.chunks.bytes() < PULLED_AHEAD {
            let Some(chunk) = queue.pop() else { break };
            shared.chunks.push(chunk);
        }
        shared.body.take().into_iter().for_each(Waker::wake);
        drop((shared, replaced));
        if queue.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.borrow_mut();
        shared.ended = true;
        let replaced = register_waker(&mut shared.session, cx);
        shared.body.take().into_iter().for_each(Waker::wake);
        drop((shared, replaced));
        Poll::Ready(Ok(()))
    }
}

impl Drop for PayloadAndBody {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.ended = true;
        shared.body.take().into_iter().for_each(Waker::wake);
    }
}

/// The half of actix: the body of the response.
pub(crate) struct PulledBody {
    shared: Rc<RefCell<Shared>>,
    /// The session may end before a client that does not read is gone.
    _permit: ConnectionPermit,
}

impl MessageBody for PulledBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut shared = self.shared.borrow_mut();
        let was_full = shared.chunks.bytes() >= PULLED_AHEAD;
        let Some(chunk) = shared.chunks.pop() else {
            if shared.ended {
                return Poll::Ready(None);
            }
            let replaced = register_waker(&mut shared.body, cx);
            drop((shared, replaced));
            return Poll::Pending;
        };
        if was_full && shared.chunks.bytes() < PULLED_AHEAD {
            shared.session.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl Drop for PulledBody {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.dropped = true;
        shared.chunks = Chunks::default();
        shared.session.take().into_iter().for_each(Waker::wake);
    }
}
