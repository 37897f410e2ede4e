use crate::{cors::Cors, origins::Origins, proxies::ForwardingHeader, rate_limit::RateLimit};
use ipnet::IpNet;
use std::time::Duration;

/// Every limit, with its default, unit and reason.
///
/// Durations are kept to the tick of the hub's clock, [`TICK`](crate::raw::TICK).
///
/// # Examples
///
/// ```
/// use realtime_core::{Config, Origins};
///
/// let mut config = Config::default();
/// config.message_bytes = 16 * 1024;
/// config.origins = Origins::List(vec!["https://app.example.com".into()]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Payload bytes of one message from a client, all fragments together; of a compressed one, as
    /// it comes and inflated. Over it: close 1009, at the header that says so. Default 256 KiB:
    /// ample for JSON, small enough to hold for each of many connections.
    pub message_bytes: usize,

    /// Frames of one message from a client. Over it: close 1009. Default 1024: browsers fragment
    /// rarely; without a bound, empty fragments are free for the sender and work for us.
    pub frames_per_message: u32,

    /// Time for the middleware to decide on a request, and again for the framework to hand over the
    /// connection. Over it: status 503, or the connection is dropped. Under the adapters' `serve` also time for a TLS
    /// handshake, and for the head of a request. Default 10 s.
    pub handshake_timeout: Duration,

    /// A client that sent nothing for this long is pinged; up to a quarter earlier, so that not all are pinged at once.
    /// Default 25 s: below the 30 to 60 s after which proxies drop silent connections.
    pub ping_interval: Duration,

    /// A client that sent nothing for this long, no pong either, is closed with 1001, once it is certain that nothing waits
    /// to be read; a stream of server-sent events, when its client took nothing of what it was sent. Under the adapters'
    /// `serve`, one that reads nothing of a response for this long is cut. Default 60 s: two pings may be lost.
    pub idle_timeout: Duration,

    /// Bytes that may wait for one client, as they are sent. While more than half of it is in use, nothing is read from
    /// the client and its handler is given no further message; a client that takes nothing for
    /// [`idle_timeout`](Self::idle_timeout) is then closed with 1013. At the limit `send` gives the message back as `Full`,
    /// and a broadcast closes that client with 1013. Frames that end a call may pass it by 4 KiB together. Default 1 MiB:
    /// a quarter of a megabyte of messages several times over.
    pub outbox_bytes: usize,

    /// Topics that one connection may be subscribed to, and places in which it may be. Default 256: their names, of up to
    /// 256 bytes each, then take 64 KiB at most.
    pub topics_per_connection: usize,

    /// Bytes of the data with which a connection is [present](crate::Presence), as they are kept: 32 for each JSON value and
    /// each field, and those of texts. Over it: `INVALID_ARGUMENT`. Default 4 KiB: a name, a colour, a cursor many times
    /// over; a connection that is in 256 places keeps a megabyte.
    pub presence_bytes: usize,

    /// The same for all who are in one place, with 64 for each of them. Over it: `RESOURCE_EXHAUSTED`. Default 1 MiB: ten
    /// thousand with a short name, whose list still fits into an [outbox](Self::outbox_bytes).
    pub presence_bytes_per_place: usize,

    /// Calls of one client that run at a time, and calls of its procedures that wait for an answer. Over it:
    /// `RESOURCE_EXHAUSTED`, to be tried again after 100 ms. Default 64: what one page or program has under way, many
    /// times over.
    pub calls_per_connection: usize,

    /// Subscriptions of one client that run at a time. Over it: `RESOURCE_EXHAUSTED`. Default 1024: each takes about
    /// a kilobyte.
    pub subscriptions_per_connection: usize,

    /// How long the outcome of a call with an idempotency key is kept for those that ask again. Default 60 s: a client that
    /// loses its connection comes back within it.
    pub idempotency_window: Duration,

    /// Calls with an idempotency key that run, or whose outcome is kept. Over it the oldest outcome goes; where all run,
    /// `RESOURCE_EXHAUSTED`. Default 10 000: each takes some 500 bytes beside its outcome, so up to 5 MB.
    pub idempotent_calls: usize,

    /// Those of one client's address, or of one [`Principal`](crate::Principal) or connection where the address is not known;
    /// of IPv6 of one /64. Over it as above, among its own. Default 1000: 16 a second for the whole window, and ten
    /// clients have to join to take the place of all.
    pub idempotent_calls_per_peer: usize,

    /// Bytes of all outcomes that are kept, as JSON and as MessagePack together. Over it the oldest are forgotten, but not
    /// that the calls have run: who asks again is told `FAILED_PRECONDITION`. Default 64 MiB: 6 KiB for each call.
    pub idempotency_bytes: usize,

    /// Those of one client, as with [`idempotent_calls_per_peer`](Self::idempotent_calls_per_peer). Default 8 MiB: an
    /// outcome that fills the [outbox](Self::outbox_bytes) fits, several times over.
    pub idempotency_bytes_per_peer: usize,

    /// Messages of one client that wait while its handler is busy, `on_open` included; their bytes
    /// together stay below twice [`message_bytes`](Self::message_bytes). When it is reached,
    /// reading stops until the handler catches up. Default 64.
    pub queued_messages: usize,

    /// Messages in a row that cannot be read before a client is closed with 1008. Default 32:
    /// each gets an answer, and an endless stream of them only costs.
    pub malformed_messages: u32,

    /// Time for the closing handshake: for the client's close frame after ours, and for a hook
    /// that still runs when the client has gone. Default 5 s.
    pub close_timeout: Duration,

    /// Connections in all. Over it: status 503. Default 100 000: memory, then file descriptors,
    /// run out near there.
    pub connections: usize,

    /// Connections from one client's address, where it is known; of IPv6 from one /64, which is what one client has.
    /// Over it: status 429. Default 1024: an office behind one address fits, one machine cannot take all places.
    pub connections_per_peer: usize,

    /// Bytes of publications that may wait for the [`Broker`](crate::Broker), and 16 384 publications. Over it `publish` fails
    /// with `UNAVAILABLE`, after the members on this node have the message. Default 64 MiB: what is published in a
    /// minute at a megabyte a second; a broker that is away for longer loses some in any case.
    pub broker_queue_bytes: usize,

    /// How often a stream of server-sent events has a comment line, so that a connection that has broken is noticed, and no
    /// proxy takes it for one; up to a quarter earlier, so that not all have one at once. Default 15 s.
    pub keep_alive: Duration,

    /// Bytes of a request's body that are read and dropped before an answer that has no use for them, within
    /// [`close_timeout`](Self::close_timeout): a client that is still sending would see a reset in place of the answer.
    /// A body that is said to be longer is not read at all. Default 4 MiB: several times what proxies let through unless
    /// they are told otherwise, and it takes no memory.
    pub discarded_bytes: usize,

    /// Whether pages of other origins may read what is answered by HTTP. Default `None`: no.
    pub cors: Option<Cors>,

    /// The networks of proxies whose word on the client's address is taken ([`Context::client_ip`]). Each has to
    /// add to the [`forwarding_header`](Self::forwarding_header) whom it was called by. Default none: anyone can send such
    /// a header. Behind a proxy that is not listed, all clients together are one, with the limits of one
    /// ([`connections_per_peer`](Self::connections_per_peer), the [`rates`](Self::rates) of a peer); the log has a warning
    /// when that one has half of its connections.
    ///
    /// [`Context::client_ip`]: crate::Context::client_ip
    pub trusted_proxies: Vec<IpNet>,

    /// The header that the [trusted proxies](Self::trusted_proxies) write; the other one is not read. Default
    /// `X-Forwarded-For`: nginx, haproxy, Apache and the load balancers of the clouds write it, and hand on a `Forwarded`
    /// that the client has forged.
    pub forwarding_header: ForwardingHeader,

    /// How often clients may do things. Default: as often as they like, within the other limits. What is right depends on the
    /// application.
    pub rates: Rates,

    /// Who may connect from a browser's page. Default [`Origins::SameHost`].
    pub origins: Origins,

    /// Compression of messages, permessage-deflate (RFC 7692), for clients that offer it; with the
    /// feature `deflate`. Default `None`: to compress a message takes longer than to send it, and
    /// where a message holds a secret beside text that others choose, its length gives the secret
    /// away.
    #[cfg(feature = "deflate")]
    pub deflate: Option<Deflate>,
}

