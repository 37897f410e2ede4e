use crate::{
    Ended, ErrorFrame, TestAnswer, TestCall, TestCallOptions, TestFrame, TestSubscribeOptions, TestSubscription,
    protocol::read, wire::Wire,
};
use http::Response;
use realtime_core::{Event, Gap, Handler, Procedure, Subscription};
use realtime_protocol::client::{Incoming, Outgoing};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, marker::PhantomData};

/// A client in memory, typed by its handler. `TestClient` without a type is a client of an
/// [`Endpoint`](realtime_core::Endpoint) without a handler.
///
/// It uses JSON, or MessagePack if it [offered](crate::TestRequest::subprotocol) that and the server selected it. It
/// answers pings, unless it is silenced. Frames wait until they are awaited, in any order of calls, subscriptions and
/// events. Dropping the client cuts the connection.
pub struct TestClient<H = ()> {
    wire: Wire,
    response: Response<()>,
    handler: PhantomData<fn() -> H>,
}

/// Messages of a handler.
impl<H: Handler> TestClient<H> {
    /// Sends a message, and lets the server handle it.
    ///
    /// # Panics
    ///
    /// If the message does not serialise.
    pub async fn send(&mut self, message: H::ClientMessage)
    where
        H::ClientMessage: Serialize,
    {
        let value = self.wire.write(message);
        self.wire.send(Outgoing::Message { value: &value }).await;
    }

    /// Waits for the next message. A welcome before it is skipped.
    ///
    /// # Errors
    ///
    /// [`Ended::Error`] if the server sends an error instead, [`Ended::Closed`] if it closes, and [`Ended::Lost`] if
    /// the connection is cut.
    ///
    /// # Panics
    ///
    /// If the frame is not part of the protocol, or its value does not match the type.
    pub async fn recv(&mut self) -> Result<H::ServerMessage, Ended>
    where
        H::ServerMessage: DeserializeOwned,
    {
        read_message(self.wire.wait(is_message).await?)
    }

    /// Returns the next message if there is one, after running the server until it is idle.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    pub async fn try_recv(&mut self) -> Result<Option<H::ServerMessage>, Ended>
    where
        H::ServerMessage: DeserializeOwned,
    {
        self.wire.look(is_message).await?.map(read_message).transpose()
    }
}

fn is_message(frame: &Incoming) -> bool {
    matches!(frame, Incoming::Message { .. } | Incoming::Error { id: None, .. })
}

fn read_message<T: DeserializeOwned + 'static>(frame: Incoming) -> Result<T, Ended> {
    match frame {
        Incoming::Message { value, .. } => Ok(read(&value)),
        Incoming::Error { error, .. } => Err(Ended::Error(error.into())),
        other => panic!("expected a message, received {other:?}"),
    }
}

/// Calls, subscriptions and events of an [`Endpoint`](realtime_core::Endpoint).
impl<H> TestClient<H> {
    /// Calls a procedure and waits for its end.
    ///
    /// # Errors
    ///
    /// As [`TestCall::result`].
    ///
    /// # Panics
    ///
    /// If the input does not serialise, or the output does not match the type.
    pub async fn call<I, O>(&mut self, procedure: Procedure<I, O>, input: I) -> Result<O, Ended>
    where
        I: Serialize + Send + 'static,
        O: DeserializeOwned + 'static,
    {
        self.begin(procedure, input).await.result().await
    }

    /// Calls a procedure and lets the server start it, without waiting for its end. Several calls may run at once.
    ///
    /// # Panics
    ///
    /// If the input does not serialise.
    pub async fn begin<I, O>(&mut self, procedure: Procedure<I, O>, input: I) -> TestCall<O>
    where
        I: Serialize + Send + 'static,
        O: DeserializeOwned + 'static,
    {
        self.begin_with(procedure, input, TestCallOptions::default()).await
    }

    /// Like [`begin`](Self::begin), with a timeout or an idempotency key.
    ///
    /// # Panics
    ///
    /// If the input does not serialise.
    pub async fn begin_with<I, O>(
        &mut self,
        procedure: Procedure<I, O>,
        input: I,
        options: TestCallOptions,
    ) -> TestCall<O>
    where
        I: Serialize + Send + 'static,
        O: DeserializeOwned + 'static,
    {
        TestCall::begin(&self.wire, procedure, input, options).await
    }

    /// Subscribes, and lets the server start the subscription.
    ///
    /// # Panics
    ///
    /// If the input does not serialise.
    pub async fn subscribe<I, T>(&mut self, subscription: Subscription<I, T>, input: I) -> TestSubscription<T>
    where
        I: Serialize + Send + 'static,
        T: DeserializeOwned + 'static,
    {
        self.subscribe_with(subscription, input, TestSubscribeOptions::default()).await
    }

    /// Like [`subscribe`](Self::subscribe), after a position or with credit.
    ///
    /// # Panics
    ///
    /// If the input does not serialise.
    pub async fn subscribe_with<I, T>(
        &mut self,
        subscription: Subscription<I, T>,
        input: I,
        options: TestSubscribeOptions,
    ) -> TestSubscription<T>
    where
        I: Serialize + Send + 'static,
        T: DeserializeOwned + 'static,
    {
        TestSubscription::begin(&self.wire, subscription, input, options).await
    }

