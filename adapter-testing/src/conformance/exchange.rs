use super::{
    client::{PATIENCE, Received, Wire},
    server::Host,
};
use crate::{ServerSentEvent, sse::EventParser};
use bytes::Bytes;
use http::{Method, Response, Version, header};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// Longer than an otherwise idle server needs.
const MOMENT: Duration = Duration::from_millis(20);

/// An HTTP request other than for a WebSocket, before it is sent. The method is GET unless there is a body.
#[derive(Clone)]
#[must_use]
pub struct HttpRequest<'a> {
    host: &'a dyn Host,
    request: http::Request<()>,
    body: Body,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    None,
    Whole(Bytes),
    /// Pieces without a total length.
    Chunks(Vec<Bytes>),
    /// Less than the length announced: the rest never follows.
    Unfinished(Bytes),
}

impl<'a> HttpRequest<'a> {
    pub(crate) fn new(host: &'a dyn Host, target: &str) -> Self {
        let request = http::Request::builder().uri(target).header(header::HOST, "localhost").body(());
        Self { host, request: request.expect("the target is a path"), body: Body::None }
    }

    /// Sets the method.
    pub fn method(mut self, method: Method) -> Self {
        *self.request.method_mut() = method;
        self
    }

    /// Sets a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().expect("a header's value"));
        self
    }

    /// Adds a header, in addition to those of the same name.
    pub fn and_header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().append(name, value.parse().expect("a header's value"));
        self
    }

    /// Removes a header.
    pub fn without(mut self, name: &str) -> Self {
        self.request.headers_mut().remove(name);
        self
    }

    /// Sets the version of HTTP.
    pub fn version(mut self, version: Version) -> Self {
        *self.request.version_mut() = version;
        self
    }

    /// Sets the query.
    pub fn query(mut self, query: &str) -> Self {
        let uri = format!("{}?{query}", self.request.uri().path());
        *self.request.uri_mut() = uri.parse().expect("a query");
        self
    }

    /// Sets a name and an input in the query.
    pub fn path(self, name: &str, input: &serde_json::Value) -> Self {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        self.query(&pairs.append_pair("path", name).append_pair("input", &input.to_string()).finish())
    }

    /// Posts JSON.
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Posts bytes.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.header("content-length", &body.len().to_string()).with(Body::Whole(body))
    }

    /// Posts pieces, without a length.
    pub fn chunks(self, chunks: &[&'static str]) -> Self {
        let chunks = chunks.iter().map(|chunk| Bytes::from_static(chunk.as_bytes())).collect();
        self.header("transfer-encoding", "chunked").with(Body::Chunks(chunks))
    }

    /// Posts bytes of which the last never follows.
    pub fn unfinished(self, body: &'static str) -> Self {
        self.header("content-length", &(body.len() + 1).to_string()).with(Body::Unfinished(body.into()))
    }

    fn with(mut self, body: Body) -> Self {
        self.body = body;
        self.method(Method::POST)
    }

    /// Sends the request; the response is awaited when it is first needed.
    pub fn begin(self) -> Exchange {
        Exchange { wire: self.host.begin(&self.request, &self.body), bytes: Vec::new(), head: None }
    }

    /// Sends the request, and checks the status of the response.
    #[track_caller]
    pub fn answered(self, status: u16) -> Exchange {
        let mut exchange = self.begin();
        exchange.expect_status(status);
        exchange
    }

    /// Sends the request, and checks the output.
    #[track_caller]
    pub fn gives(self, data: &serde_json::Value) {
        let body = self.answered(200).json();
        assert_eq!(body, serde_json::json!({ "ok": true, "data": data }));
    }

    /// Sends the request, and checks its error. Returns the response.
    #[track_caller]
    pub fn fails(self, status: u16, code: &str) -> Exchange {
        let mut exchange = self.answered(status);
        let body = exchange.json();
        assert_eq!((&body["ok"], &body["error"]["code"]), (&false.into(), &code.into()), "{body}");
        exchange
    }

    /// Sends the request, and checks that the response is a stream of events.
    #[track_caller]
    pub fn events(self) -> Events {
        self.header("accept", "text/event-stream").begin().into_events()
    }
}

impl fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

/// A request that was sent. Dropping it disconnects the client.
pub struct Exchange {
    wire: Box<dyn Wire>,
    bytes: Vec<u8>,
    head: Option<Response<()>>,
}