/// How messages to clients are compressed that offered it ([`Config::deflate`]).
///
/// Each message is compressed by itself, so a connection keeps no memory for it; a publication is
/// compressed once, and not for each member. What clients send is limited as it comes and inflated,
/// by [`Config::message_bytes`].
///
/// # Examples
///
/// ```
/// use realtime_core::{Config, Deflate};
///
/// let mut config = Config::default();
/// config.deflate = Some(Deflate::default());
/// ```
#[cfg(feature = "deflate")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// Payloads of fewer bytes are sent as they are, and so are those that would not get smaller.
    /// Default 512: from there on, half of a typical JSON message is saved.
    pub threshold: usize,

    /// 1 to 9, as in zlib: from fast to small. Default 2: for messages up to some kilobytes, those
    /// above save next to nothing more, and take up to twice the time.
    pub level: u8,

    /// Bytes of the messages from clients that are being inflated at the same time, each counted as
    /// [`Config::message_bytes`] and the 48 KiB of its stream; it is for those longer than 16 KiB, and one is always inflated.
    /// Over it, clients wait for their turn; they are not closed meanwhile. Default 64 MiB: 200 messages of the default
    /// length, and 4 of 16 MiB. Without a bound, clients that send little could have the server hold a thousand times as much.
    pub inflating_bytes: usize,
}

