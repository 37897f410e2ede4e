use super::Call;
use crate::handles::{Interval, Sleep};
use realtime_protocol::Result;
use std::time::Duration;

/// The clock of the node, which a test turns with `TestServer::advance`.
///
/// # Examples
///
/// ```
/// use realtime_core::{Call, Result};
/// use std::time::Duration;
///
/// async fn remind(call: Call<()>, text: String) -> Result<String> {
///     call.sleep(Duration::from_secs(5)).await;
///     Ok(text)
/// }
///
/// async fn fetch(call: Call<()>, id: u64) -> Result<String> {
///     // `DEADLINE_EXCEEDED` after two seconds.
///     call.timeout(Duration::from_secs(2), load(id)).await?
/// }
/// # async fn load(id: u64) -> Result<String> { Ok(id.to_string()) }
/// ```
impl<S> Call<S> {
    /// Returns a future that is ready after `duration`: see [`Realtime::sleep`](crate::Realtime::sleep).
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.realtime().sleep(duration)
    }

    /// Returns a stream with an item at once, and then one in each `period`: see
    /// [`Realtime::interval`](crate::Realtime::interval).
    ///
    /// # Panics
    ///
    /// If `period` is 0.
    #[track_caller]
    pub fn interval(&self, period: Duration) -> Interval {
        self.realtime().interval(period)
    }

    /// Runs a future for `limit` at most: see [`Realtime::timeout`](crate::Realtime::timeout).
    ///
    /// # Errors
    ///
    /// A retryable `DEADLINE_EXCEEDED` after `limit`.
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Result<T> {
        self.realtime().timeout(limit, future).await
    }
}