impl Exchange {
    /// Returns the response's status.
    #[track_caller]
    pub fn status(&mut self) -> u16 {
        self.head().status().as_u16()
    }

    /// Returns the response as a stream of events.
    #[track_caller]
    pub fn into_events(mut self) -> Events {
        let status = self.status();
        assert_eq!(status, 200, "{}", self.json());
        Events { exchange: self, parser: EventParser::default(), done: false }
    }

    /// Checks the response's status.
    #[track_caller]
    pub fn expect_status(&mut self, status: u16) {
        let found = self.status();
        if found != status {
            panic!("{found} instead of {status}: {}", String::from_utf8_lossy(&self.body()));
        }
    }

    /// Returns a header of the response.
    #[track_caller]
    pub fn header(&mut self, name: &str) -> Option<String> {
        self.head().headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    /// Returns all headers of one name.
    #[track_caller]
    pub fn headers(&mut self, name: &str) -> Vec<String> {
        let all = self.head().headers().get_all(name).iter();
        all.map(|value| value.to_str().expect("a header's text").to_owned()).collect()
    }

    /// Sends the body if the server requests it with a 100; the response follows it.
    #[track_caller]
    pub fn send_if_asked(&mut self, body: &[u8]) {
        if self.status() == 100 {
            self.head = None;
            self.wire.send(body);
        }
    }

    /// Checks that the connection is not reset, even when the server ends it.
    #[track_caller]
    pub fn expect_no_reset(&mut self) {
        let received = self.more(Duration::from_millis(10));
        assert!(matches!(received, Received::Nothing | Received::End), "{received:?}");
    }

    /// Returns the body as JSON. May be called again.
    #[track_caller]
    pub fn json(&mut self) -> serde_json::Value {
        assert_eq!(self.header("content-type").as_deref(), Some("application/json"));
        let body = self.body();
        let json = serde_json::from_slice(&body);
        json.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)))
    }

    /// Returns the whole body.
    #[track_caller]
    pub fn body(&mut self) -> Vec<u8> {
        let length = self.header("content-length").map(|length| length.parse().expect("a length"));
        if let Some(length) = length {
            while self.bytes.len() < length {
                assert_eq!(self.more(PATIENCE), Received::Bytes, "the body ends at {} bytes", self.bytes.len());
            }
            return self.bytes[..length].to_vec();
        }
        while self.more(PATIENCE) == Received::Bytes {}
        self.bytes.clone()
    }

    /// All bytes up to the end of the connection.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more(PATIENCE) == Received::Bytes {}
        self.bytes.clone()
    }

    /// Returns true if a part of the response has come.
    pub fn has_come(&mut self) -> bool {
        self.head.is_some() || self.more(Duration::from_millis(1)) != Received::Nothing || !self.bytes.is_empty()
    }

    /// Checks that no response was received yet.
    #[track_caller]
    pub fn nothing_yet(&mut self) {
        let received = self.more(Duration::from_millis(1));
        assert_eq!(received, Received::Nothing, "{}", String::from_utf8_lossy(&self.bytes));
    }

    #[track_caller]
    fn head(&mut self) -> &Response<()> {
        while self.head.is_none() {
            if let Some((head, used)) = super::tcp::parse(&self.bytes) {
                self.bytes.drain(..used);
                self.head = Some(head);
                break;
            }
            let received = self.more(PATIENCE);
            assert_eq!(received, Received::Bytes, "no response: {:?}", String::from_utf8_lossy(&self.bytes));
        }
        self.head.as_ref().expect("it was just read")
    }

    fn more(&mut self, patience: Duration) -> Received {
        self.wire.recv(&mut self.bytes, patience)
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("head", &self.head).finish_non_exhaustive()
    }
}

/// A stream of server-sent events. Dropping it disconnects the client.
#[derive(Debug)]
pub struct Events {
    exchange: Exchange,
    parser: EventParser,
    /// True once the last chunk was received.
    done: bool,
}

impl Events {
    /// Returns a header of the response.
    #[track_caller]
    pub fn header(&mut self, name: &str) -> Option<String> {
        self.exchange.header(name)
    }

    /// Receives the next event.
    #[track_caller]
    pub fn recv(&mut self) -> ServerSentEvent {
        loop {
            if let Some(event) = self.parser.next() {
                return event;
            }
            assert!(self.more(), "the stream has ended");
        }
    }

