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

/// An `EventSource` in memory: it reads a stream of server-sent events.
///
/// Dropping it is the client's leaving.
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

    /// The headers of the response.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Waits for the next event, the one that says how the stream ends among them. Comments are skipped.
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

    /// The next event if there is one, after the server has done all that it can.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn try_next(&mut self) -> Result<Option<ServerSentEvent>, Ended> {
        self.server().settle().await;
        self.lock().next()
    }

    /// The id of the last event that had one; empty if none had.
    pub fn last_event_id(&self) -> String {
        self.lock().last_event_id.clone()
    }

    /// Returns the number of comments received; the comments that keep the stream alive are included.
    pub fn comments(&self) -> usize {
        self.lock().parser.comments()
    }

    /// After how long the server wants a source back that loses the stream, where it has said so.
    pub fn retry(&self) -> Option<Duration> {
        self.lock().parser.retry()
    }

    /// Returns true if the server has ended the stream; earlier events may still be unread.
    pub fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Reads nothing from now on, as a client that hangs.
    pub fn stall(&mut self) {
        self.lock().stalled = true;
    }

    /// Leaves, and makes the same request again as an `EventSource` does: with the `Last-Event-ID`, where there is
    /// one. Events that were not taken are as if they had not come.
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

/// The items of a subscription by server-sent events. Dropping it is the client's leaving.
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
    /// [`Ended::Complete`] when the subscription is over, [`Ended::Error`] if it failed, [`Ended::Lost`] if the stream ended
    /// before either.
    ///
    /// # Panics
    ///
    /// If what comes is not of the type.
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

    /// The id of the last item that had a position; empty if none had.
    pub fn last_event_id(&self) -> String {
        self.events.last_event_id()
    }

    /// As [`TestEvents::reconnect`].
    ///
    /// # Errors
    ///
    /// The refusal, with its HTTP status.
    pub async fn reconnect(self) -> Result<Self, Refused> {
        self.events.reconnect().await.map(Self::new)
    }

    /// The stream itself.
    pub fn into_events(self) -> TestEvents {
        self.events
    }
}

impl<T> fmt::Debug for TestItems<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestItems").field("events", &self.events).finish_non_exhaustive()
    }
}

/// A reader that takes all that the server sends, whenever the server runs.
pub(crate) trait Pump: Send + fmt::Debug {
    /// Gives whether there was anything.
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
    /// The last ids of their events' turn go with them: those that wait are not yet seen.
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

/// Sends a body to the client as a framework does: it is asked for more when there is room, and dropped when the
/// client goes.
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
                // An error cuts the connection, which is its end as well.
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    })
    .await;
    drop(body);
    pipe.finish();
}
