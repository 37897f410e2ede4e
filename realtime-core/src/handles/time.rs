use super::{AnyConnection, Realtime};
use crate::hub::{Hub, Timer};
use futures_core::Stream;
use realtime_protocol::{Code, Error, Result};
use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

/// The clock of a node, for background tasks. It works on every runtime and from every thread, is as precise as the runtime's
/// timers, and is the one clock that a test turns with `TestServer::advance`.
///
/// A handler has the same methods on its [`Call`](crate::Call) and its [`Connection`](crate::Connection). Time stands still
/// before the first request or [`start`](Realtime::start).
impl Realtime {
    /// Returns the current time.
    pub fn now(&self) -> Instant {
        self.0.instant()
    }

    /// Returns a future that is ready after `duration`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future removes its timer.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep(Timer::new(&self.0, self.0.instant_after(duration)))
    }

    /// Returns a stream with an item at once, and then one in each `period`.
    ///
    /// # Panics
    ///
    /// If `period` is 0.
    #[track_caller]
    pub fn interval(&self, period: Duration) -> Interval {
        Interval::new(&self.0, period)
    }

    /// Runs a future for `limit` at most; then it is dropped.
    ///
    /// # Errors
    ///
    /// A retryable `DEADLINE_EXCEEDED` after `limit`.
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Result<T> {
        let mut future = pin!(future);
        let mut late = None;
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            // Most futures are ready at once and need no timer.
            let late = late.get_or_insert_with(|| self.sleep(limit));
            ready!(Pin::new(late).poll(cx));
            let error = Error::new(Code::DEADLINE_EXCEEDED, format!("this took longer than {limit:?}"));
            Poll::Ready(Err(error.with_retry()))
        })
        .await
    }
}

/// The clock of the node.
impl AnyConnection {
    /// Returns a future that is ready after `duration`: see [`Realtime::sleep`].
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.realtime().sleep(duration)
    }

    /// Returns a stream with an item at once, and then one in each `period`: see [`Realtime::interval`].
    ///
    /// # Panics
    ///
    /// If `period` is 0.
    #[track_caller]
    pub fn interval(&self, period: Duration) -> Interval {
        self.realtime().interval(period)
    }

    /// Runs a future for `limit` at most: see [`Realtime::timeout`].
    ///
    /// # Errors
    ///
    /// A retryable `DEADLINE_EXCEEDED` after `limit`.
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Result<T> {
        self.realtime().timeout(limit, future).await
    }
}

/// A future that is ready after a time. Returned by [`Realtime::sleep`].
#[derive(Debug)]
#[must_use = "time passes only for those who await it"]
pub struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// A stream with an item at once, and then one in each period. Returned by [`Realtime::interval`].
///
/// It does not drift. Periods that have passed while nobody asked are skipped.
///
/// # Examples
///
/// ```
/// use futures_util::StreamExt;
/// use realtime_core::{Call, Endpoint, Subscription};
/// use std::time::Duration;
///
/// const UPTIME: Subscription<(), u64> = Subscription::new("uptime");
///
/// let endpoint = Endpoint::new(()).subscription(UPTIME, |call: Call<()>, ()| async move {
///     let start = call.realtime().now();
///     let seconds = call.interval(Duration::from_secs(1));
///     Ok(seconds.map(move |()| call.realtime().now().duration_since(start).as_secs()))
/// });
/// ```
#[must_use = "it does nothing before it is polled"]
pub struct Interval {
    hub: Arc<Hub>,
    period: Duration,
    next: Timer,
}

impl Interval {
    #[track_caller]
    fn new(hub: &Arc<Hub>, period: Duration) -> Self {
        assert!(!period.is_zero(), "the period of an interval is 0");
        Self { hub: Arc::clone(hub), period, next: Timer::new(hub, hub.instant()) }
    }

    /// Waits for the next item.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no item.
    pub async fn tick(&mut self) {
        poll_fn(|cx| self.poll_tick(cx)).await;
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(Pin::new(&mut self.next).poll(cx));
        let late = self.hub.instant().saturating_duration_since(self.next.at());
        // The rest of this period, so that the next item comes where it would have come without a delay.
        let into = Duration::from_nanos((late.as_nanos() % self.period.as_nanos()) as u64);
        self.next = Timer::new(&self.hub, self.hub.instant_after(self.period - into));
        Poll::Ready(())
    }
}

impl Stream for Interval {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.poll_tick(cx).map(Some)
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval").field("period", &self.period).finish_non_exhaustive()
    }
}
