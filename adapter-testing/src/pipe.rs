use bytes::{Buf, Bytes};
use realtime_core::raw::{SendQueue, Transport};
use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Two streams of bytes between a session and a test, each bounded like a socket's buffer.
#[derive(Debug)]
pub(crate) struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    to_server: Stream,
    to_client: Stream,
}

#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    /// True once no more bytes come.
    ended: bool,
    /// True once nothing is read any more.
    unread: bool,
    waker: Option<Waker>,
}

/// About the size of a socket's buffers on both sides.
const CAPACITY: usize = 256 * 1024;

impl Pipe {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new() })
    }

    /// Sends bytes to the server, without a limit. Returns true if the server still reads.
    pub(crate) fn send(&self, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        state.to_server.bytes.extend_from_slice(bytes);
        wake(state.to_server.waker.take());
        !state.to_server.unread
    }

    /// Takes the bytes that the server has sent so far. Also returns true if it has ended.
    pub(crate) fn take(&self) -> (Vec<u8>, bool) {
        let mut state = self.lock();
        let bytes = std::mem::take(&mut state.to_client.bytes);
        if !bytes.is_empty() {
            wake(state.to_client.waker.take());
        }
        (bytes, state.to_client.ended)
    }

    /// Waits for something to take.
    pub(crate) fn wait(&self, patience: Duration) {
        let state = self.lock();
        let nothing = |state: &mut State| state.to_client.bytes.is_empty() && !state.to_client.ended;
        let _ = self.changed.wait_timeout_while(state, patience, nothing);
    }

    /// Ends the client's stream; if it is `gone`, it does not read any more either.
    pub(crate) fn end(&self, gone: bool) {
        let mut state = self.lock();
        state.to_server.ended = true;
        state.to_client.unread |= gone;
        wake(state.to_server.waker.take());
        wake(state.to_client.waker.take());
    }

    /// Sends `bytes` to the client, as it has room. Ready when none are left; for use by one task.
    pub(crate) fn poll_fill(&self, cx: &Context<'_>, bytes: &mut Bytes) -> Poll<()> {
        let mut state = self.lock();
        let stream = &mut state.to_client;
        let count = bytes.len().min(CAPACITY - stream.bytes.len());
        stream.bytes.extend_from_slice(&bytes[..count]);
        bytes.advance(count);
        if !bytes.is_empty() {
            stream.waker = Some(cx.waker().clone());
        }
        drop(state);
        self.changed.notify_all();
        if bytes.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready when the client has gone; for use by one task, which reads nothing.
    pub(crate) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.to_client.unread {
            return Poll::Ready(());
        }
        state.to_server.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the server's stream.
    pub(crate) fn finish(&self) {
        self.lock().to_client.ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The server's end of a pipe.
#[derive(Debug)]
pub(crate) struct MemoryTransport(pub(crate) Arc<Pipe>);

impl Transport for MemoryTransport {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        let stream = &mut state.to_server;
        if stream.bytes.is_empty() && !stream.ended {
            stream.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = stream.bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&stream.bytes[..count]);
        stream.bytes.drain(..count);
        Poll::Ready(Ok(count))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        let stream = &mut state.to_client;
        if stream.unread {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let waker = cx.waker();
        let sent = queue.poll_write(true, |buffers| {
            let room = CAPACITY - stream.bytes.len();
            if room == 0 {
                stream.waker = Some(waker.clone());
                return Poll::Pending;
            }
            let mut taken = 0;
            for buffer in buffers {
                let count = buffer.len().min(room - taken);
                stream.bytes.extend_from_slice(&buffer[..count]);
                taken += count;
            }
            Poll::Ready(Ok(taken))
        });
        drop(state);
        self.0.changed.notify_all();
        sent
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().to_client.ended = true;
        self.0.changed.notify_all();
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.to_server.unread = true;
        state.to_client.ended = true;
        drop(state);
        self.0.changed.notify_all();
    }
}
