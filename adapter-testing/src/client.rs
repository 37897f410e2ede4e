use crate::{
    Ended, ErrorFrame, TestAnswer, TestCall, TestCallOptions, TestFrame, TestSubscribeOptions, TestSubscription,
    protocol::read, wire::Wire,
};
use http::Response;
use realtime_core::{Event, Gap, Handler, Procedure, Subscription};
use realtime_protocol::client::{Incoming, Outgoing};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, marker::PhantomData};

/// A client in memory, typed by the handler that it is connected to; `TestClient` without a type is one of an
/// [`Endpoint`](realtime_core::Endpoint) that has no handler beside it.
///
/// It speaks JSON, or MessagePack where it was [offered](crate::TestRequest::subprotocol) and
/// chosen. It answers pings like any client, unless it was told to be silent. What comes for one thing stays until it
/// is awaited, while others are. Dropping the client cuts the connection.
pub struct TestClient<H = ()> {
    wire: Wire,
    response: Response<()>,
    handler: PhantomData<fn() -> H>,
}

/// Messages, of a handler.
impl<H: Handler> TestClient<H> {
    /// Sends a message, and lets the server handle it.
    ///
    /// # Panics
    ///
    /// If it does not serialise.
    pub async fn send(&mut self, message: H::ClientMessage)
    where
        H::ClientMessage: Serialize,
    {
        let value = self.wire.write(message);
        self.wire.send(Outgoing::Message { value: &value }).await;
    }

    /// The next message. A welcome that comes first is passed over.
    ///
    /// # Errors
    ///
    /// [`Ended::Error`] if the server sends an error instead, [`Ended::Closed`] if it closes, and
    /// [`Ended::Lost`] if the connection is cut.
    ///
    /// # Panics
    ///
    /// If what comes is not of the protocol or of the type.
    pub async fn recv(&mut self) -> Result<H::ServerMessage, Ended>
    where
        H::ServerMessage: DeserializeOwned,
    {
        read_message(self.wire.wait(is_message).await?)
    }

    /// The next message if there is one, after the server has done all that it can.
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
        other => panic!("instead of a message: {other:?}"),
    }
}

/// Calls, subscriptions and events, of an [`Endpoint`](realtime_core::Endpoint).
impl<H> TestClient<H> {
    /// Calls a procedure and waits for its end.
    ///
    /// # Errors
    ///
    /// As [`TestCall::result`].
    ///
    /// # Panics
    ///
    /// If the input does not serialise, or the output is not of the type.
    pub async fn call<I, O>(&mut self, procedure: Procedure<I, O>, input: I) -> Result<O, Ended>
    where
        I: Serialize + Send + 'static,
        O: DeserializeOwned + 'static,
    {
        self.begin(procedure, input).await.result().await
    }

    /// Calls a procedure, lets the server begin, and does not wait for its end: others may be called meanwhile.
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

    /// As [`begin`](Self::begin), with a timeout or an idempotency key.
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

    /// Subscribes, and lets the server begin.
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

    /// As [`subscribe`](Self::subscribe), behind a position or with credit.
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

