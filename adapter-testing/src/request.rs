use crate::{
    TestServer,
    client::TestClient,
    pipe::{MemoryTransport, Pipe},
    protocol,
    watch::Watched,
    wire::Wire,
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use realtime_core::{Context, Handler};
use serde::Serialize;
use std::{fmt, future::poll_fn, net::SocketAddr, pin::pin, sync::Arc};

/// A request before it is sent: for a WebSocket, or with a [body](crate::TestHttpRequest).
#[derive(Clone, Debug)]
#[must_use = "nothing is asked for before `connect`, `open` or `send`"]
pub struct TestRequest<B = NoBody> {
    server: TestServer,
    request: Request<()>,
    peer: Option<SocketAddr>,
    pub(crate) body: B,
}

/// The absent body of a request for a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct NoBody;

/// The head of a request.
impl<B> TestRequest<B> {
    pub(crate) fn new(server: TestServer, request: Request<()>, body: B) -> Self {
        Self { server, request, peer: None, body }
    }

    /// Adds the typed input to the query.
    ///
    /// # Panics
    ///
    /// If the input does not serialise to JSON.
    #[track_caller]
    pub fn input(self, input: &impl Serialize) -> Self {
        match &*serde_json::to_string(input).expect("the input serialises") {
            "null" => self,
            json => self.pair("input", json),
        }
    }

    /// Adds a pair to the query.
    pub fn pair(self, name: &str, value: &str) -> Self {
        let pair = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        match self.request.uri().query().map(|query| format!("{query}&{pair}")) {
            Some(query) => self.query(&query),
            None => self.query(&pair),
        }
    }

    /// Sets the query, in the form that it has in a URL.
    ///
    /// # Panics
    ///
    /// If the text is not a valid query.
    #[track_caller]
    pub fn query(mut self, query: &str) -> Self {
        let uri = format!("{}?{query}", self.request.uri().path());
        *self.request.uri_mut() = uri.parse().expect("the query can stand in a URL");
        self
    }

    /// Adds a header.
    ///
    /// # Panics
    ///
    /// If the name or value is invalid.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: http::HeaderName = name.parse().expect("a header's name");
        self.request.headers_mut().append(name, value.parse().expect("a header's value"));
        self
    }

    /// Sets a header, replacing those of the same name.
    #[track_caller]
    pub(crate) fn set_header(mut self, name: &str, value: &str) -> Self {
        self.request.headers_mut().remove(name);
        self.header(name, value)
    }

    /// Sets a variable, as a layer of the framework would.
    pub fn var<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.request.extensions_mut().insert(value);
        self
    }

    /// Sets the client's address.
    pub fn peer(mut self, peer: SocketAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    pub(crate) fn server(&self) -> &TestServer {
        &self.server
    }

    /// The id that it is for, if somebody looks at its values.
    pub(crate) fn watched(&self) -> Option<Watched> {
        self.server.watched(self.request.uri())
    }

    pub(crate) fn head(&self) -> &Request<()> {
        &self.request
    }

    pub(crate) fn into_parts(self) -> (TestServer, Context, B) {
        let context = Context::from_parts(self.request.into_parts().0, self.peer, false);
        (self.server, context, self.body)
    }
}

/// Requests for a WebSocket.
impl TestRequest {
    pub(crate) fn upgrade_of(server: TestServer, id: &str) -> Self {
        let path = format!("{}/{id}", server.realtime().prefix());
        Self::upgrade_at(server, &path)
    }

    pub(crate) fn upgrade_at(server: TestServer, path: &str) -> Self {
        Self::new(server, upgrade_request(path), NoBody)
    }

    /// Offers a subprotocol. The client uses the one that the server selects: MessagePack for `realtime.v1.msgpack`,
    /// otherwise JSON.
    ///
    /// # Panics
    ///
    /// If the name is not a valid header value.
    #[track_caller]
    pub fn subprotocol(self, name: &str) -> Self {
        self.header("sec-websocket-protocol", name)
    }