    /// Sends an event, and lets the server handle it. Its errors [have no id](Self::expect_error).
    ///
    /// # Panics
    ///
    /// If the data does not serialise.
    pub async fn emit<T: Serialize + Send + 'static>(&mut self, event: Event<T>, data: T) {
        let data = self.wire.write(data);
        self.wire.send(Outgoing::Event { name: event.name(), data: &data }).await;
    }

    /// Waits for an event. Returns its data.
    ///
    /// # Panics
    ///
    /// If the connection ends first, or the data does not match the type.
    pub async fn expect_event<T: DeserializeOwned + 'static>(&mut self, event: Event<T>) -> T {
        let came = self.wire.wait(|frame| is_event(frame, event.name())).await;
        read_event(came.unwrap_or_else(|ended| panic!("expected the event {:?}: {ended}", event.name())))
    }

    /// Returns the data of the next event of this name if there is one, after running the server until it is idle.
    ///
    /// # Panics
    ///
    /// If the data does not match the type.
    pub async fn try_event<T: DeserializeOwned + 'static>(&mut self, event: Event<T>) -> Option<T> {
        self.wire.look(|frame| is_event(frame, event.name())).await.ok()?.map(read_event)
    }

    /// Waits until the server calls a procedure of the client. Returns the input, and a handle for the answer.
    ///
    /// # Panics
    ///
    /// If the connection ends first, or the input does not match the type.
    pub async fn expect_call<I, O>(&mut self, procedure: Procedure<I, O>) -> (I, TestAnswer<O>)
    where
        I: DeserializeOwned + 'static,
        O: Serialize + Send + 'static,
    {
        TestAnswer::expect(&self.wire, procedure).await
    }

    /// Waits for an error that does not belong to a call or subscription.
    ///
    /// # Panics
    ///
    /// If the connection ends first.
    pub async fn expect_error(&mut self) -> ErrorFrame {
        match self.wire.wait(|frame| matches!(frame, Incoming::Error { id: None, .. })).await {
            Ok(Incoming::Error { error, .. }) => error.into(),
            other => panic!("expected an error, received {other:?}"),
        }
    }

    /// Waits for a gap in a topic. Returns the topic's name and the gap.
    ///
    /// # Panics
    ///
    /// If the connection ends first.
    pub async fn expect_gap(&mut self) -> (String, Gap) {
        match self.wire.wait(|frame| matches!(frame, Incoming::Gap { id: None, .. })).await {
            Ok(Incoming::Gap { topic: Some(topic), gap, .. }) => (topic, gap),
            other => panic!("expected a gap, received {other:?}"),
        }
    }
}

fn is_event(frame: &Incoming, event: &str) -> bool {
    matches!(frame, Incoming::Event { name, .. } if name == event)
}

fn read_event<T: DeserializeOwned + 'static>(frame: Incoming) -> T {
    match frame {
        Incoming::Event { data, .. } => read(&data),
        other => panic!("expected an event, received {other:?}"),
    }
}

/// The connection.
impl<H> TestClient<H> {
    pub(crate) fn new(wire: Wire, response: Response<()>) -> Self {
        Self { wire, response, handler: PhantomData }
    }

    /// Returns the response that accepted the upgrade.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Sends a text message unchanged.
    pub async fn send_text(&mut self, text: &str) {
        self.send_frame(&TestFrame::text(text)).await;
    }

    /// Sends one frame.
    pub async fn send_frame(&mut self, frame: &TestFrame) {
        self.wire.send_frame(frame).await;
    }

    /// Sends raw bytes, and lets the server handle them.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.wire.send_bytes(bytes).await;
    }

    /// Waits for the next frame, including a close frame. Pings are answered and skipped, unless the client is
    /// silenced.
    ///
    /// # Errors
    ///
    /// [`Ended::Lost`] once the connection has ended.
    pub async fn recv_frame(&mut self) -> Result<TestFrame, Ended> {
        self.wire.wait_any().await
    }

    /// Returns the next frame if there is one, after running the server until it is idle.
    ///
    /// # Errors
    ///
    /// As [`recv_frame`](Self::recv_frame).
    pub async fn try_frame(&mut self) -> Result<Option<TestFrame>, Ended> {
        self.wire.look_any().await
    }

    /// Closes, and waits for the server's close frame. Returns its code and reason. Earlier frames are dropped.
    pub async fn close(mut self, code: u16, reason: &str) -> Option<(u16, String)> {
        self.send_frame(&TestFrame::close(code, reason)).await;
        while let Ok(frame) = self.recv_frame().await {
            if let Some(close) = frame.as_close() {
                return Some(close);
            }
        }
        None
    }

    /// Stops reading, like a client that hangs.
    pub fn stall(&mut self) {
        self.wire.stall();
    }

    /// Starts reading again.
    pub fn resume(&mut self) {
        self.wire.resume();
    }

    /// Stops answering pings, like a client that vanished.
    pub fn silence(&mut self) {
        self.wire.silence();
    }
}

impl<H> Drop for TestClient<H> {
    fn drop(&mut self) {
        self.wire.cut();
    }
}

impl<H> fmt::Debug for TestClient<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestClient")
    }
}
