use crate::{
    TestServer,
    events::{TestEvents, TestItems},
    request::{Refused, TestRequest},
    watch::Exchange,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use realtime_core::{Event, Procedure, Subscription, raw::Answer};
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Borrow, convert::Infallible, fmt, future::poll_fn, pin::pin};

/// A client in memory that calls an endpoint by HTTP.
///
/// Dropping the future of a call disconnects the client.
#[derive(Clone, Debug)]
pub struct TestHttp {
    server: TestServer,
    id: String,
}

impl TestHttp {
    pub(crate) fn new(server: TestServer, id: &str) -> Self {
        Self { server, id: id.to_owned() }
    }

    /// Calls a query by GET.
    ///
    /// # Errors
    ///
    /// The error, with its HTTP status.
    ///
    /// # Panics
    ///
    /// If the input does not serialise, or the output does not match the type.
    pub async fn query<I, O>(
        &self,
        procedure: impl Borrow<Procedure<I, O>>,
        input: impl Borrow<I>,
    ) -> Result<O, Refused>
    where
        I: Serialize,
        O: DeserializeOwned,
    {
        let request = self.get().path(&procedure.borrow().name()).input(input.borrow());
        request.send().await.data()
    }

    /// Calls a procedure of any kind by POST.
    ///
    /// # Errors
    ///
    /// The error, with its HTTP status.
    ///
    /// # Panics
    ///
    /// As [`query`](Self::query).
    pub async fn mutate<I, O>(
        &self,
        procedure: impl Borrow<Procedure<I, O>>,
        input: impl Borrow<I>,
    ) -> Result<O, Refused>
    where
        I: Serialize,
        O: DeserializeOwned,
    {
        let (name, input) = (procedure.borrow().name(), to_value(input.borrow()));
        let kind = if procedure.borrow().is_query() { "query" } else { "mutation" };
        let call = serde_json::json!({ "path": name, "type": kind, "input": input });
        self.post().json(&call).send().await.data()
    }

    /// Sends an event by POST, without a connection.
    ///
    /// # Errors
    ///
    /// The error, with its HTTP status.
    ///
    /// # Panics
    ///
    /// If the data does not serialise.
    pub async fn emit<T: Serialize>(&self, event: Event<T>, data: impl Borrow<T>) -> Result<(), Refused> {
        let event = serde_json::json!({ "type": "event", "name": event.name(), "data": to_value(data.borrow()) });
        let TestHttpResponse(response) = self.post().json(&event).send().await;
        if response.status().is_success() { Ok(()) } else { Err(Refused::new(response)) }
    }

    /// Subscribes by server-sent events.
    ///
    /// # Errors
    ///
    /// The refusal, with its HTTP status.
    ///
    /// # Panics
    ///
    /// If the input does not serialise.
    pub async fn subscribe_events<I, T>(
        &self,
        subscription: impl Borrow<Subscription<I, T>>,
        input: impl Borrow<I>,
    ) -> Result<TestItems<T>, Refused>
    where
        I: Serialize,
        T: DeserializeOwned,
    {
        let request = self.server.events(&self.id).path(&subscription.borrow().name()).input(input.borrow());
        request.open().await.map(TestItems::new)
    }

    /// Creates a GET request.
    pub fn get(&self) -> TestHttpRequest {
        self.request(Method::GET)
    }

    /// Creates a POST request.
    pub fn post(&self) -> TestHttpRequest {
        self.request(Method::POST)
    }

    /// Creates a request with any method.
    pub fn request(&self, method: Method) -> TestHttpRequest {
        TestHttpRequest::of_method(self.server.clone(), &self.id, method)
    }
}

/// A request, other than for a WebSocket, whose response is complete or a stream of events.
pub type TestHttpRequest = TestRequest<RequestBody>;

/// The body of a [`TestHttpRequest`].
#[derive(Clone, Debug, Default)]
pub struct RequestBody {
    chunks: Vec<Bytes>,
    unfinished: bool,
}

impl TestHttpRequest {
    pub(crate) fn of_method(server: TestServer, id: &str, method: Method) -> Self {
        let request = Request::builder().method(method).uri(format!("{}/{id}", server.realtime().prefix()));
        let request = request.header(header::HOST, "localhost").body(()).expect("the id can stand in a path");
        Self::new(server, request, RequestBody::default())
    }

    /// Sets the name of the procedure or subscription, in the query.
    pub fn path(self, name: &str) -> Self {
        self.pair("path", name)
    }

