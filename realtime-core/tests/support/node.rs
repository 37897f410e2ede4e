//! A node in memory that is polled by hand, and its clients: one that does not read can read again later.

use adapter_testing::TestFrame;
use bytes::Bytes;
use realtime_core::{
    AnyConnection, Context, Realtime,
    raw::{BoxFuture, Runtime, SendQueue, TICK, Transport},
};
use std::{
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{self, Poll, Wake, Waker},
    time::Duration,
};

pub(crate) struct Node {
    pub(crate) realtime: Realtime,
    /// Milliseconds.
    pub(crate) now: u64,
    tasks: Vec<Option<Task>>,
    spawned: Spawned,
}

/// Tasks by their place; a place is not used again.
pub(crate) type TaskId = usize;

impl Node {
    /// Serves what was built with its clock turned by hand.
    pub(crate) fn new(realtime: Realtime) -> Self {
        Self { realtime, now: 0, tasks: Vec::new(), spawned: Spawned::default() }
    }

    pub(crate) fn connect(&mut self, id: &str) -> Link {
        self.connect_late(upgrade(id), 0)
    }

    /// So many ticks pass between the answer to the request and the connection.
    pub(crate) fn connect_late(&mut self, request: http::request::Builder, ticks: u32) -> Link {
        let context = Context::from_parts(request.body(()).unwrap().into_parts().0, None, false);
        let upgrade = {
            let mut upgrade = pin!(self.realtime.upgrade(context, self.spawned.clone()));
            let mut cx = task::Context::from_waker(Waker::noop());
            let Poll::Ready(Ok(upgrade)) = upgrade.as_mut().poll(&mut cx) else { panic!("not upgraded") };
            upgrade
        };
        (0..ticks).for_each(|_| self.realtime.tick());
        let wire = Arc::<Mutex<Wire>>::default();
        let serving = upgrade.serve(ServerEnd(Arc::clone(&wire)), Bytes::new());
        let any = self.realtime.filter(|_| true).into_iter().max_by_key(|any| any.id()).unwrap();
        let task = self.spawn(Box::pin(serving));
        Link { wire, task, any, bytes: Vec::new() }
    }

    pub(crate) fn spawn(&mut self, future: BoxFuture<'static>) -> TaskId {
        self.tasks.push(Some(Task { future, woken: Arc::new(Woken(AtomicBool::new(true))) }));
        self.tasks.len() - 1
    }

    /// Drops a task before its end.
    pub(crate) fn abort(&mut self, task: TaskId) {
        self.tasks[task] = None;
    }

    pub(crate) fn is_done(&self, task: TaskId) -> bool {
        self.tasks[task].is_none()
    }

    /// Polls what was woken, until nothing is.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS {
            if !self.round() {
                return Ok(());
            }
        }
        Err(format!("does not come to rest in {ROUNDS} rounds"))
    }

    /// Polls each task that was woken once; gives whether there was one.
    pub(crate) fn round(&mut self) -> bool {
        let spawned = std::mem::take(&mut *self.spawned.0.lock().unwrap());
        for future in spawned {
            self.spawn(future);
        }
        let mut woken = false;
        for place in &mut self.tasks {
            let Some(task) = place.as_mut().filter(|task| task.woken.0.swap(false, Relaxed)) else { continue };
            woken = true;
            let waker = Waker::from(Arc::clone(&task.woken));
            if task.future.as_mut().poll(&mut task::Context::from_waker(&waker)).is_ready() {
                *place = None;
            }
        }
        woken || !self.spawned.0.lock().unwrap().is_empty()
    }

    /// Lets time go on to the next tick, but not past `end`; gives whether that is reached.
    pub(crate) fn step(&mut self, end: u64) -> bool {
        let tick = TICK.as_millis() as u64;
        let next = (self.now / tick + 1) * tick;
        self.now = next.min(end);
        if self.now == next {
            self.realtime.tick();
        }
        self.now == end
    }
}

/// A request for a WebSocket.
pub(crate) fn upgrade(id: &str) -> http::request::Builder {
    http::Request::get(format!("/__realtime/{id}"))
        .header("host", "localhost")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// More than any case needs where nothing spins.
const ROUNDS: usize = 2000;

struct Task {
    future: BoxFuture<'static>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Keeps what is spawned until the node runs it.
#[derive(Clone, Default)]
struct Spawned(Arc<Mutex<Vec<BoxFuture<'static>>>>);

impl Runtime for Spawned {
    fn sleep(&self, _: Duration) -> BoxFuture<'static> {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        self.0.lock().unwrap().push(task);
    }
}

/// The client's end of a connection.
pub(crate) struct Link {
    wire: Arc<Mutex<Wire>>,
    pub(crate) task: TaskId,
    pub(crate) any: AnyConnection,
    /// The beginning of a frame.
    bytes: Vec<u8>,
}

impl Link {
    pub(crate) fn send(&self, frame: &TestFrame) {
        let mut wire = self.lock();
        wire.input.extend(frame.to_bytes());
        wake(wire.reader.take());
    }

    /// The whole frames that have come.
    pub(crate) fn take(&mut self) -> Vec<TestFrame> {
        let sent = std::mem::take(&mut self.lock().output);
        self.bytes.extend(sent);
        std::iter::from_fn(|| TestFrame::take(&mut self.bytes)).collect()
    }

    /// The bytes that have come and were not taken.
    #[allow(dead_code, reason = "one of the tests asks")]
    pub(crate) fn written(&self) -> usize {
        self.lock().output.len()
    }

    /// Reads so many bytes more, and then nothing; any number, if it is not said.
    pub(crate) fn read(&self, bytes: Option<usize>) {
        let mut wire = self.lock();
        wire.window = bytes;
        wake(wire.writer.take());
    }

    /// Cuts the connection.
    pub(crate) fn cut(&self) {
        let mut wire = self.lock();
        wire.gone = true;
        wake(wire.reader.take());
        wake(wire.writer.take());
    }

    fn lock(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap()
    }
}

#[derive(Default)]
struct Wire {
    input: Vec<u8>,
    output: Vec<u8>,
    /// The bytes that the client still reads; any number if it is not said.
    window: Option<usize>,
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

fn wake(waker: Option<Waker>) {
    waker.into_iter().for_each(Waker::wake);
}

struct ServerEnd(Arc<Mutex<Wire>>);

impl Transport for ServerEnd {
    fn poll_read(&mut self, cx: &mut task::Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        if wire.gone {
            return Poll::Ready(Ok(0));
        }
        if wire.input.is_empty() {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = wire.input.len().min(buffer.len());
        buffer[..count].copy_from_slice(&wire.input[..count]);
        wire.input.drain(..count);
        Poll::Ready(Ok(count))
    }

    fn poll_send(&mut self, cx: &mut task::Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        let mut wire = self.0.lock().unwrap();
        if wire.gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        queue.poll_write(true, |buffers| {
            let mut taken = 0;
            for buffer in buffers {
                let count = buffer.len().min(wire.window.unwrap_or(usize::MAX));
                wire.output.extend_from_slice(&buffer[..count]);
                wire.window = wire.window.map(|window| window - count);
                taken += count;
            }
            if taken == 0 {
                wire.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Ok(taken))
        })
    }

    fn poll_close(&mut self, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
