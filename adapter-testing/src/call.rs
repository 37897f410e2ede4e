use crate::{Ended, protocol::read, wire::Wire};
use realtime_core::Procedure;
use realtime_protocol::client::{Incoming, Outgoing};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, marker::PhantomData, time::Duration};

/// A running call, returned by [`TestClient::begin`](crate::TestClient::begin).
///
/// Dropping it does not cancel the call: [`cancel`](Self::cancel) does.
pub struct TestCall<O> {
    wire: Wire,
    id: String,
    output: PhantomData<fn() -> O>,
}

impl<O: DeserializeOwned + 'static> TestCall<O> {
    pub(crate) async fn begin<I>(
        wire: &Wire,
        procedure: Procedure<I, O>,
        input: I,
        options: TestCallOptions,
    ) -> Self
    where
        I: Serialize + Send + 'static,
    {
        let id = wire.next_id();
        let (path, input) = (procedure.name(), wire.write(input));
        let TestCallOptions { timeout, idempotency_key } = options;
        let call = Outgoing::Call {
            id: &id,
            path: &path,
            input: &input,
            timeout,
            idempotency_key: idempotency_key.as_deref(),
        };
        wire.send(call).await;
        Self { wire: wire.clone(), id, output: PhantomData }
    }

    /// Returns the id of the call on the wire.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the next progress report; `None` once the call has ended.
    ///
    /// # Panics
    ///
    /// If the report does not parse as `T`.
    pub async fn progress<T: DeserializeOwned + 'static>(&mut self) -> Option<T> {
        let is_report = |frame: &Incoming| matches!(frame, Incoming::Progress { id, .. } if *id == self.id);
        match self.wire.wait_before(is_report, |frame| self.is_end(frame)).await? {
            Incoming::Progress { data, .. } => Some(read(&data)),
            other => panic!("expected a progress report, received {other:?}"),
        }
    }

    /// Returns true if the call has ended, after running the server until it is idle.
    pub async fn is_over(&mut self) -> bool {
        self.wire.has(|frame| self.is_end(frame)).await
    }

    /// Cancels the call. The server still ends it: with `CANCELLED`, unless the result came first.
    pub async fn cancel(&mut self) {
        self.wire.send(Outgoing::Cancel { id: &self.id }).await;
    }

    /// Waits for the end of the call.
    ///
    /// # Errors
    ///
    /// [`Ended::Error`] if the call failed, [`Ended::Closed`] or [`Ended::Lost`] if the connection ended first.
    ///
    /// # Panics
    ///
    /// If the output does not parse as `O`.
    pub async fn result(self) -> Result<O, Ended> {
        let end = self.wire.wait(|frame| self.is_end(frame)).await?;
        match end {
            Incoming::Result { data, .. } => Ok(read(&data)),
            Incoming::Error { error, .. } => Err(Ended::Error(error.into())),
            other => panic!("expected the end of a call, received {other:?}"),
        }
    }

    fn is_end(&self, frame: &Incoming) -> bool {
        let is_end = matches!(frame, Incoming::Result { .. } | Incoming::Error { .. });
        is_end && frame.id() == Some(&self.id)
    }
}

impl<O> fmt::Debug for TestCall<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCall").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The options of a call: a timeout and an idempotency key.
#[derive(Clone, Debug, Default)]
#[must_use = "options are given to `begin_with`"]
pub struct TestCallOptions {
    timeout: Option<Duration>,
    idempotency_key: Option<String>,
}

impl TestCallOptions {
    /// Sets the time that the caller waits, in whole milliseconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets an idempotency key: the server runs calls with the same key once.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}