    /// Checks that the next event has this type and data, and no id.
    #[track_caller]
    pub fn expect(&mut self, event: &str, data: &str) {
        self.expect_with(None, event, data);
    }

    /// Checks that the next event has this id, type and data.
    #[track_caller]
    pub fn expect_with(&mut self, id: Option<&str>, event: &str, data: &str) {
        let found = self.recv();
        assert_eq!((found.id.as_deref(), &*found.event, &*found.data), (id, event, data));
    }

    /// Waits until a source would come back with this id, and no event has come.
    #[track_caller]
    pub fn expect_last_id(&mut self, id: &str) {
        loop {
            assert_eq!(self.parser.next(), None);
            if self.parser.last_event_id() == id {
                return;
            }
            assert!(self.more(), "the stream has ended");
        }
    }

    /// Returns the id with which a source would come back.
    pub fn last_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Waits for this many comments, and checks that no event comes.
    #[track_caller]
    pub fn expect_comments(&mut self, count: usize) {
        loop {
            assert_eq!(self.parser.next(), None);
            if self.parser.comments() >= count {
                return assert_eq!(self.parser.comments(), count);
            }
            assert!(self.more(), "the stream has ended");
        }
    }

    /// Waits for a moment. Returns true if this many comments and no event were received.
    #[track_caller]
    pub fn has_comments(&mut self, count: usize) -> bool {
        if self.parser.comments() < count && self.exchange.more(MOMENT) == Received::Bytes {
            while let Some(chunk) = self.take_chunk() {
                self.parser.push(&chunk);
            }
        }
        assert_eq!(self.parser.next(), None);
        self.parser.comments() >= count
    }

    /// Sends bytes. Returns true if the server still accepts them.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.exchange.wire.send(bytes)
    }

    /// Returns the reconnection delay that the server sent, if any.
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }

    /// Checks that the stream has the error and a delay of at least this many seconds, and ends.
    #[track_caller]
    pub fn expect_later(mut self, code: &str, seconds: u64) {
        let error = self.recv();
        assert_eq!(
            (&*error.event, &error.json::<serde_json::Value>()["code"]),
            ("error", &code.into()),
            "{error:?}"
        );
        assert_eq!(error.json::<serde_json::Value>()["retryable"], true);
        self.expect_end();
        self.expect_retry(seconds);
    }

    /// Checks that the reconnection delay is at least this many seconds, and at most that many or four more.
    #[track_caller]
    pub fn expect_retry(&self, seconds: u64) {
        let (retry, least) = (self.retry().expect("a time to come back"), Duration::from_secs(seconds));
        assert!((least..least + Duration::from_secs(seconds.max(4))).contains(&retry), "{retry:?}");
    }

    /// Checks that nothing follows but the end.
    #[track_caller]
    pub fn expect_end(&mut self) {
        loop {
            assert_eq!(self.parser.next(), None);
            if !self.more() {
                return;
            }
        }
    }

    /// Reads to the end. Returns the number of events.
    #[track_caller]
    pub fn rest(&mut self) -> usize {
        let mut count = 0;
        loop {
            while self.parser.next().is_some() {
                count += 1;
            }
            if !self.more() {
                return count;
            }
        }
    }

    /// Reads more of the body. Returns false at its end.
    #[track_caller]
    fn more(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while !self.done {
            if let Some(chunk) = self.take_chunk() {
                self.parser.push(&chunk);
                return true;
            }
            if self.done {
                break;
            }
            match self.exchange.more(PATIENCE) {
                Received::Bytes => {}
                Received::End | Received::Reset => return false,
                Received::Nothing => panic!("neither an event nor the end was received"),
            }
            assert!(Instant::now() < end, "a chunk is never complete");
        }
        false
    }

    /// Removes the received part of the body, without its framing.
    fn take_chunk(&mut self) -> Option<Vec<u8>> {
        let chunked = self.exchange.header("transfer-encoding").is_some_and(|encoding| encoding == "chunked");
        let bytes = &mut self.exchange.bytes;
        if !chunked {
            return (!bytes.is_empty()).then(|| std::mem::take(bytes));
        }
        let line = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let length =
            std::str::from_utf8(&bytes[..line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let (start, length) = (line + 2, length.expect("a chunk has a length"));
        if length == 0 {
            self.done = true;
            return None;
        }
        let chunk = bytes.get(start..start + length + 2)?[..length].to_vec();
        bytes.drain(..start + length + 2);
        Some(chunk)
    }
}