    /// Sends an event, and lets the server handle it. An error of it [has no id](Self::expect_error).
    ///
    /// # Panics
    ///
    /// If the data does not serialise.
    pub async fn emit<T: Serialize + Send + 'static>(&mut self, event: Event<T>, data: T) {
        let data = self.wire.write(data);
        self.wire.send(Outgoing::Event { name: event.name(), data: &data }).await;
    }

    /// Waits for an event; gives its data.
    ///
    /// # Panics
    ///
    /// If the connection ends instead, or the data is not of the type.
    pub async fn expect_event<T: DeserializeOwned + 'static>(&mut self, event: Event<T>) -> T {
        let came = self.wire.wait(|frame| is_event(frame, event.name())).await;
        read_event(came.unwrap_or_else(|ended| panic!("instead of the event {:?}: {ended}", event.name())))
    }

    /// The data of the next such event if there is one, after the server has done all that it can.
    ///
    /// # Panics
    ///
    /// If the data is not of the type.
    pub async fn try_event<T: DeserializeOwned + 'static>(&mut self, event: Event<T>) -> Option<T> {
        self.wire.look(|frame| is_event(frame, event.name())).await.ok()?.map(read_event)
    }

    /// Waits until the server calls a procedure of the client's; gives the input, and what answers it.
    ///
    /// # Panics
    ///
    /// If the connection ends instead, or the input is not of the type.
    pub async fn expect_call<I, O>(&mut self, procedure: Procedure<I, O>) -> (I, TestAnswer<O>)
    where
        I: DeserializeOwned + 'static,
        O: Serialize + Send + 'static,
    {
        TestAnswer::expect(&self.wire, procedure).await
    }

    /// Waits for an error that is about the connection, and not about a call or subscription.
    ///
    /// # Panics
    ///
    /// If the connection ends instead.
    pub async fn expect_error(&mut self) -> ErrorFrame {
        match self.wire.wait(|frame| matches!(frame, Incoming::Error { id: None, .. })).await {
            Ok(Incoming::Error { error, .. }) => error.into(),
            other => panic!("instead of an error: {other:?}"),
        }
    }

    /// Waits to be told that publications of a topic are missing; gives the topic's name, and what is missing.
    ///
    /// # Panics
    ///
    /// If the connection ends instead.
    pub async fn expect_gap(&mut self) -> (String, Gap) {
        match self.wire.wait(|frame| matches!(frame, Incoming::Gap { id: None, .. })).await {
            Ok(Incoming::Gap { topic: Some(topic), gap, .. }) => (topic, gap),
            other => panic!("instead of a gap: {other:?}"),
        }
    }
}

fn is_event(frame: &Incoming, event: &str) -> bool {
    matches!(frame, Incoming::Event { name, .. } if name == event)
}

fn read_event<T: DeserializeOwned + 'static>(frame: Incoming) -> T {
    match frame {
        Incoming::Event { data, .. } => read(&data),
        other => panic!("instead of an event: {other:?}"),
    }
}

/// The connection.
impl<H> TestClient<H> {
    pub(crate) fn new(wire: Wire, response: Response<()>) -> Self {
        Self { wire, response, handler: PhantomData }
    }

    /// The response that accepted the upgrade.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Sends a text message as it is.
    pub async fn send_text(&mut self, text: &str) {
        self.send_frame(&TestFrame::text(text)).await;
    }

    /// Sends one frame.
    pub async fn send_frame(&mut self, frame: &TestFrame) {
        self.send_bytes(&frame.to_bytes()).await;
    }

    /// Sends bytes as they are, and lets the server handle them.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.wire.send_bytes(bytes).await;
    }

    /// Waits for the next frame, a close frame among them. Pings are answered and left out, unless the client is silent.
    ///
    /// # Errors
    ///
    /// [`Ended::Lost`] once the connection has ended.
    pub async fn recv_frame(&mut self) -> Result<TestFrame, Ended> {
        self.wire.wait_any().await
    }

    /// The next frame if there is one, after the server has done all that it can.
    ///
    /// # Errors
    ///
    /// As [`recv_frame`](Self::recv_frame).
    pub async fn try_frame(&mut self) -> Result<Option<TestFrame>, Ended> {
        self.wire.look_any().await
    }

    /// Closes, and waits for the server's answer; gives its code and reason. What comes before it is dropped.
    pub async fn close(mut self, code: u16, reason: &str) -> Option<(u16, String)> {
        self.send_frame(&TestFrame::close(code, reason)).await;
        while let Ok(frame) = self.recv_frame().await {
            if let Some(close) = frame.as_close() {
                return Some(close);
            }
        }
        None
    }

    /// Reads nothing from now on, as a client that hangs.
    pub fn stall(&mut self) {
        self.wire.stall();
    }

    /// Reads again.
    pub fn resume(&mut self) {
        self.wire.resume();
    }

    /// Answers no pings from now on, as a client that is gone without a word.
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
