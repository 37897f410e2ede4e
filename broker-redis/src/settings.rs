use crate::login::Login;
use realtime_core::{Error, Result};
use redis::{ConnectionInfo, IntoConnectionInfo};
use std::{fmt, time::Duration};

/// The place of Redis or Valkey, and how it is used.
///
/// All nodes of a cluster have the same place, prefix and number of partitions.
///
/// ```
/// use broker_redis::Redis;
///
/// let one = Redis::url("redis://user:password@127.0.0.1:6379/0");
/// let watched = Redis::sentinel(["redis://10.0.0.1:26379", "redis://10.0.0.2:26379"], "mymaster");
/// let cluster = Redis::cluster(["redis://10.0.0.1:7000", "redis://10.0.0.2:7000"]).prefix("chat");
/// ```
#[derive(Clone)]
pub struct Redis {
    pub(crate) place: Place,
    pub(crate) prefix: String,
    pub(crate) partitions: usize,
    pub(crate) time_limit: Duration,
    pub(crate) waiting: usize,
    pub(crate) login: Login,
}

#[derive(Clone)]
pub(crate) enum Place {
    Server(String),
    Sentinel { urls: Vec<String>, master: String },
    Cluster(Vec<String>),
}

/// The longest time limit. Publications may take twice as long, once to wait for a server and once for its answer, and
/// nodes wait 10 s for their broker: what certainly was not sent would be dropped as if it may have been.
const LONGEST: Duration = Duration::from_secs(4);

impl Redis {
    /// Uses the one server at a URL: `redis://[user[:password]@]host[:port][/database]`, `rediss://` for TLS (with the
    /// feature `tls`), `unix:///path` for a socket. It must be a master.
    pub fn url(url: impl Into<String>) -> Self {
        Self::at(Place::Server(url.into()))
    }

    /// Asks Sentinels for the master of this name. User and password in the URLs are those of the Sentinels; the
    /// servers' are set by [`login`](Self::login). The servers are reached by TLS if the Sentinels are.
    pub fn sentinel<U: Into<String>>(urls: impl IntoIterator<Item = U>, master: impl Into<String>) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        Self::at(Place::Sentinel { urls, master: master.into() })
    }

    /// Uses a Redis Cluster (7.0 or later), of which these servers are asked first. User, password and TLS of the first
    /// URL are those of all servers.
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        Self::at(Place::Cluster(urls.into_iter().map(Into::into).collect()))
    }

    /// Sets what the names of all keys and channels begin with, `realtime` by default: 1 to 64 bytes without braces.
    #[must_use = "the changed settings are returned"]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the number of partitions, 64 by default, 1 to 1024. Topics and feeds are divided among them by a hash of
    /// their names, and they among the masters of a cluster. Another number is another place for all logs.
    #[must_use = "the changed settings are returned"]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets how long a server may take to answer, 2 s by default and 4 s at most. Then its connections are replaced: a
    /// longer pause of the server is treated as a loss. Publications may wait this long for a server, and then for its
    /// answer; a node gives up what its broker has not answered within 10 s, and would drop them.
    #[must_use = "the changed settings are returned"]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sets how many bytes may wait for the server, and how many for the node, 64 MiB each by default. Over the first,
    /// appends and publications are refused; over the second, the node is told that it missed something.
    #[must_use = "the changed settings are returned"]
    pub fn waiting(mut self, bytes: usize) -> Self {
        self.waiting = bytes;
        self
    }

    /// Sets user and password of the servers behind Sentinels. The user `default` is that of servers without ACL.
    #[must_use = "the changed settings are returned"]
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login.user = Some((user.into(), password.into()));
        self
    }

    /// Sets the root certificate of the servers, in PEM, instead of the system's.
    #[cfg(feature = "tls")]
    #[must_use = "the changed settings are returned"]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.login.root = Some(pem.into());
        self
    }

    /// Sets the certificate and key that this client shows, in PEM.
    #[cfg(feature = "tls")]
    #[must_use = "the changed settings are returned"]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.login.client = Some((certificate.into(), key.into()));
        self
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            prefix: "realtime".to_owned(),
            partitions: 64,
            time_limit: Duration::from_secs(2),
            waiting: 64 * 1024 * 1024,
            login: Login::default(),
        }
    }

    /// Returns the addresses in the URLs.
    pub(crate) fn addresses(&self) -> Result<Vec<ConnectionInfo>> {
        self.check()?;
        let urls = match &self.place {
            Place::Server(url) => std::slice::from_ref(url),
            Place::Sentinel { urls, .. } | Place::Cluster(urls) => urls,
        };
        if urls.is_empty() {
            return Err(Error::invalid_argument("no URL of a Redis server"));
        }
        urls.iter().map(|url| parse(url)).collect()
    }

    fn check(&self) -> Result {
        let valid = (1..=64).contains(&self.prefix.len()) && !self.prefix.contains(['{', '}']);
        if !valid {
            return Err(Error::invalid_argument(
                "the prefix of a RedisBroker must have 1 to 64 bytes and no braces",
            ));
        }
        if !(1..=1024).contains(&self.partitions) {
            return Err(Error::invalid_argument("a RedisBroker has 1 to 1024 partitions"));
        }
        if self.time_limit.is_zero() {
            return Err(Error::invalid_argument("the time limit of a RedisBroker must not be zero"));
        }
        if self.time_limit > LONGEST {
            let text =
                format!("the time limit of a RedisBroker is {LONGEST:?} at most, not {:?}", self.time_limit);
            return Err(Error::invalid_argument(text));
        }
        Ok(())
    }
}

impl Place {
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

/// Parses a URL. The error does not repeat it, because it may have a password in it.
fn parse(url: &str) -> Result<ConnectionInfo> {
    let info = url.into_connection_info().map_err(|error| {
        Error::invalid_argument(format!(
            "not a URL of a Redis server, as in redis://host:6379: {}",
            error.category()
        ))
    })?;
    if !info.addr().is_supported() {
        let text = format!("{} needs the feature `tls` of broker-redis", info.addr());
        return Err(Error::invalid_argument(text));
    }
    // Messages of channels come beside replies only in RESP3.
    let redis = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(redis))
}

/// Shows no URL, because one may have a password in it.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::Server(_) => "server",
            Place::Sentinel { .. } => "sentinel",
            Place::Cluster(_) => "cluster",
        };
        f.debug_struct("Redis")
            .field("place", &place)
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions)
            .field("time_limit", &self.time_limit)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_refused_with_what_is_wrong() {
        for (redis, said) in [
            (Redis::url("http://host"), "not a URL"),
            (Redis::url("redis://host").prefix("a{b}"), "prefix"),
            (Redis::url("redis://host").prefix(""), "prefix"),
            (Redis::url("redis://host").partitions(0), "partitions"),
            (Redis::url("redis://host").time_limit(Duration::ZERO), "time limit"),
            (Redis::url("redis://host").time_limit(Duration::from_millis(4001)), "4s at most, not 4.001s"),
            (Redis::cluster(Vec::<String>::new()), "no URL"),
        ] {
            let error = redis.addresses().unwrap_err();
            assert!(error.message().contains(said), "{error}");
        }
        assert!(Redis::url("redis://host").time_limit(Duration::from_secs(4)).addresses().is_ok());
    }

    #[test]
    fn a_password_is_not_shown() {
        let redis = Redis::sentinel(["redis://ann:secret@host"], "mymaster").login("bob", "secret");
        assert!(!format!("{redis:?}").contains("secret"));
        let error = Redis::url("redis://ann:secret@host:port").addresses().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
