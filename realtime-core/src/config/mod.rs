//! What an application sets: limits with their defaults, who may connect, how often clients may do things.
//!
//! May import `context` and what is beneath it.

mod cors;
mod origins;
mod rate_limit;
mod rates;

#[cfg(feature = "deflate")]
pub use crate::websocket::Deflate;
pub use cors::Cors;
pub(crate) use origins::Foreign;
pub use origins::Origins;
pub(crate) use rate_limit::Key;
pub use rate_limit::RateLimit;
pub use rates::{Rate, Rates};

use crate::context::{ForwardingHeader, PrivatePeers};
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

    /// Those of one client's address, or of one [`Principal`](crate::Principal) or connection where the address is not known
    /// or [stands for many](Self::private_peers); of IPv6 of one /64. Over it as above, among its own. Default 1000: 16 a second for the whole window, and ten
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
    /// Over it: status 429. Default 1024: an office behind one address fits, one machine cannot take all places. Private
    /// addresses, loopback among them, have no limit of their own by default: see [`private_peers`](Self::private_peers).
    pub connections_per_peer: usize,

    /// Whether a private address is one client for [`connections_per_peer`](Self::connections_per_peer),
    /// [`idempotent_calls_per_peer`](Self::idempotent_calls_per_peer) and
    /// [`idempotency_bytes_per_peer`](Self::idempotency_bytes_per_peer). Default [`PrivatePeers::Many`]: it is a proxy, as a
    /// rule, and only the limits of the whole node apply. [`rates`](Self::rates) and [`RateLimit::by_peer`] count for all
    /// addresses: the application has asked for them.
    pub private_peers: PrivatePeers,

    /// Bytes of publications that may wait for the [`Broker`](crate::Broker), and 16 384 publications. Over it publishing fails
    /// with `UNAVAILABLE`, after the members on this node have the message. Default 64 MiB: what is published in a
    /// minute at a megabyte a second; a broker that is away for longer loses some in any case.
    pub broker_queue_bytes: usize,

    /// Time between the comment lines of a stream of server-sent events, which show a broken connection to us and a living
    /// one to proxies; up to a quarter earlier, so that not all are sent at once. Default 15 s.
    pub comment_interval: Duration,

    /// Bytes of a request's body that are read and dropped before an answer that has no use for them, within
    /// [`close_timeout`](Self::close_timeout): a client that is still sending would see a reset in place of the answer.
    /// A body that is said to be longer is not read at all. Default 4 MiB: several times what proxies let through unless
    /// they are told otherwise, and it takes no memory.
    pub discarded_bytes: usize,

    /// Whether pages of other origins may read what is answered by HTTP. Default `None`: no.
    pub cors: Option<Cors>,

    /// The networks of proxies whose word on the client's address is taken ([`Context::client_ip`]). Each has to
    /// add to the [`forwarding_header`](Self::forwarding_header) whom it was called by. Default none: anyone can send such
    /// a header. Behind a proxy that is not listed, all clients together have its address: for the [`rates`](Self::rates) of a
    /// peer, and where that address is public for [`connections_per_peer`](Self::connections_per_peer) too. The log has a
    /// warning when it has half of the connections of one client.
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
            private_peers: PrivatePeers::Many,
            broker_queue_bytes: 64 * 1024 * 1024,
            comment_interval: Duration::from_secs(15),
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
    /// How messages are compressed, if they are.
    pub(crate) fn compression(&self) -> Option<crate::websocket::Deflate> {
        #[cfg(feature = "deflate")]
        return self.deflate.clone();
        #[cfg(not(feature = "deflate"))]
        None
    }

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
            ("comment_interval", !self.comment_interval.is_zero()),
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
