use super::server::Host;
use crate::{
    TestFrame,
    protocol::{chosen, write},
    request::upgrade_request,
};
use http::Response;
use realtime_core::websocket::{Opcode, accept_key};
use realtime_protocol::client::{Format, Outgoing};
use std::{fmt, time::Duration};

/// The time limit of a case's waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The client's end of a connection, in bytes.
pub(crate) trait Wire: Send {
    /// Sends bytes. Returns true if the server still accepts them.
    fn send(&mut self, bytes: &[u8]) -> bool;
    fn recv(&mut self, into: &mut Vec<u8>, patience: Duration) -> Received;
    /// Ends the client's stream, and goes on reading.
    fn finish(&mut self);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes,
    End,
    Reset,
    Nothing,
}

/// A request before it is sent.
#[must_use]
pub struct Request<'a> {
    host: &'a dyn Host,
    request: http::Request<()>,
    early: Vec<u8>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(host: &'a dyn Host, target: &str) -> Self {
        Self { host, request: upgrade_request(target), early: Vec::new() }
    }

    /// Changes the request.
    pub fn change(mut self, change: impl FnOnce(&mut http::Request<()>)) -> Self {
        change(&mut self.request);
        self
    }

    /// Sets a header.
    pub fn header(self, name: &'static str, value: &str) -> Self {
        let value = value.parse().expect("a header's value");
        self.change(|request| drop(request.headers_mut().insert(name, value)))
    }

    /// Adds a header, in addition to those of the same name.
    pub fn and_header(self, name: &'static str, value: &str) -> Self {
        let value = value.parse().expect("a header's value");
        self.change(|request| _ = request.headers_mut().append(name, value))
    }

    /// Offers subprotocols. The client uses the format of the selected one.
    pub fn subprotocol(self, names: &str) -> Self {
        self.header("sec-websocket-protocol", names)
    }

    /// Removes a header.
    pub fn without(self, name: &str) -> Self {
        self.change(|request| drop(request.headers_mut().remove(name)))
    }

    /// Sets the query.
    pub fn query(self, query: &str) -> Self {
        self.change(|request| {
            let uri = format!("{}?{query}", request.uri().path());
            *request.uri_mut() = uri.parse().expect("a query");
        })
    }

    /// Sends these bytes together with the request.
    pub fn early(mut self, bytes: &[u8]) -> Self {
        self.early = bytes.to_vec();
        self
    }

    /// Sends the request, which must be accepted.
    #[track_caller]
    pub fn connect(self) -> RawClient {
        let key =
            self.request.headers().get("sec-websocket-key").and_then(|key| key.to_str().ok()).map(accept_key);
        let (response, wire) = self.host.request(&self.request, &self.early);
        let mut client = RawClient::new(wire, response);
        let status = client.response.status().as_u16();
        if status != 101 {
            panic!("refused with {status}: {}", client.body());
        }
        assert_eq!(client.header("sec-websocket-accept"), key);
        assert_eq!(client.header("upgrade").as_deref(), Some("websocket"));
        assert_eq!(client.header("connection").map(|value| value.to_lowercase()).as_deref(), Some("upgrade"));
        client
    }

    /// Sends the request. Returns `None` if the server is full.
    #[track_caller]
    pub fn try_connect(self) -> Option<RawClient> {
        let (response, wire) = self.host.request(&self.request, &self.early);
        match response.status().as_u16() {
            503 => None,
            101 => Some(RawClient::new(wire, response)),
            status => panic!("neither accepted nor full: {status}"),
        }
    }

    /// Sends the request, which must be refused with this status. Returns the response.
    #[track_caller]
    pub fn refused(self, status: u16) -> RawClient {
        let (response, wire) = self.host.request(&self.request, &self.early);
        assert_eq!(response.status().as_u16(), status);
        RawClient::new(wire, response)
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

/// A client's connection in a case.
pub struct RawClient {
    wire: Box<dyn Wire>,
    bytes: Vec<u8>,
    response: Response<()>,
    format: Format,
}

impl RawClient {
    fn new(wire: Box<dyn Wire>, response: Response<()>) -> Self {
        Self { format: chosen(&response), wire, bytes: Vec::new(), response }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Returns a header of the response.
    pub fn header(&self, name: &str) -> Option<String> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    /// Returns all headers of one name.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let all = self.response.headers().get_all(name).iter();
        all.map(|value| value.to_str().expect("a header's text").to_owned()).collect()
    }

    /// Returns the body of a refusal, as JSON.
    #[track_caller]
    pub fn body(&mut self) -> serde_json::Value {
        loop {
            if let Ok(body) = serde_json::from_slice(&self.bytes) {
                return body;
            }
            if self.wire.recv(&mut self.bytes, PATIENCE) != Received::Bytes {
                panic!("the body is not JSON: {}", String::from_utf8_lossy(&self.bytes));
            }
        }
    }

    /// Sends raw bytes.
    pub fn raw(&mut self, bytes: &[u8]) {
        // The server may have closed already: the case checks what it sent before.
        self.wire.send(bytes);
    }

    /// Sends raw bytes. Returns true if the server still accepts them.
    pub fn try_raw(&mut self, bytes: &[u8]) -> bool {
        self.wire.send(bytes)
    }

    /// Sends a frame.
    pub fn frame(&mut self, frame: &TestFrame) {
        self.raw(&frame.to_bytes());
    }

    /// Sends a text message.
    pub fn text(&mut self, text: &str) {
        self.frame(&TestFrame::text(text));
    }

    /// Sends a binary message.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.frame(&TestFrame::new(Opcode::Binary, bytes));
    }

    /// Sends a value in the format of the selected protocol, JSON by default.
    #[track_caller]
    pub fn value(&mut self, value: &impl serde::Serialize) {
        let value = serde_json::to_value(value).expect("the value serialises");
        let value = write(self.format, &value);
        self.frame(&TestFrame::outgoing(self.format, &Outgoing::Message { value: &value }));
    }

    /// Receives the next frame.
    #[track_caller]
    pub fn recv(&mut self) -> TestFrame {
        loop {
            if let Some(frame) = TestFrame::take(&mut self.bytes) {
                return frame;
            }
            let received = self.wire.recv(&mut self.bytes, PATIENCE);
            assert_eq!(received, Received::Bytes, "no frame was received");
        }
    }

    /// Checks that the next frame is this text.
    #[track_caller]
    pub fn expect_text(&mut self, text: &str) {
        assert_eq!(self.recv(), TestFrame::text(text));
    }

    /// Checks that the next frame is this binary message.
    #[track_caller]
    pub fn expect_binary(&mut self, bytes: &[u8]) {
        assert_eq!(self.recv(), TestFrame::new(Opcode::Binary, bytes));
    }

    /// Receives the next frame, which must be part of the protocol.
    #[track_caller]
    pub fn recv_packet(&mut self) -> serde_json::Value {
        let frame = self.recv();
        frame.value(self.format).unwrap_or_else(|error| panic!("{error}: {frame:?}"))
    }

    /// Checks that the next frame is a message with this value.
    #[track_caller]
    pub fn expect_value(&mut self, value: &impl serde::Serialize) {
        let found = self.recv_packet();
        let value = serde_json::to_value(value).expect("the value serialises");
        assert_eq!(found, serde_json::json!({ "type": "message", "value": value }));
    }

    /// Checks that the next frame is an error with this code. Returns the error.
    #[track_caller]
    pub fn expect_error(&mut self, code: &str) -> serde_json::Value {
        let found = self.recv_packet();
        assert_eq!((&found["type"], &found["error"]["code"]), (&"error".into(), &code.into()), "{found}");
        found["error"].clone()
    }

    /// Checks that the next frame closes with this code, replies, and waits for the end of the connection. Returns the
    /// reason.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let frame = self.recv();
        let Some((found, reason)) = frame.as_close() else { panic!("no close frame: {frame:?}") };
        assert_eq!(found, code, "{reason}");
        self.frame(&TestFrame { payload: frame.payload, ..TestFrame::close(code, "") });
        self.expect_end();
        reason
    }

    /// Closes, and checks that the reply has the same code and that the connection ends.
    #[track_caller]
    pub fn close(mut self, code: u16, reason: &str) {
        self.frame(&TestFrame::close(code, reason));
        let frame = self.recv();
        assert_eq!(frame.as_close(), Some((code, String::new())), "{frame:?}");
        self.expect_end();
    }

    /// Checks that nothing follows but the end.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let received = self.wire.recv(&mut self.bytes, PATIENCE);
        assert!(matches!(received, Received::End | Received::Reset), "{received:?}, {:?}", self.bytes);
        assert!(self.bytes.is_empty(), "received before the end: {:?}", self.bytes);
    }

    /// Receives everything up to the end.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.wire.recv(&mut self.bytes, PATIENCE) {
                Received::Bytes => {}
                Received::End | Received::Reset => return std::mem::take(&mut self.bytes),
                Received::Nothing => panic!("the connection did not end, after {:?}", self.bytes),
            }
        }
    }

    /// Waits until the server has replied to everything sent before.
    #[track_caller]
    pub fn settle(&mut self) {
        self.frame(&TestFrame::new(Opcode::Ping, "settle"));
        let frame = self.recv();
        assert_eq!(frame, TestFrame::new(Opcode::Pong, "settle"));
    }

    /// Sends bytes, and checks that they close the connection with this code and reason.
    #[track_caller]
    pub fn expect_failure(mut self, bytes: &[u8], code: u16, reason: &str) {
        self.raw(bytes);
        let frame = self.recv();
        assert_eq!(frame.as_close(), Some((code, reason.to_owned())), "{bytes:x?}");
        self.finish();
        self.expect_end();
    }

    /// Ends the client's stream, and goes on reading.
    pub fn finish(&mut self) {
        self.wire.finish();
    }
}

impl fmt::Debug for RawClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawClient").field("response", &self.response).finish_non_exhaustive()
    }
}
