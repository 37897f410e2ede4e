use super::{
    client::{Received, Wire},
    server::Host,
    stop::Stop,
};
use crate::{
    executor::Executor,
    pipe::{MemoryTransport, Pipe},
};
use bytes::Bytes;
use http::Response;
use realtime_core::{Context, Realtime, raw::Runtime};
use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Connections in memory, run by a thread of their own.
pub(crate) struct Memory {
    realtime: Realtime,
    executor: Executor,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Memory {
    pub(crate) fn start(realtime: Realtime) -> Self {
        let (executor, stop) = (Executor::new(), Stop::default());
        let (tasks, mut stopped) = (executor.clone(), stop.clone());
        let run = poll_fn(move |cx| {
            tasks.run(cx);
            Pin::new(&mut stopped).poll(cx)
        });
        let thread = thread::spawn(|| park_on(run));
        Self { realtime, executor, stop, thread: Some(thread) }
    }
}

/// Like `block_on`, without its patience: a case may leave its server idle for as long as it likes.
fn park_on(future: impl Future<Output = ()>) {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    while future.as_mut().poll(&mut cx).is_pending() {
        thread::park();
    }
}

impl Host for Memory {
    fn request(&self, request: &http::Request<()>, early: &[u8]) -> (Response<()>, Box<dyn Wire>) {
        let pipe = Pipe::new();
        let parts = request.clone().into_parts().0;
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let context = Context::from_parts(parts, Some(peer), false);
        let (sender, receiver) = std::sync::mpsc::channel();
        let (realtime, runtime) = (self.realtime.clone(), self.executor.clone());
        let (transport, early) = (MemoryTransport(Arc::clone(&pipe)), Bytes::copy_from_slice(early));
        self.executor.spawn(Box::pin(async move {
            match realtime.upgrade(context, runtime).await {
                Ok(mut upgrade) => {
                    let _ = sender.send(upgrade.response().map(|()| Bytes::new()));
                    upgrade.serve(transport, early).await;
                }
                Err(reject) => drop(sender.send(reject.into_response())),
            }
        }));
        let response = receiver.recv_timeout(Duration::from_secs(10)).expect("a response comes");
        let (head, body) = response.into_parts();
        let wire = MemoryWire { pipe, body: body.to_vec() };
        (Response::from_parts(head, ()), Box::new(wire))
    }

    #[cfg(feature = "http2")]
    fn address(&self) -> Option<SocketAddr> {
        None
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct MemoryWire {
    pipe: Arc<Pipe>,
    /// The body of a refusal.
    body: Vec<u8>,
}

impl Wire for MemoryWire {
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.pipe.send(bytes)
    }

    fn recv(&mut self, into: &mut Vec<u8>, patience: Duration) -> Received {
        if !self.body.is_empty() {
            into.append(&mut self.body);
            return Received::Bytes;
        }
        let end = Instant::now() + patience;
        loop {
            let (bytes, ended) = self.pipe.take();
            if !bytes.is_empty() {
                into.extend(bytes);
                return Received::Bytes;
            }
            if ended {
                return Received::End;
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else { return Received::Nothing };
            self.pipe.wait(left);
        }
    }

    fn finish(&mut self) {
        self.pipe.end(false);
    }
}

impl Drop for MemoryWire {
    fn drop(&mut self) {
        self.pipe.end(true);
    }
}
