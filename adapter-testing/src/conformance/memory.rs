use super::{
    client::{Received, Wire},
    exchange::Body,
    server::Host,
    stop::Stop,
};
use crate::{
    clock::Clock,
    events::pour,
    executor::Executor,
    http::body,
    pipe::{MemoryTransport, Pipe},
};
use bytes::Bytes;
use http::Response;
use realtime_core::{
    Context, Realtime,
    raw::{Answer, Ending, Route, Runtime},
};
use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Connections in memory, run by one thread.
pub(crate) struct Memory {
    realtime: Realtime,
    executor: Executor,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Memory {
    pub(crate) fn start(realtime: Realtime) -> Self {
        let (executor, stop) = (Executor::new(Clock::new()), Stop::default());
        let (tasks, mut stopped) = (executor.clone(), stop.clone());
        let run = poll_fn(move |cx| {
            tasks.run(cx);
            Pin::new(&mut stopped).poll(cx)
        });
        let thread = thread::spawn(|| park_on(run));
        Self { realtime, executor, stop, thread: Some(thread) }
    }
}

impl Memory {
    /// The route of an adapter that a request would come to.
    fn route(&self, request: &http::Request<()>) -> Route {
        let behind = request.uri().path().strip_prefix(self.realtime.prefix()).unwrap_or_default();
        let ending = if behind.matches('/').count() == 2 { Ending::IdAndName } else { Ending::Id };
        Route::new(&self.realtime, ending)
    }
}

fn context(request: &http::Request<()>) -> Context {
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    Context::from_parts(request.clone().into_parts().0, Some(peer), false)
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
        let (sender, receiver) = std::sync::mpsc::channel();
        let (route, context, runtime) = (self.route(request), context(request), self.executor.clone());
        let (transport, early) = (MemoryTransport(Arc::clone(&pipe)), Bytes::copy_from_slice(early));
        self.executor.spawn(Box::pin(async move {
            match route.answer(context, &mut body(Vec::new(), false), runtime).await {
                Answer::Upgrade(mut upgrade) => {
                    let _ = sender.send(upgrade.response().map(|()| Bytes::new()));
                    upgrade.serve(transport, early).await;
                }
                Answer::Response(response) => drop(sender.send(response)),
                Answer::Events(_) => panic!("a stream of events is asked for with `begin`"),
            }
        }));
        let response = receiver.recv_timeout(Duration::from_secs(10)).expect("a response comes");
        let (head, body) = response.into_parts();
        let wire = MemoryWire { pipe, body: body.to_vec() };
        (Response::from_parts(head, ()), Box::new(wire))
    }

    fn begin(&self, request: &http::Request<()>, sent: &Body) -> Box<dyn Wire> {
        let pipe = Pipe::new();
        let mut body = match sent {
            Body::None => body(Vec::new(), false),
            Body::Whole(bytes) => body(vec![bytes.clone()], false),
            Body::Chunks(chunks) => body(chunks.clone(), false),
            Body::Unfinished(bytes) => body(vec![bytes.clone()], true),
        };
        let (route, context) = (self.route(request), context(request));
        let (runtime, client) = (self.executor.clone(), Arc::clone(&pipe));
        self.executor.spawn(Box::pin(async move {
            let answered = {
                let mut answer = pin!(route.answer(context, &mut body, runtime));
                poll_fn(|cx| match client.poll_gone(cx) {
                    Poll::Ready(()) => Poll::Ready(None),
                    Poll::Pending => answer.as_mut().poll(cx).map(Some),
                })
                .await
            };
            match answered {
                None => {}
                Some(Answer::Upgrade(mut upgrade)) => client.say(&upgrade.response().map(|()| Bytes::new())).await,
                Some(Answer::Response(response)) => client.say(&response).await,
                Some(Answer::Events(response)) => {
                    let (head, events) = response.into_parts();
                    client.say(&Response::from_parts(head, Bytes::new())).await;
                    return pour(events, client).await;
                }
            }
            client.finish();
        }));
        Box::new(MemoryWire { pipe, body: Vec::new() })
    }

    fn address(&self) -> Option<SocketAddr> {
        None
    }
}

impl Pipe {
    /// Sends a response in the form that it has on a socket, its body delimited by the end.
    async fn say(&self, response: &Response<Bytes>) {
        let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
        for (name, value) in response.headers() {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(response.body());
        let mut bytes = Bytes::from(bytes);
        poll_fn(|cx| self.poll_fill(cx, &mut bytes)).await;
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
