use crate::{
    error::{ClientError, Result},
    mailbox::Mailbox,
    session::{Answer, Output, Request},
    shared::Shared,
};
use realtime_protocol::{Appended, Error, Procedure, client::Payload};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Instant;

/// The options of a call.
#[derive(Default)]
pub struct CallOptions {
    timeout: Option<Duration>,
    idempotency_key: Option<String>,
    on_progress: Option<OnProgress>,
}

type OnProgress = Box<dyn FnMut(&Payload) + Send>;

impl CallOptions {
    /// The default options: the timeout of the procedure, no idempotency key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a timeout; one longer than that of the procedure has no effect.
    #[must_use = "the changed options are returned"]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets a key of 1 to 128 bytes; the server runs calls with the same key once. If the connection is lost, the call
    /// is sent again instead of failing.
    #[must_use = "the changed options are returned"]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Sets a function to call for each progress report while the future is polled. Reports that do not parse as `P`
    /// are skipped; of those that wait, the newest 64 are kept.
    #[must_use = "the changed options are returned"]
    pub fn on_progress<P: DeserializeOwned + 'static>(
        mut self,
        mut on_progress: impl FnMut(P) + Send + 'static,
    ) -> Self {
        self.on_progress = Some(Box::new(move |data| match data.read() {
            Ok(progress) => on_progress(progress),
            Err(error) => tracing::debug!(%error, "progress of another type"),
        }));
        self
    }
}

impl fmt::Debug for CallOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timeout, idempotency_key, .. } = self;
        let mut fields = f.debug_struct("CallOptions");
        fields.field("timeout", timeout).field("idempotency_key", idempotency_key).finish_non_exhaustive()
    }
}

/// The result of a call, and what it has appended to feeds: see [`PendingCall::written`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written<T> {
    /// The result.
    pub value: T,
    /// The last entry in each feed.
    pub at: Vec<Appended>,
}

/// A running call, as a future of its result.
///
/// The call starts on creation; dropping it cancels it, and an unsent call is never sent.
#[must_use = "dropping a call cancels it"]
pub struct PendingCall<O> {
    stage: Stage,
    name: String,
    on_progress: Option<OnProgress>,
    output: PhantomData<fn() -> O>,
}

enum Stage {
    Failed(ClientError),
    Running { shared: Arc<Shared>, id: u64, answers: Arc<Mailbox<Answer>> },
    Done,
}

impl<O: DeserializeOwned + 'static> PendingCall<O> {
    pub(crate) fn begin<I: Serialize>(
        shared: &Arc<Shared>,
        procedure: Procedure<I, O>,
        input: &I,
        options: CallOptions,
    ) -> Self {
        let name = procedure.name();
        let CallOptions { timeout, idempotency_key: key, on_progress } = options;
        let begin = || {
            procedure.validate(input).map_err(ClientError::local)?;
            if key.as_ref().is_some_and(|key| !(1..=KEY_BYTES).contains(&key.len())) {
                let error = Error::invalid_argument(format!("an idempotency key has 1 to {KEY_BYTES} bytes"));
                return Err(ClientError::local(error));
            }
            let input = shared.write(input).map_err(|error| ClientError::unwritable(&name, &error))?;
            let limit = procedure.timeout().min(LONGEST);
            let deadline = Instant::now() + timeout.map_or(limit, |timeout| timeout.min(limit));
            let request = Request { path: name.clone(), input, key, deadline };
            shared.change(|session| session.call(request))
        };
        let stage = match begin() {
            Ok((id, answers)) => Stage::Running { shared: Arc::clone(shared), id, answers },
            Err(error) => Stage::Failed(error),
        };
        Self { stage, name, on_progress, output: PhantomData }
    }
}

impl<O: DeserializeOwned + 'static> PendingCall<O> {
    /// Waits for the result and the positions of what the call has appended to feeds.
    ///
    /// # Errors
    ///
    /// The call has failed.
    ///
    /// # Examples
    ///
    /// Shows a change as pending until the feed brings it:
    ///
    /// ```no_run
    /// use realtime_client::{Client, Procedure, Subscription};
    ///
    /// const NEWS: Subscription<(), String> = Subscription::new("news");
    /// const POST: Procedure<String, ()> = Procedure::new("post");
    ///
    /// # async fn run(client: Client) -> realtime_client::Result {
    /// let mut news = client.subscribe(NEWS, ());
    /// let written = client.call(POST, "hello".to_owned()).written().await?;
    /// while !news.has(&written) {
    ///     let Some(update) = news.next().await else { break };
    ///     println!("{:?}", update?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn written(mut self) -> Result<Written<O>> {
        std::future::poll_fn(|cx| self.poll_written(cx)).await
    }

    fn poll_written(&mut self, cx: &Context<'_>) -> Poll<Result<Written<O>>> {
        let result = loop {
            let Stage::Running { answers, .. } = &self.stage else { break Err(self.fail()) };
            match ready!(answers.poll_next(cx)) {
                Some(Answer::Done(result)) => break result,
                Some(Answer::Progress(data)) => {
                    if let Some(on_progress) = &mut self.on_progress {
                        on_progress(&data);
                    }
                }
                // Nothing ends the mailbox of a call before its answer.
                None => break Err(ClientError::closed("its task ended")),
            }
        };
        self.stage = Stage::Done;
        Poll::Ready(result.and_then(|Output { data, wrote: at }| match data.read() {
            Ok(value) => Ok(Written { value, at }),
            Err(error) => Err(ClientError::unreadable(&format!("the answer to {:?}", self.name), &error)),
        }))
    }
}

impl<O: DeserializeOwned + 'static> Future for PendingCall<O> {
    type Output = Result<O>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<O>> {
        self.poll_written(cx).map_ok(|written| written.value)
    }
}

impl<O> PendingCall<O> {
    fn fail(&mut self) -> ClientError {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Failed(error) => error,
            // Polled again after completion.
            Stage::Running { .. } | Stage::Done => ClientError::closed("the call has its answer"),
        }
    }
}

impl<O> Drop for PendingCall<O> {
    fn drop(&mut self) {
        if let Stage::Running { shared, id, .. } = &self.stage {
            shared.change(|session| session.drop_call(*id));
        }
    }
}

impl<O> fmt::Debug for PendingCall<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingCall({})", self.name)
    }
}

/// The length limit of an idempotency key.
const KEY_BYTES: usize = 128;

/// A duration that can be added to any instant.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