#[cfg(feature = "deflate")]
impl Default for Deflate {
    fn default() -> Self {
        Self { threshold: 512, level: 2, inflating_bytes: 64 * 1024 * 1024 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes: 256 * 1024,
            frames_per_message: 1024,
            handshake_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(60),
            outbox_bytes: 1024 * 1024,
            topics_per_connection: 256,
            presence_bytes: 4 * 1024,
            presence_bytes_per_place: 1024 * 1024,
            idempotency_window: Duration::from_secs(60),
            idempotent_calls: 10_000,
            idempotent_calls_per_peer: 1000,
            idempotency_bytes: 64 * 1024 * 1024,
            idempotency_bytes_per_peer: 8 * 1024 * 1024,
            calls_per_connection: 64,
            subscriptions_per_connection: 1024,
            queued_messages: 64,
            malformed_messages: 32,
            close_timeout: Duration::from_secs(5),
            connections: 100_000,
            connections_per_peer: 1024,
            broker_queue_bytes: 64 * 1024 * 1024,
            keep_alive: Duration::from_secs(15),
            discarded_bytes: 4 * 1024 * 1024,
            cors: None,
            rates: Rates::default(),
            trusted_proxies: Vec::new(),
            forwarding_header: ForwardingHeader::XForwardedFor,
            origins: Origins::SameHost,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }
}

impl Config {
    /// How many long messages may be inflated at a time.
    pub(crate) fn inflating_messages(&self) -> usize {
        #[cfg(feature = "deflate")]
        if let Some(deflate) = &self.deflate {
            return (deflate.inflating_bytes / self.message_bytes.saturating_add(STREAM_BYTES)).max(1);
        }
        1
    }

    #[track_caller]
    pub(crate) fn check(&self) {
        let needed = [
            ("message_bytes", self.message_bytes > 0),
            ("frames_per_message", self.frames_per_message > 0),
            ("outbox_bytes", self.outbox_bytes > 0),
            ("queued_messages", self.queued_messages > 0),
            ("ping_interval", !self.ping_interval.is_zero()),
            ("keep_alive", !self.keep_alive.is_zero()),
            ("idle_timeout", !self.idle_timeout.is_zero()),
        ];
        for (name, valid) in needed {
            assert!(valid, "Config::{name} is 0: no connection could work");
        }
        self.origins.check();
        if let Some(cors) = &self.cors {
            cors.check(&self.origins);
        }
        #[cfg(feature = "deflate")]
        if let Some(Deflate { level, .. }) = self.deflate {
            assert!((1..=9).contains(&level), "Deflate::level is {level}, and not 1 to 9");
        }
    }
}

/// What zlib-rs takes for a stream that inflates: 46 KiB.
#[cfg(feature = "deflate")]
const STREAM_BYTES: usize = 48 * 1024;

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
/// config.rates.messages_per_connection = Some(Rate::new(50, Duration::from_secs(1)).burst(200));
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
    pub const fn burst(mut self, burst: u32) -> Self {
        assert!(burst > 0, "a burst of 0 allows nothing");
        self.burst = burst;
        self
    }

    pub(crate) fn limit(self) -> RateLimit {
        RateLimit::new(self.count, self.per).burst(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "Config::queued_messages is 0")]
    fn a_limit_with_which_nothing_works_is_refused() {
        Config { queued_messages: 0, ..Config::default() }.check();
    }

    #[test]
    #[cfg(feature = "deflate")]
    #[should_panic(expected = "Deflate::level is 10, and not 1 to 9")]
    fn a_level_that_there_is_not_is_refused() {
        Config { deflate: Some(Deflate { level: 10, ..Deflate::default() }), ..Config::default() }.check();
    }
}
