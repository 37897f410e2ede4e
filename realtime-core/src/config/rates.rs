use super::RateLimit;
use std::time::Duration;

/// Rate limits of clients; `None` means no limit. Requests, messages and bytes are counted separately, and a client at
/// its limit does not affect others.
///
/// For single procedures there is [`RateLimit`](crate::RateLimit).
///
/// # Examples
///
/// ```
/// use realtime_core::{Config, Rate};
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.rates.messages_per_connection = Some(Rate::new(50, Duration::from_secs(1)).with_burst(200));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rates {
    /// Requests of one address: connections, event streams and calls. Over it: 429 with `Retry-After`.
    pub requests_per_peer: Option<Rate>,
    /// Messages of one connection, including calls, subscriptions and events. Over it a message is answered with
    /// `RESOURCE_EXHAUSTED` and `retryAfterMs`, and is not handled. Messages that end something are not counted.
    pub messages_per_connection: Option<Rate>,
    /// The same for all connections of one address together.
    pub messages_per_peer: Option<Rate>,
    /// Bytes of the messages of one connection. Over it as above. A message larger than the burst is never accepted.
    pub bytes_per_connection: Option<Rate>,
    /// The same for all connections of one address together.
    pub bytes_per_peer: Option<Rate>,
}

/// A rate: `count` in each `per`, and up to the burst at once after a quiet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
    burst: u32,
}

impl Rate {
    /// Creates a rate of `count` in each `per`, with a burst of `count`.
    ///
    /// # Panics
    ///
    /// If either is 0.
    #[track_caller]
    pub const fn new(count: u32, per: Duration) -> Self {
        assert!(count > 0 && !per.is_zero(), "a rate of 0, or over no time, allows nothing");
        Self { count, per, burst: count }
    }

    /// Sets how many may come at once after a quiet time.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use = "the changed rate is returned"]
    #[track_caller]
    pub const fn with_burst(mut self, burst: u32) -> Self {
        assert!(burst > 0, "a burst of 0 allows nothing");
        self.burst = burst;
        self
    }

    pub(crate) fn limit(self) -> RateLimit {
        RateLimit::new(self.count, self.per).with_burst(self.burst)
    }
}
