use super::RateLimit;
use std::time::Duration;

/// How often clients may do things, each `None` for as often as they like. Requests, messages and bytes are counted
/// separately, and a client at its limit is no hindrance to others.
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
    /// Requests of one address: to connect, for a stream, or to call. Over it: 429 with `Retry-After`.
    pub requests_per_peer: Option<Rate>,
    /// Messages of one connection: also calls, subscriptions and events. Over it: `RESOURCE_EXHAUSTED` with
    /// `retryAfterMs` is the answer, and nothing is done. What ends something is not counted.
    pub messages_per_connection: Option<Rate>,
    /// The same for all connections of one address together.
    pub messages_per_peer: Option<Rate>,
    /// Bytes of the messages of one connection; over it as with messages. A message of more bytes than the burst is
    /// never taken.
    pub bytes_per_connection: Option<Rate>,
    /// The same for all connections of one address together.
    pub bytes_per_peer: Option<Rate>,
}

/// So many in so much time, and as many more at once after a quiet time as the burst says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
    burst: u32,
}

impl Rate {
    /// `count` in each `per`, and `count` at once.
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
