use crate::{
    Ended, Refused, ServerSentEvent, TestHttpRequest, TestServer, ended::ErrorFrame, pipe::Pipe, sse::EventParser,
    watch::Exchange, wire::Peer,
};
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, Response};
use realtime_core::{
    Gap,
    raw::{EventStream, Runtime},
};
use serde::de::DeserializeOwned;
use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, ready},
    time::Duration,
};

/// A client of a stream of server-sent events in memory, like an `EventSource`.
///
/// Dropping it disconnects the client.
pub struct TestEvents {
    request: TestHttpRequest,
    headers: HeaderMap,
    reader: Arc<Mutex<Reader>>,
}

impl TestEvents {
    pub(crate) async fn new(
        request: TestHttpRequest,
        response: Response<EventStream>,
        exchange: Option<Exchange>,
    ) -> Self {
        let (head, body) = response.into_parts();
        let (server, pipe) = (request.server(), Pipe::new());
        server.0.executor.spawn(Box::pin(pour(body, Arc::clone(&pipe))));
        let reader = Arc::new(Mutex::new(Reader::new(pipe, exchange)));
        server.add(&reader);
        server.settle().await;
        Self { headers: head.headers, reader, request }
    }

    /// Returns the headers of the response.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Waits for the next event, including the last. Comments are skipped.
    ///
    /// # Errors
    ///
    /// [`Ended::Lost`] once the stream has ended.
    pub async fn next(&mut self) -> Result<ServerSentEvent, Ended> {
        poll_fn(|cx| {
            self.server().run(cx);
            self.lock().next().transpose().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Returns the next event if there is one, after running the server until it is idle.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn try_next(&mut self) -> Result<Option<ServerSentEvent>, Ended> {
        self.server().settle().await;
        self.lock().next()
    }

    /// Returns the id of the last event that had one, or an empty text; `end` after the end of a subscription.
    pub fn last_event_id(&self) -> String {
        self.lock().last_event_id.clone()
    }

    /// Returns the number of comments received, including those that keep the stream alive.
    pub fn comments(&self) -> usize {
        self.lock().parser.comments()
    }

    /// Returns the reconnection delay that the server sent, if any.
    pub fn retry(&self) -> Option<Duration> {
        self.lock().parser.retry()
    }

    /// Returns true if the server has ended the stream; earlier events may still be unread.
    pub fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Stops reading, like a client that hangs.
    pub fn stall(&mut self) {
        self.lock().stalled = true;
    }

    /// Disconnects, and repeats the request like an `EventSource`, with the `Last-Event-ID` if there is one. Unread
    /// events do not count as seen.
    ///
    /// # Errors
    ///
    /// The refusal, with its HTTP status.
    pub async fn reconnect(self) -> Result<Self, Refused> {
        let (request, last) = (self.request.clone(), self.last_event_id());
        drop(self);
        request.server().settle().await;
        match &*last {
            "" => request.open().await,
            last => request.last_event_id(last).open().await,
        }
    }

    fn server(&self) -> &TestServer {
        self.request.server()
    }

    fn lock(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TestEvents {
    fn drop(&mut self) {
        self.lock().pipe.end(true);
    }
}

impl fmt::Debug for TestEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestEvents").field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// The items of a subscription by server-sent events. Dropping it disconnects the client.
pub struct TestItems<T> {
    events: TestEvents,
    gaps: Vec<Gap>,
    items: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> TestItems<T> {
    pub(crate) fn new(events: TestEvents) -> Self {
        Self { events, gaps: Vec::new(), items: PhantomData }
    }

    /// Waits for the next item. Gaps before it are added to [`gaps`](Self::gaps).
    ///
    /// # Errors
    ///
    /// [`Ended::Complete`] if the subscription completed, [`Ended::Error`] if it failed, [`Ended::Lost`] if the stream
    /// ended before either.
    ///
    /// # Panics
    ///
    /// If the item does not match the type.
    pub async fn next(&mut self) -> Result<T, Ended> {
        loop {
            let event = self.events.next().await?;
            match &*event.event {
                "complete" => return Err(Ended::Complete),
                "error" => return Err(Ended::Error(event.json::<ErrorFrame>())),
                "gap" => self.gaps.push(event.json()),
                _ => return Ok(event.json()),
            }
        }
    }

    /// Returns the gaps before the items taken so far.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Returns the id of the last item that had a position, or an empty text; `end` after the end of the subscription.
    pub fn last_event_id(&self) -> String {
        self.events.last_event_id()
    }

    /// Reconnects like [`TestEvents::reconnect`].
    ///
    /// # Errors
    ///
    /// The refusal, with its HTTP status.
    pub async fn reconnect(self) -> Result<Self, Refused> {
        self.events.reconnect().await.map(Self::new)
    }

    /// Returns the underlying stream.
    pub fn into_events(self) -> TestEvents {
        self.events
    }
}

impl<T> fmt::Debug for TestItems<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestItems").field("events", &self.events).finish_non_exhaustive()
    }
}

/// A client's reader, which takes the server's bytes whenever the server runs.
pub(crate) trait Pump: Send + fmt::Debug {
    /// Reads available bytes. Returns true if there were any.
    fn pump(&mut self) -> bool;
}

impl Pump for Peer {
    fn pump(&mut self) -> bool {
        Peer::pump(self)
    }
}

/// The client's side of a stream.
#[derive(Debug)]
struct Reader {
    pipe: Arc<Pipe>,
    parser: EventParser,
    /// Unread events, each with the last event id at its place in the stream.
    events: VecDeque<(ServerSentEvent, String)>,
    last_event_id: String,
    ended: bool,
    stalled: bool,
    watched: Option<Exchange>,
}

impl Reader {
    fn new(pipe: Arc<Pipe>, watched: Option<Exchange>) -> Self {
        Self {
            pipe,
            parser: EventParser::default(),
            events: VecDeque::new(),
            last_event_id: String::new(),
            ended: false,
            stalled: false,
            watched,
        }
    }

    fn next(&mut self) -> Result<Option<ServerSentEvent>, Ended> {
        match self.events.pop_front() {
            Some((event, last)) => {
                self.last_event_id = last;
                Ok(Some(event))
            }
            None if self.ended => Err(Ended::Lost),
            None => Ok(None),
        }
    }
}

impl Pump for Reader {
    fn pump(&mut self) -> bool {
        if self.stalled {
            return false;
        }
        let (bytes, ended) = self.pipe.take();
        let progress = !bytes.is_empty() || ended != self.ended;
        self.ended = ended;
        self.parser.push(&bytes);
        while let Some(event) = self.parser.next() {
            self.watched.iter_mut().for_each(|watched| watched.event(&event));
            self.events.push_back((event, self.parser.last_event_id().to_owned()));
        }
        progress
    }
}

/// Sends a body to the client as a framework does: pulls it when there is room, and drops it when the client
/// disconnects.
pub(crate) async fn pour(mut body: EventStream, pipe: Arc<Pipe>) {
    let mut chunk = Bytes::new();
    poll_fn(|cx| {
        loop {
            if pipe.poll_gone(cx).is_ready() {
                return Poll::Ready(());
            }
            ready!(pipe.poll_fill(cx, &mut chunk));
            match ready!(Pin::new(&mut body).poll_next(cx)) {
                Some(Ok(bytes)) => chunk = bytes,
                // An error cuts the connection, which also ends it.
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    })
    .await;
    drop(body);
    pipe.finish();
}
