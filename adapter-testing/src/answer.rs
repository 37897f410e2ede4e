use crate::{protocol::read, wire::Wire};
use realtime_core::{Error, Procedure};
use realtime_protocol::client::{Incoming, Outgoing};
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Cow, fmt, marker::PhantomData, time::Duration};

/// A call of the server's that waits for the client's answer;
/// [`TestClient::expect_call`](crate::TestClient::expect_call) gives it.
///
/// Dropping it leaves the server without an answer.
pub struct TestAnswer<O> {
    wire: Wire,
    id: String,
    timeout: Duration,
    output: PhantomData<fn(O)>,
}

impl<O: Serialize + Send + 'static> TestAnswer<O> {
    /// Waits for a call of this procedure; gives its input.
    pub(crate) async fn expect<I>(wire: &Wire, procedure: Procedure<I, O>) -> (I, Self)
    where
        I: DeserializeOwned + 'static,
    {
        let name = procedure.name();
        let called = wire.wait(|frame| matches!(frame, Incoming::Call { path, .. } if *path == name)).await;
        let called = called.unwrap_or_else(|ended| panic!("instead of a call of {name:?}: {ended}"));
        let Incoming::Call { id, input, timeout: Some(timeout), .. } = called else {
            panic!("a call of {name:?} does not say how long the server will wait");
        };
        (read(&input), Self { wire: wire.clone(), id, timeout, output: PhantomData })
    }

    /// The id that the call has on the wire.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the time that the server will wait, from its call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Answers.
    pub async fn answer(self, output: O) {
        let data = self.wire.write(output);
        self.wire.send(Outgoing::Result { id: &self.id, data: &data }).await;
    }

    /// Says that the call failed.
    pub async fn fail(self, code: impl Into<String>, message: impl Into<Cow<'static, str>>) {
        let error = Error::new(code.into(), message);
        self.wire.send(Outgoing::Error { id: &self.id, error: &error }).await;
    }

    /// Returns true if the server has cancelled the call, once it has nothing left to do.
    pub async fn is_cancelled(&self) -> bool {
        self.wire.has(|frame| matches!(frame, Incoming::Cancel { id } if *id == self.id)).await
    }
}

impl<O> fmt::Debug for TestAnswer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAnswer").field("id", &self.id).finish_non_exhaustive()
    }
}
