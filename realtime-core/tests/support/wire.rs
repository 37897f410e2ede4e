//! Sessions on a wire in memory, polled by hand: nothing runs but what is measured.

use bytes::Bytes;
use realtime_core::{
    Context, Realtime,
    raw::{BoxFuture, Runtime, SendQueue, Transport},
};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{self, Poll, Wake, Waker},
    time::Duration,
};

/// One client, and the future of its connection.
pub(crate) struct Client {
    connection: Pin<Box<dyn Future<Output = ()> + Send>>,
    wire: Arc<Wire>,
    woken: Arc<Woken>,
    /// Of the task that polls it.
    pub(crate) waker: Waker,
}

impl Client {
    /// Connects, and runs until there is nothing to do.
    pub(crate) fn connect(realtime: &Realtime, id: &str, subprotocol: Option<&str>) -> Self {
        let header = subprotocol.map(|name| ("sec-websocket-protocol", name));
        Self::connect_with(realtime, id, header)
    }

    /// The same with another header in the request.
    pub(crate) fn connect_with(realtime: &Realtime, id: &str, header: Option<(&str, &str)>) -> Self {
        let request = http::Request::get(format!("/__realtime/{id}"))
            .header("host", "localhost")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let request = match header {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        let context = Context::from_parts(request.body(()).unwrap().into_parts().0, None, false);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = task::Context::from_waker(&waker);
        let mut upgrade = Box::pin(realtime.upgrade(context, Arc::new(Idle)));
        let Poll::Ready(Ok(upgrade)) = upgrade.as_mut().poll(&mut cx) else { panic!("not upgraded") };
        let wire = Arc::<Wire>::default();
        let connection = Box::pin(upgrade.serve(End(Arc::clone(&wire)), Bytes::new()));
        let mut client = Self { connection, wire, woken, waker };
        client.poll();
        client
    }

    /// Hands bytes to the server, and runs until there is nothing to do.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.wire.input.lock().unwrap().extend_from_slice(bytes);
        self.poll();
    }

    pub(crate) fn poll(&mut self) {
        self.woken.0.store(false, Relaxed);
        let mut cx = task::Context::from_waker(&self.waker);
        assert!(self.connection.as_mut().poll(&mut cx).is_pending());
    }

    /// Has another task poll the connection from now on.
    #[allow(dead_code, reason = "one of those who include this needs it")]
    pub(crate) fn move_to(&mut self, waker: Waker) {
        self.waker = waker;
        self.poll();
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.0.load(Relaxed)
    }

    /// Takes how many bytes the server has sent, and in how many writes.
    pub(crate) fn take_sent(&self) -> (usize, usize) {
        std::mem::take(&mut *self.wire.sent.lock().unwrap())
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

#[derive(Default)]
struct Wire {
    input: Mutex<Vec<u8>>,
    /// Bytes, and writes.
    sent: Mutex<(usize, usize)>,
}

struct End(Arc<Wire>);

impl Transport for End {
    // Always, so that what is counted does not change with what the compiler chooses to inline.
    #[inline(always)]
    fn poll_read(&mut self, _: &mut task::Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut input = self.0.input.lock().unwrap();
        if input.is_empty() {
            return Poll::Pending;
        }
        let count = input.len();
        buffer[..count].copy_from_slice(&input);
        input.clear();
        Poll::Ready(Ok(count))
    }

    // Always, so that what is counted does not change with what the compiler chooses to inline.
    #[inline(always)]
    fn poll_send(&mut self, _: &mut task::Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        queue.poll_write(true, |buffers| {
            let bytes = buffers.iter().map(|buffer| buffer.len()).sum();
            let mut sent = self.0.sent.lock().unwrap();
            *sent = (sent.0 + bytes, sent.1 + 1);
            Poll::Ready(Ok(bytes))
        })
    }

    fn poll_close(&mut self, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Time stands still, and nothing runs beside the connections.
struct Idle;

impl Runtime for Idle {
    fn sleep(&self, _: Duration) -> BoxFuture<'static> {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, _: BoxFuture<'static>) {}
}

/// A client's frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    frame
}
