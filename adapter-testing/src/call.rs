use crate::{
    Ended,
    packet::{Data, Failure, Head, Packet},
    wire::Wire,
};
use realtime_core::Procedure;
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, marker::PhantomData, time::Duration};

/// A call that is under way; [`TestClient::begin`](crate::TestClient::begin) makes it.
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
        let call = Packet::Call {
            id: id.clone(),
            path: procedure.name(),
            input,
            timeout_ms: options.timeout.map(|timeout| timeout.as_millis() as u64),
            idempotency_key: options.idempotency_key,
        };
        wire.send(call).await;
        Self { wire: wire.clone(), id, output: PhantomData }
    }

    /// The id that it has on the wire.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the next report of how far the call is; `None` once its end has come.
    ///
    /// # Panics
    ///
    /// If the report is not of the type.
    pub async fn progress<T: DeserializeOwned + 'static>(&mut self) -> Option<T> {
        let report = |head: &Head| head.is_of(&self.id) && head.is("progress");
        let (_, frame) = self.wire.wait_before(report, |head| self.is_end(head)).await?;
        Some(self.wire.parse::<Data<T>>(&frame).data)
    }

    /// Whether its end has come, after the server has done all that it can.
    pub async fn is_over(&mut self) -> bool {
        self.wire.has(|head| self.is_end(head)).await
    }

    /// Gives it up. The server still says how it ended: with `CANCELLED`, if the answer was not faster.
    pub async fn cancel(&mut self) {
        self.wire.send(Packet::<()>::Cancel { id: self.id.clone() }).await;
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// [`Ended::Error`] if it failed, [`Ended::Closed`] or [`Ended::Lost`] if the connection ended first.
    ///
    /// # Panics
    ///
    /// If what it gave is not of the type.
    pub async fn result(self) -> Result<O, Ended> {
        let (head, frame) = self.wire.wait(|head| self.is_end(head)).await?;
        if head.is("error") {
            return Err(Ended::Error(self.wire.parse::<Failure>(&frame).error));
        }
        Ok(self.wire.parse::<Data<O>>(&frame).data)
    }

    fn is_end(&self, head: &Head) -> bool {
        head.is_of(&self.id) && (head.is("result") || head.is("error"))
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
    /// Says how long the caller will wait, in whole milliseconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Names the call, so that it is run once however often it is sent.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}
