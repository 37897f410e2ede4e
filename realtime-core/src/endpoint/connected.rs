use crate::{handles::AnyConnection, hub::Client};
use std::{fmt, ops::Deref, sync::Arc};

/// The connection that an [`Endpoint`](crate::Endpoint)'s `on_open` or `on_close` runs for, with the endpoint's state of type
/// `S`. The rest is in [`AnyConnection`], to which it derefs: the request, topics, events, calls of the client.
///
/// A clone is another handle to the same connection; it may be kept and sent to other tasks.
///
/// # Examples
///
/// ```
/// use realtime_core::{Close, Connected, Endpoint, Event, Result, Topic};
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
///
/// const WATCHERS: Topic<u64> = Topic::fixed("watchers");
/// const COUNT: Event<u64> = Event::new("COUNT");
///
/// async fn joined(connected: Connected<AtomicU64>) -> Result {
///     connected.subscribe(&WATCHERS)?;
///     let count = connected.state().fetch_add(1, Relaxed) + 1;
///     connected.to(&WATCHERS).emit(COUNT, &count)
/// }
///
/// async fn left(connected: Connected<AtomicU64>, _: Close) {
///     connected.state().fetch_sub(1, Relaxed);
/// }
///
/// let endpoint = Endpoint::new(AtomicU64::new(0)).on_open(joined).on_close(left);
/// ```
pub struct Connected<S> {
    connection: AnyConnection,
    state: Arc<S>,
}

impl<S> Connected<S> {
    pub(super) fn new(client: &Arc<Client>, state: &Arc<S>) -> Self {
        Self { connection: AnyConnection::new(Arc::clone(client)), state: Arc::clone(state) }
    }

    /// The state that the endpoint was made with.
    pub fn state(&self) -> &S {
        &self.state
    }
}

impl<S> Deref for Connected<S> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl<S> Clone for Connected<S> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), state: Arc::clone(&self.state) }
    }
}

impl<S> fmt::Debug for Connected<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").field("connection", &self.connection).finish_non_exhaustive()
    }
}
