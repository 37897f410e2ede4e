use crate::{
    calls::CallCore,
    context::Context,
    handles::{AnyConnection, Audience, Feed, Past, Realtime, Topic},
    seams::AppendError,
    util::TICK,
};
use realtime_protocol::{Code, ConnectionId, Error, Position, Result, format::Outgoing};
use serde::Serialize;
use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

/// A call, subscription or event that is being served, with the client that sent it. `S` is the state of the
/// [`Endpoint`](crate::Endpoint).
///
/// A clone is another handle to the same call. It may be kept and sent to other tasks; once the call is
/// [over](Self::is_over), it can report nothing any more.
pub struct Call<S> {
    core: Arc<CallCore>,
    state: Arc<S>,
}

impl<S> Call<S> {
    pub(crate) fn new(core: &Arc<CallCore>, state: &Arc<S>) -> Self {
        Self { core: Arc::clone(core), state: Arc::clone(state) }
    }

    /// The state of the endpoint, which its calls share.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The name that was called, with its prefixes.
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// The request that opened the connection, or that made the call by HTTP, with the variables that middleware has
    /// set.
    pub fn context(&self) -> &Context {
        self.core.context()
    }

    /// The client that calls.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` if the call came by HTTP, where there is nothing that lasts.
    pub fn connection(&self) -> Result<AnyConnection> {
        let none = || Error::failed_precondition("this is served over a connection only, and not by HTTP");
        self.core.client().map(|client| AnyConnection::new(Arc::clone(client))).ok_or_else(none)
    }

    /// The registry of this node.
    pub fn realtime(&self) -> Realtime {
        Realtime::of(self.core.hub())
    }

    /// The time that the call has left; `None` for a subscription, which has no deadline.
    pub fn time_left(&self) -> Option<Duration> {
        let now = self.core.hub().clock.now();
        (self.core.deadline > 0).then(|| TICK * self.core.deadline.saturating_sub(now))
    }

    /// The deadline of the call, on the clock of the runtime.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.core.hub().instant() + self.time_left()?)
    }

    /// The last position that the client has seen, if it resumes a subscription.
    pub fn after(&self) -> Option<&Position> {
        self.core.after.as_ref()
    }

    /// Returns true once the call is answered, cancelled or late, or its client gone. Its own future is dropped by then; this
    /// is for work that it has started elsewhere.
    pub fn is_over(&self) -> bool {
        self.core.is_over()
    }

    /// Waits until the call [is over](Self::is_over).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn over(&self) {
        poll_fn(|cx| {
            let mut waiting = self.core.waiting.lock();
            // Under the lock that `end` takes after it has set the flag.
            if self.is_over() {
                return Poll::Ready(());
            }
            waiting.add(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Sends the caller a progress report. It does nothing over HTTP; of several callers with one idempotency key the first
    /// is sent it, as long as it waits.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if it does not serialise, `CANCELLED` if the call is over, `RESOURCE_EXHAUSTED` if the client's
    /// outbox is full; then it is not told, and the call may go on.
    pub fn progress<T: Serialize + Sync + 'static>(&self, data: &T) -> Result {
        if self.is_over() {
            return Err(Error::new(Code::CANCELLED, "the call is over"));
        }
        let Some(client) = self.core.client().filter(|_| !self.core.id.is_empty()) else { return Ok(()) };
        let frame = client.frame(&Outgoing::Progress { id: &self.core.id, data })?;
        self.core.report(|| client.queue_frame(&frame))
    }

    /// Publishes to a topic: the builder that it returns says which members, and `send` or `emit` does it.
    /// [`others`](Audience::others) leaves out the client that calls.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Call, Event, Result, Topic};
    ///
    /// const WATCHERS: Topic<i64> = Topic::fixed("watchers");
    /// const ADDED: Event<i64> = Event::new("added");
    ///
    /// async fn add(call: Call<()>, amount: i64) -> Result {
    ///     call.to(&WATCHERS).others().emit(ADDED, &amount)
    /// }
    /// ```
    pub fn to<'a, T>(&'a self, topic: &'a Topic<T>) -> Audience<'a, T> {
        Audience::new(self.core.hub(), self.connection_id(), topic)
    }

    /// Appends an entry to a feed. The caller is told its position with the result of the call, and can wait until a
    /// subscription has got it.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the entry may be in the log or not.
    pub async fn append<T: Serialize + Sync + 'static>(
        &self,
        feed: &Feed<T>,
        entry: &T,
    ) -> Result<Position, AppendError> {
        let position = self.realtime().append(feed, entry).await?;
        self.core.note(feed.name(), &position);
        Ok(position)
    }

    /// Returns the position of the newest entry of a feed. Take it before the state that the entries change is loaded,
    /// and [follow](crate::Follow::after) the feed behind it: nothing is missed then.
    ///
    /// # Errors
    ///
    /// As [`Realtime::position`].
    pub async fn position<T>(&self, feed: &Feed<T>) -> Result<Position> {
        self.realtime().position(feed).await
    }

    /// Returns the past of a feed.
    pub fn history<'a, T>(&self, feed: &'a Feed<T>) -> Past<'a, T> {
        self.realtime().history(feed)
    }

    /// The id of the connection that the call came over; `None` by HTTP.
    pub fn connection_id(&self) -> Option<ConnectionId> {
        self.core.client().map(|client| client.id)
    }

    pub(crate) fn core(&self) -> &Arc<CallCore> {
        &self.core
    }
}

impl<S> Clone for Call<S> {
    fn clone(&self) -> Self {
        Self::new(&self.core, &self.state)
    }
}

impl<S> fmt::Debug for Call<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = self.connection_id();
        f.debug_struct("Call").field("name", &self.name()).field("connection", &connection).finish_non_exhaustive()
    }
}
