use super::{Client, Hub};
use crate::{
    config::{Key, Rate, RateLimit, Rates},
    context::Context,
};
use realtime_protocol::Result;

/// The limits of [`Config::rates`](crate::Config::rates), each with its buckets.
#[derive(Debug)]
pub(crate) struct Limits {
    requests: Option<RateLimit>,
    messages: Vec<RateLimit>,
    bytes: Vec<RateLimit>,
}

impl Limits {
    pub(super) fn new(rates: &Rates) -> Self {
        let per_connection = |rate: Option<Rate>| rate.map(|rate| rate.limit().by_connection());
        let per_peer = |rate: Option<Rate>| rate.map(|rate| rate.limit().by_peer());
        let both = |connection, peer| per_connection(connection).into_iter().chain(per_peer(peer)).collect();
        Self {
            requests: per_peer(rates.requests_per_peer),
            messages: both(rates.messages_per_connection, rates.messages_per_peer),
            bytes: both(rates.bytes_per_connection, rates.bytes_per_peer),
        }
    }
}

impl Hub {
    /// Counts a request against the client's limits.
    pub(crate) fn limit_request(&self, context: &Context) -> Result {
        let Some(limit) = &self.limits.requests else { return Ok(()) };
        limit.take(
            self.clock.now(),
            Key { connection: None, peer: context.client_peer(), context: None, name: "" },
            1,
        )
    }

    /// Returns true if messages are limited at all.
    pub(crate) fn limits_messages(&self) -> bool {
        !self.limits.messages.is_empty() || !self.limits.bytes.is_empty()
    }

    /// Counts a message of `bytes` against the client's limits.
    pub(crate) fn limit_message(&self, client: &Client, bytes: usize) -> Result {
        let now = self.clock.now();
        let key = Key { connection: Some(client.id), peer: client.context.client_peer(), context: None, name: "" };
        for limit in &self.limits.messages {
            limit.take(now, key, 1)?;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.limits.bytes.iter().try_for_each(|limit| limit.take(now, key, bytes))
    }
}
