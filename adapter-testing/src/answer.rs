use crate::{protocol::read, wire::Wire};
use realtime_core::{Error, Procedure};
use realtime_protocol::client::{Incoming, Outgoing};
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Cow, fmt, marker::PhantomData, time::Duration};

/// A call from the server that waits for the client's answer, returned by
/// [`TestClient::expect_call`](crate::TestClient::expect_call).
///
/// Dropping it leaves the call unanswered.
pub struct TestAnswer<O> {
    wire: Wire,
    id: String,
    timeout: Duration,
    output: PhantomData<fn(O)>,
}

impl<O: Serialize + Send + 'static> TestAnswer<O> {
    /// Waits for a call of this procedure. Returns its input.
    pub(crate) async fn expect<I>(wire: &Wire, procedure: Procedure<I, O>) -> (I, Self)
    where
        I: DeserializeOwned + 'static,
    {
        let name = procedure.name();
        let called = wire.wait(|frame| matches!(frame, Incoming::Call { path, .. } if *path == name)).await;
        let called = called.unwrap_or_else(|ended| panic!("expected a call of {name:?}: {ended}"));
        let Incoming::Call { id, input, timeout: Some(timeout), .. } = called else {
            panic!("the call of {name:?} has no timeout");
        };
        (read(&input), Self { wire: wire.clone(), id, timeout, output: PhantomData })
    }

    /// Returns the id of the call on the wire.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the time that the server waits, counted from its call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends the result.
    pub async fn answer(self, output: O) {
        let data = self.wire.write(output);
        self.wire.send(Outgoing::Result { id: &self.id, data: &data }).await;
    }

    /// Sends an error.
    pub async fn fail(self, code: impl Into<String>, message: impl Into<Cow<'static, str>>) {
        let error = Error::new(code.into(), message);
        self.wire.send(Outgoing::Error { id: &self.id, error: &error }).await;
    }

    /// Returns true if the server has cancelled the call, after running the server until it is idle.
    pub async fn is_cancelled(&self) -> bool {
        self.wire.has(|frame| matches!(frame, Incoming::Cancel { id } if *id == self.id)).await
    }
}

impl<O> fmt::Debug for TestAnswer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAnswer").field("id", &self.id).finish_non_exhaustive()
    }
}