    /// Sets the id of the last event received.
    ///
    /// # Panics
    ///
    /// If the id is not a valid header value.
    #[track_caller]
    pub fn last_event_id(self, id: &str) -> Self {
        self.set_header("last-event-id", id)
    }

    /// Sets the body and its length.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.set_header("content-length", &body.len().to_string()).chunks([body])
    }

    /// Sets the body to JSON, with its type and length.
    ///
    /// # Panics
    ///
    /// If the value does not serialise.
    #[track_caller]
    pub fn json(self, body: &impl Serialize) -> Self {
        self.set_header("content-type", "application/json").body(to_value(body).to_string())
    }

    /// Sets the body in pieces, without a length.
    pub fn chunks<C: Into<Bytes>>(mut self, chunks: impl IntoIterator<Item = C>) -> Self {
        self.body.chunks = chunks.into_iter().map(Into::into).collect();
        self
    }

    /// Leaves the body unfinished.
    pub fn unfinished(mut self) -> Self {
        self.body.unfinished = true;
        self
    }

    /// Sends the request, and waits for the response.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future disconnects the client, and drops the call.
    ///
    /// # Panics
    ///
    /// If the response is a stream, or the request is for a WebSocket.
    pub async fn send(self) -> TestHttpResponse {
        match self.answer().await.0 {
            Answer::Response(response) => TestHttpResponse(response),
            Answer::Events(_) => panic!("the response is a stream of events: open it with `open`"),
            Answer::Upgrade(_) => panic!("the request is for a WebSocket: use `TestServer::request`"),
        }
    }

    /// Sends the request, and opens the stream of events.
    ///
    /// # Errors
    ///
    /// The response, if it is not a stream.
    ///
    /// # Panics
    ///
    /// If the request is for a WebSocket.
    pub async fn open(self) -> Result<TestEvents, Refused> {
        let again = self.clone();
        match self.answer().await {
            (Answer::Events(response), exchange) => Ok(TestEvents::new(again, response, exchange).await),
            (Answer::Response(response), _) => Err(Refused::new(response)),
            (Answer::Upgrade(_), _) => panic!("a WebSocket is asked for with `TestServer::request`"),
        }
    }

    async fn answer(self) -> (Answer, Option<Exchange>) {
        let exchange = self.exchange();
        let (server, context, RequestBody { chunks, unfinished }) = self.into_parts();
        let mut body = body(chunks, unfinished);
        let mut answer = pin!(server.realtime().answer(context, &mut body, server.0.executor.clone()));
        let answer = poll_fn(|cx| {
            server.run(cx);
            let answered = answer.as_mut().poll(cx);
            // Runs the tasks that the request has started.
            server.run(cx);
            answered
        })
        .await;
        if let (Some(exchange), Answer::Response(response)) = (&exchange, &answer) {
            exchange.answer(response.body());
        }
        (answer, exchange)
    }

    /// Returns the exchange to look at, if values are compared with their schemas.
    fn exchange(&self) -> Option<Exchange> {
        let prefix = self.server().realtime().prefix();
        Some(Exchange::new(self.watched()?, prefix, self.head(), &self.body.chunks))
    }
}

/// Returns the body of a request. If it is `unfinished`, nothing follows its chunks.
pub(crate) fn body(
    chunks: Vec<Bytes>,
    unfinished: bool,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin + Send {
    let rest = if unfinished { stream::pending().left_stream() } else { stream::empty().right_stream() };
    stream::iter(chunks).chain(rest).map(Ok)
}

#[track_caller]
pub(crate) fn to_value(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("the value serialises")
}

/// A complete response.
pub struct TestHttpResponse(Response<Bytes>);

impl TestHttpResponse {
    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// Returns all headers.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// Returns a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        self.0.body()
    }

    /// Parses the body as JSON.
    ///
    /// # Panics
    ///
    /// If the body does not parse as `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(self.body()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the result of a call.
    ///
    /// # Errors
    ///
    /// The response, if its status is an error.
    ///
    /// # Panics
    ///
    /// If the body is not `{"ok":true,"data":…}` with a `T`.
    #[track_caller]
    pub fn data<T: DeserializeOwned>(self) -> Result<T, Refused> {
        if !self.status().is_success() {
            return Err(Refused::new(self.0));
        }
        #[derive(serde::Deserialize)]
        struct Body<T> {
            ok: bool,
            data: T,
        }
        let body: Body<T> = self.json();
        assert!(body.ok, "a successful status with `ok` false: {self:?}");
        Ok(body.data)
    }
}

impl fmt::Debug for TestHttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestHttpResponse({}: {})", self.status(), String::from_utf8_lossy(self.body()))
    }
}
