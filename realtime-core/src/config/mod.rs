//! The settings of an application: limits with their defaults, allowed origins, rates.
//!
//! May import `context` and the layers beneath it.

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
/// Durations are measured in ticks of the hub's clock, [`TICK`](crate::raw::TICK).
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
    /// Payload bytes of one message from a client, all fragments together; for a compressed message, both before and
    /// after inflation. Over it: close 1009, as soon as a header announces it. Default 256 KiB: ample for JSON, and
    /// small enough to hold for each of many connections.
    pub message_bytes: usize,

    /// Frames of one message from a client. Over it: close 1009. Default 1024: browsers rarely fragment, and without a
    /// bound, empty fragments would cost the sender nothing and the server work.
    pub frames_per_message: u32,

    /// Time for the middleware to decide on a request, and again for the framework to hand over the connection. Over
    /// it: status 503, or the connection is dropped. With the adapters' `serve` also the time for a TLS handshake,
    /// and for the head of a request. Default 10 s.
    pub handshake_timeout: Duration,

    /// Time before the [end of a client's credentials](crate::Context::expires_in) at which it is asked for a fresh
    /// token; half of their lifetime if that is shorter. A client that has sent none by the end is closed with 3000.
    /// Default 30 s: time to fetch a token, on a bad line too, and little of a lifetime of minutes.
    pub credentials_grace: Duration,

    /// Time after which a client that has sent nothing is pinged; up to a quarter shorter, so that not all clients
    /// are pinged at once. Default 25 s: below the 30 to 60 s after which proxies drop silent connections.
    pub ping_interval: Duration,

    /// Time after which a client that has sent nothing, not even a pong, is closed with 1001; data it has already
    /// sent is read first. A stream of server-sent events is closed when its client has read nothing it was sent for
    /// this long. With the adapters' `serve`, a client that reads nothing of a response for this long is cut. Default
    /// 60 s: two pings may be lost.
    pub idle_timeout: Duration,

    /// Bytes that may wait for one client, as encoded for the wire. While more than half is in use, nothing is read
    /// from the client and its handler receives no further message (backpressure); a client that reads nothing for
    /// [`idle_timeout`](Self::idle_timeout) is then closed with 1013. At the limit `send` returns the message as
    /// `Full`, and a broadcast closes that client with 1013. Frames that end a call may exceed it by 4 KiB in total.
    /// As many may wait for a subscription to a topic, where each message counts with what it takes in memory beside its
    /// JSON. Default 1 MiB: several messages of a quarter of a megabyte.
    pub outbox_bytes: usize,

    /// Bytes held for all clients together: output that their transports do not take, input that is not handled yet,
    /// the logs of feeds, stored outcomes, publications that wait for the broker, and the lists of clients that are
    /// present on other nodes. A sixteenth is for pings, pongs,
    /// replies and closes. Of the rest: over 85 % the oldest entries of the largest logs are dropped, then what is held
    /// back of topics that drop or conflate; over 95 % new connections, subscriptions and calls are refused with status
    /// 503 and `RESOURCE_EXHAUSTED`; at 100 % the clients for which most waits are closed with 1013, until less than
    /// 90 % is used. Default 1 GiB: a thousand full outboxes. What an idle connection and the application take is not
    /// counted: see `docs/deployment.md`.
    pub memory: usize,

    /// Topics that one connection may be subscribed to, including the places it is in. Default 256: their names, of
    /// up to 256 bytes each, take at most 64 KiB.
    pub topics_per_connection: usize,

    /// Bytes of the data with which a connection is [present](crate::Presence), as stored: 32 for each JSON value and
    /// each field, plus the bytes of strings. Over it: `INVALID_ARGUMENT`. Default 4 KiB: many times a name, a colour
    /// and a cursor; a connection that is in 256 places then stores a megabyte.
    pub presence_bytes: usize,

    /// The same for all clients in one place together, plus 64 for each. Over it: `RESOURCE_EXHAUSTED`. Default 1
    /// MiB: ten thousand clients with a short name, whose list still fits into an [outbox](Self::outbox_bytes).
    pub presence_bytes_per_place: usize,

    /// The same for all clients of one node in all places together, plus the place's name for each; with a
    /// [`Broker`](crate::Broker) only. Over it: `RESOURCE_EXHAUSTED`, and a list of another node that is over it is not
    /// taken: all nodes should have the same limit. Default 32 MiB: 200 000 clients with a short name. Every node keeps
    /// the lists of all the others, which count for [`memory`](Self::memory).
    pub presence_bytes_per_node: usize,

    /// Calls of one client that run at a time, and, counted separately, calls of its procedures that wait for an
    /// answer. Over it: `RESOURCE_EXHAUSTED`, to be retried after 100 ms. Default 64: many times what one page or
    /// program has in flight.
    pub calls_per_connection: usize,

    /// Subscriptions of one client that are open at a time. Over it: `RESOURCE_EXHAUSTED`. Default 1024: each takes
    /// about a kilobyte.
    pub subscriptions_per_connection: usize,

    /// Time for which the outcome of a call with an idempotency key is stored for retries. Default 60 s: a client that
    /// loses its connection reconnects within it.
    pub idempotency_window: Duration,

    /// Calls with an idempotency key that run, or whose outcome is stored. Over it the oldest outcome is dropped; if
    /// all are still running, `RESOURCE_EXHAUSTED`. Default 10 000: each takes some 500 bytes beside its outcome, so
    /// up to 5 MB.
    pub idempotent_calls: usize,

    /// The same for one client: its address (for IPv6 its /64), or its [`Principal`](crate::Principal) or connection
    /// where the address is unknown or [shared by many](Self::private_peers). Over it as above, among the client's
    /// own calls. Default 1000: 16 a second for the whole window, and it takes ten clients to use up the total.
    pub idempotent_calls_per_peer: usize,

    /// Bytes of all stored outcomes, JSON and MessagePack together. Over it the oldest outcomes are dropped, but not
    /// the fact that their calls have run: a retry is answered with `FAILED_PRECONDITION`. Default 64 MiB: 6 KiB for
    /// each call.
    pub idempotency_bytes: usize,

    /// The same for one client, counted as for [`idempotent_calls_per_peer`](Self::idempotent_calls_per_peer). Default
    /// 8 MiB: several outcomes, each as large as a whole [outbox](Self::outbox_bytes).
    pub idempotency_bytes_per_peer: usize,

    /// Messages of one client that are queued while its handler is busy, `on_open` included; their bytes together stay
    /// below twice [`message_bytes`](Self::message_bytes). At the limit, reading stops until the handler catches up.
    /// Default 64.
    pub queued_messages: usize,

    /// Malformed messages in a row before a client is closed with 1008. Default 32: each is answered with an error, and
    /// an endless stream of them is of no use.
    pub malformed_messages: u32,

    /// Time for the closing handshake: for the client's close frame after the server's, and for a hook that is still
    /// running when the client is gone. Default 5 s.
    pub close_timeout: Duration,

    /// Connections in total. Over it: status 503. Default 100 000: near there memory, then file descriptors, run out.
    pub connections: usize,

    /// Connections from one client's address, if known; for IPv6 from one /64, the network of one client. Over it:
    /// status 429. Default 1024: an office behind one address fits, and one machine cannot take all connections.
    /// Private addresses, loopback included, are exempt by default: see [`private_peers`](Self::private_peers).
    pub connections_per_peer: usize,

    /// The meaning of a private address for [`connections_per_peer`](Self::connections_per_peer),
    /// [`idempotent_calls_per_peer`](Self::idempotent_calls_per_peer) and
    /// [`idempotency_bytes_per_peer`](Self::idempotency_bytes_per_peer): one client or many. Default
    /// [`PrivatePeers::Many`]: it is usually a proxy, so only the limits of the whole node apply. [`rates`](Self::rates)
    /// and [`RateLimit::by_peer`] count every address, since the application has asked for them.
    pub private_peers: PrivatePeers,

    /// Bytes of publications and entries of feeds that may wait for the [`Broker`](crate::Broker); at most 16 384
    /// publications. Over it publishing fails with `UNAVAILABLE`, after the members on this node have the message, and
    /// appending is refused with it. Default 64 MiB: a minute of publications at a megabyte a second; a broker that is away
    /// for longer loses some in any case. What is read of logs for followers that are behind this node's copies counts too,
    /// and is read only while there is room.
    pub broker_queue_bytes: usize,

    /// The time for which an entry of a feed is tried to be appended over a [`Broker`](crate::Broker), from its first
    /// attempt on; it may have waited as long behind others. Default 5 s: the failover of a broker takes seconds, and a caller
    /// waits that long. An entry that was certainly not written is then refused; otherwise its outcome is unknown. A handler waits as
    /// long for the log of a feed that it follows or reads, and is then told `UNAVAILABLE`.
    pub append_timeout: Duration,

    /// Bytes of the logs of all [feeds](crate::Feed), counted as in [`Log::bytes`](crate::Log::bytes). Over it the
    /// oldest entries of the largest logs are dropped, and who has not got them is told. Default 64 MiB: 64 logs of
    /// the default size, or the last ten entries of 16 000 feeds.
    pub log_bytes: usize,

    /// Feeds that have followers or entries, or had them lately. Over it one that has neither makes place; if there is
    /// none, `RESOURCE_EXHAUSTED`. Default 100 000: as many as [`connections`](Self::connections), and each takes
    /// about a kilobyte beside its log.
    pub feeds: usize,

    /// Interval between the comment lines of a stream of server-sent events, which show the server a broken
    /// connection and proxies a live one; up to a quarter shorter, so that not all are sent at once. Default 15 s.
    pub comment_interval: Duration,

    /// Bytes of an unneeded request body that are read and dropped before the answer, within
    /// [`close_timeout`](Self::close_timeout): a client that is still sending would see a reset instead of the
    /// answer. A body announced as longer is not read at all. Default 4 MiB: several times the default limit of
    /// proxies, and it takes no memory.
    pub discarded_bytes: usize,

    /// CORS for calls and server-sent events: lets pages of other origins read the answers. Default `None`: they may
    /// not.
    pub cors: Option<Cors>,

    /// The networks of proxies that are trusted to report the client's address ([`Context::client_ip`]). Each proxy
    /// has to append the address of its caller to the [`forwarding_header`](Self::forwarding_header). Default none:
    /// anyone can send such a header. Behind a proxy that is not listed, all clients share its address: for the
    /// [`rates`](Self::rates) of a peer, and if that address is public also for
    /// [`connections_per_peer`](Self::connections_per_peer). A warning is logged when it has half of the connections
    /// that one client may have.
    ///
    /// [`Context::client_ip`]: crate::Context::client_ip
    pub trusted_proxies: Vec<IpNet>,

    /// The header that the [trusted proxies](Self::trusted_proxies) write; the other one is not read. Default
    /// `X-Forwarded-For`: nginx, haproxy, Apache and the load balancers of the clouds write it, and pass on a
    /// `Forwarded` header that the client has forged.
    pub forwarding_header: ForwardingHeader,

    /// Rate limits. Default none beyond the other limits: the right ones depend on the application.
    pub rates: Rates,

    /// The pages that may connect from a browser. Default [`Origins::SameHost`].
    pub origins: Origins,

    /// Compression of messages, permessage-deflate (RFC 7692), for clients that offer it; with the feature `deflate`.
    /// Default `None`: compressing a message takes longer than sending it, and the length of a message that holds a
    /// secret beside text chosen by others gives the secret away.
    #[cfg(feature = "deflate")]
    pub deflate: Option<Deflate>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes: 256 * 1024,
            frames_per_message: 1024,
            handshake_timeout: Duration::from_secs(10),
            credentials_grace: Duration::from_secs(30),
            ping_interval: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(60),
            outbox_bytes: 1024 * 1024,
            memory: 1024 * 1024 * 1024,
            topics_per_connection: 256,
            presence_bytes: 4 * 1024,
            presence_bytes_per_place: 1024 * 1024,
            presence_bytes_per_node: 32 * 1024 * 1024,
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
            append_timeout: Duration::from_secs(5),
            log_bytes: 64 * 1024 * 1024,
            feeds: 100_000,
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
    /// Returns the settings of compression, if it is enabled.
    pub(crate) fn compression(&self) -> Option<crate::websocket::Deflate> {
        #[cfg(feature = "deflate")]
        return self.deflate.clone();
        #[cfg(not(feature = "deflate"))]
        None
    }

    /// Returns the number of long messages that may be inflated at a time.
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
            ("memory", self.memory > 0),
            ("queued_messages", self.queued_messages > 0),
            ("ping_interval", !self.ping_interval.is_zero()),
            ("append_timeout", !self.append_timeout.is_zero()),
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
            assert!((1..=9).contains(&level), "Deflate::level is {level}, but must be 1 to 9");
        }
    }
}

/// The memory of a zlib-rs stream that inflates, 46 KiB, rounded up.
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
    #[should_panic(expected = "Deflate::level is 10, but must be 1 to 9")]
    fn a_level_that_there_is_not_is_refused() {
        Config { deflate: Some(Deflate { level: 10, ..Deflate::default() }), ..Config::default() }.check();
    }
}