    /// Connects to a handler.
    ///
    /// # Errors
    ///
    /// The refusal, with its HTTP status.
    pub async fn connect<H: Handler>(self) -> Result<TestClient<H>, Refused> {
        let (wire, response) = self.upgrade().await?;
        Ok(TestClient::new(wire, response))
    }

    /// Connects to an [`Endpoint`](realtime_core::Endpoint), like [`TestServer::open`].
    ///
    /// # Errors
    ///
    /// The refusal, with its HTTP status.
    pub async fn open(self) -> Result<TestClient, Refused> {
        let (wire, response) = self.upgrade().await?;
        Ok(TestClient::new(wire, response))
    }

    async fn upgrade(self) -> Result<(Wire, Response<()>), Refused> {
        let watched = self.watched();
        if let Some(watched) = &watched {
            watched.connect(self.request.uri());
        }
        let pipe = Pipe::new();
        let (server, context, NoBody) = self.into_parts();
        let upgrade = {
            let mut accept = pin!(server.realtime().upgrade(context, server.0.executor.clone()));
            poll_fn(|cx| {
                server.run(cx);
                accept.as_mut().poll(cx)
            })
            .await
        };
        let mut upgrade = upgrade.map_err(|reject| Refused::new(reject.into_response()))?;
        let response = upgrade.response();
        let runtime = server.0.executor.clone();
        let session = upgrade.serve(MemoryTransport(Arc::clone(&pipe)), Bytes::new());
        realtime_core::raw::Runtime::spawn(&runtime, Box::pin(session));
        let wire = Wire::new(server.clone(), pipe, protocol::chosen(&response), watched);
        server.settle().await;
        Ok((wire, response))
    }
}

/// Returns the head of an upgrade request with the usual headers.
pub(crate) fn upgrade_request(target: &str) -> Request<()> {
    let request = Request::builder().method(Method::GET).uri(target);
    let request =
        request.header("host", "localhost").header("connection", "Upgrade").header("upgrade", "websocket");
    let request =
        request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.body(()).expect("the target is a path")
}

/// A refusal: a response in place of a connection, stream or result.
pub struct Refused(Box<Response<Bytes>>);

impl Refused {
    pub(crate) fn new(response: Response<Bytes>) -> Self {
        Self(Box::new(response))
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// Returns the whole response.
    pub fn response(&self) -> &Response<Bytes> {
        &self.0
    }

    /// Returns the code of the error in the body.
    pub fn code(&self) -> String {
        self.error("code")
    }

    /// Returns the message of the error in the body.
    pub fn message(&self) -> String {
        self.error("message")
    }

    fn error(&self, field: &str) -> String {
        let body: serde_json::Value = serde_json::from_slice(self.0.body()).unwrap_or_default();
        body["error"][field].as_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refused({}: {})", self.status(), String::from_utf8_lossy(self.0.body()))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused with {}: {}", self.status(), self.message())
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;
    use realtime_core::Realtime;

    #[test]
    fn requests_of_all_kinds_are_built_alike() {
        fn check<B>(request: TestRequest<B>) {
            let request =
                request.query("a=1").input(&"b c").input(&()).header("x-y", "1").header("x-y", "2").request;
            assert_eq!(request.uri().query(), Some("a=1&input=%22b+c%22"));
            assert_eq!(request.headers().get_all("x-y").iter().collect::<Vec<_>>(), ["1", "2"]);
            assert_eq!(request.headers().get_all("host").iter().count(), 1);
        }
        let server = TestServer::new(Realtime::builder().build());
        check(server.request("any"));
        check(server.http("any").get());
    }

    #[test]
    fn another_body_replaces_the_first_and_its_headers() {
        let server = TestServer::new(Realtime::builder().build());
        let request = server.http("any").post().json(&1).json(&22).request;
        assert_eq!(request.headers().get_all("content-length").iter().collect::<Vec<_>>(), ["2"]);
        assert_eq!(request.headers().get_all("content-type").iter().count(), 1);
    }
}
