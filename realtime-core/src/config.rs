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
    /// connection. Over it: status 503, or the connection is dropped. Default 10 s.
    pub handshake_timeout: Duration,

    /// A client that sent nothing for this long is pinged. Default 25 s: below the 30 to 60 s
    /// after which proxies drop silent connections.
    pub ping_interval: Duration,

    /// A client that sent nothing for this long, no pong either, is closed with 1001. Default 60 s:
    /// two pings may be lost.
    pub idle_timeout: Duration,

    /// Bytes that may wait for one client, as they are sent. At the limit `send` gives the message
    /// back as `Full`, and a broadcast closes that client with 1013. Default 1 MiB.
    pub outbox_bytes: usize,

    /// Topics that one connection may be subscribed to. Default 256.
    pub topics_per_connection: usize,

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

    /// Connections from one client's address, where it is known. Over it: status 429. Default
    /// 1024: an office behind one address fits, one machine cannot take all places.
    pub connections_per_peer: usize,

    /// The networks of proxies whose word on the client's address is taken ([`Context::client_ip`]). Each has to
    /// add to `Forwarded` (RFC 7239) or `X-Forwarded-For` whom it was called by; where the two headers of a request
    /// disagree, neither is believed. Default none: anyone can send such a header.
    ///
    /// [`Context::client_ip`]: crate::Context::client_ip
    pub trusted_proxies: Vec<IpNet>,

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
}

#[cfg(feature = "deflate")]
impl Default for Deflate {
    fn default() -> Self {
        Self { threshold: 512, level: 2 }
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
            queued_messages: 64,
            malformed_messages: 32,
            close_timeout: Duration::from_secs(5),
            connections: 100_000,
            connections_per_peer: 1024,
            trusted_proxies: Vec::new(),
            origins: Origins::SameHost,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }
}

impl Config {
    #[track_caller]
    pub(crate) fn check(&self) {
        let needed = [
            ("message_bytes", self.message_bytes > 0),
            ("frames_per_message", self.frames_per_message > 0),
            ("outbox_bytes", self.outbox_bytes > 0),
            ("queued_messages", self.queued_messages > 0),
            ("ping_interval", !self.ping_interval.is_zero()),
            ("idle_timeout", !self.idle_timeout.is_zero()),
        ];
        for (name, valid) in needed {
            assert!(valid, "Config::{name} is 0: no connection could work");
        }
        #[cfg(feature = "deflate")]
        if let Some(Deflate { level, .. }) = self.deflate {
            assert!((1..=9).contains(&level), "Deflate::level is {level}, and not 1 to 9");
        }
    }
}

/// Which pages may connect: browsers send `Origin` with every WebSocket request and send cookies
/// to whatever host it names, so a foreign page could act as the user (RFC 6455, section 10.2).
///
/// Requests without `Origin` do not come from a browser's page and are not judged by it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// The origin's host and port are those of the request's `Host`.
    SameHost,
    /// One of these, as browsers write them (`https://app.example.com`), or of the same host.
    List(Vec<String>),
    /// Any page: only where nothing depends on cookies or on the network that a browser is in.
    Any,
}

impl Origins {
    pub(crate) fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        let same_host = || {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.zip(host).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
        };
        match self {
            Self::Any => true,
            Self::SameHost => same_host(),
            Self::List(list) => list.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) || same_host(),
        }
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

    #[test]
    fn same_host_compares_host_and_port() {
        let same = |origin| Origins::SameHost.allows(origin, Some("app.example.com:8080"));
        assert!(same("https://app.example.com:8080"));
        assert!(same("http://APP.example.com:8080"));
        for foreign in
            ["https://app.example.com", "https://evil.com", "null", "", "https://app.example.com:8080.evil.com"]
        {
            assert!(!same(foreign), "{foreign}");
        }
        assert!(!Origins::SameHost.allows("https://a", None));
    }

    #[test]
    fn a_list_adds_to_the_same_host() {
        let list = Origins::List(vec!["https://a.example".into()]);
        assert!(list.allows("https://a.example", Some("b")));
        assert!(list.allows("https://b", Some("b")));
        assert!(!list.allows("http://a.example", Some("b")));
    }
}
