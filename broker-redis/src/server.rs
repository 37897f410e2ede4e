//! What a server says of itself on a new connection.

use realtime_core::{Error, Result};
use realtime_protocol::internal::sha1;
use redis::{Cmd, InfoDict, Pipeline, Value, aio::MultiplexedConnection};
use std::collections::HashMap;

use crate::{
    master::Dialer,
    rights, scripts,
    trouble::{self, Trouble},
};

/// A master, as it presented itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Random, new with each start of the server.
    pub(crate) run_id: String,
    /// Random, new with each promotion.
    replication_id: String,
    /// The number of the connection in this run.
    pub(crate) client_id: u64,
    /// The most bytes of an argument.
    largest: usize,
}

/// The most bytes of an argument, where the user may not ask: the default of `proto-max-bulk-len`.
const LARGEST: usize = 512 * 1024 * 1024;

/// A number that no connection has.
const NO_CLIENT: u64 = i64::MAX as u64;

impl Server {
    /// Makes a new connection ready: checks that the server is a master that can be used, loads the scripts, and ends
    /// connections of ours to the same server that were given up. What such a one has sent and the server has not yet
    /// read would otherwise be carried out behind the next attempt of the same.
    pub(crate) async fn greet(
        connection: &mut MultiplexedConnection,
        address: &str,
        dialer: &Dialer,
        given_up: &[Self],
    ) -> Result<Self> {
        let mut pipe = redis::pipe();
        pipe.cmd("CLIENT").arg("ID");
        pipe.cmd("INFO").arg("server");
        pipe.cmd("INFO").arg("replication");
        pipe.cmd("INFO").arg("memory");
        scripts::load(&mut pipe);
        let replies = query(&mut pipe, connection, address).await?;
        let [id, server, replication, memory, ..] = &replies[..] else {
            return Err(unclear(address, "too little"));
        };
        let (info, role) = (info(server), info(replication));
        check(&info, &role, address, dialer.is_cluster)?;
        check_rights(&dialer.rights, connection, address).await?;
        warn_of_eviction(&self::info(memory), address);
        let client_id = redis::from_redis_value_ref(id).map_err(|_| unclear(address, "no client id"))?;
        let text = |info: &InfoDict, key: &str| info.get::<String>(key).unwrap_or_default();
        let run_id = text(&info, "run_id");
        let replication_id = text(&role, "master_replid");
        let server = Self { run_id, replication_id, client_id, largest: largest(connection).await };
        server.end(given_up, connection, address).await?;
        Ok(server)
    }

    /// Returns what is wrong with a message of so many bytes, if something is.
    pub(crate) fn too_large(&self, bytes: usize) -> Option<Trouble> {
        (bytes > self.largest).then(|| Trouble::too_large(bytes, self.largest))
    }

    /// Names the state that this server's data is the continuation of: 24 bits as hexadecimal digits.
    pub(crate) fn reign(&self) -> String {
        let digest = sha1([&*self.run_id, &*self.replication_id].concat().as_bytes());
        digest[..3].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns an error unless the server is the master that it was.
    pub(crate) async fn recheck(&self, connection: &mut MultiplexedConnection, address: &str) -> Result {
        let mut pipe = redis::pipe();
        pipe.cmd("INFO").arg("replication");
        let replies = query(&mut pipe, connection, address).await?;
        let role = info(replies.first().unwrap_or(&Value::Nil));
        check_role(&role, address)?;
        if role.get::<String>("master_replid").as_ref() == Some(&self.replication_id) {
            return Ok(());
        }
        Err(Error::unavailable(format!("Redis at {address}: its data has been replaced")))
    }

    /// Ends the connections that were given up, or one that is not there: the right to do so must not be missing when
    /// it is needed.
    async fn end(&self, given_up: &[Self], connection: &mut MultiplexedConnection, address: &str) -> Result {
        let mut pipe = redis::pipe();
        let old = given_up.iter().filter(|server| server.run_id == self.run_id).map(|server| server.client_id);
        for id in old.chain([NO_CLIENT]) {
            pipe.cmd("CLIENT").arg("KILL").arg("ID").arg(id);
        }
        query(&mut pipe, connection, address).await.map(drop)
    }
}

/// Returns an error that names the rights which the user lacks: some are needed only now and then, as after a failover.
async fn check_rights(ask: &Cmd, connection: &mut MultiplexedConnection, address: &str) -> Result {
    let asked = ask.query_async::<Vec<String>>(connection).await;
    let answer = trouble::read(asked, address).map_err(Trouble::told)?;
    if answer.is_empty() {
        return Ok(());
    }
    let missing = rights::missing(&answer);
    let text =
        format!("Redis at {address}: NOPERM the user lacks the rights {missing}, or may not use the prefix");
    Err(Error::failed_precondition(text))
}

async fn largest(connection: &mut MultiplexedConnection) -> usize {
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg("proto-max-bulk-len");
    let told: redis::RedisResult<HashMap<String, usize>> = ask.query_async(connection).await;
    told.ok().and_then(|told| told.into_values().next()).unwrap_or(LARGEST)
}

async fn query(pipe: &mut Pipeline, connection: &mut MultiplexedConnection, address: &str) -> Result<Vec<Value>> {
    trouble::read(pipe.query_async(connection).await, address).map_err(Trouble::told)
}

fn check(info: &InfoDict, role: &InfoDict, address: &str, is_cluster: bool) -> Result {
    check_role(role, address)?;
    let version: String = info.get("redis_version").unwrap_or_default();
    let wanted = if is_cluster { (7, 0) } else { (6, 2) };
    if numbers(&version) < wanted {
        let (major, minor) = wanted;
        let text = format!("Redis at {address} has version {version}, and {major}.{minor} is needed");
        return Err(Error::failed_precondition(text));
    }
    match (info.get::<String>("redis_mode").as_deref() == Some("cluster"), is_cluster) {
        (true, false) => {
            let text = format!("Redis at {address} is a node of a cluster: use Redis::cluster");
            Err(Error::failed_precondition(text))
        }
        (false, true) => {
            let text = format!("Redis at {address} is not a node of a cluster: use Redis::url or Redis::sentinel");
            Err(Error::failed_precondition(text))
        }
        _ => Ok(()),
    }
}

fn check_role(role: &InfoDict, address: &str) -> Result {
    match role.get::<String>("role").as_deref() {
        Some("master") => Ok(()),
        Some(_) => Err(Error::unavailable(format!("Redis at {address} is a replica, and a master is needed"))),
        None => Err(unclear(address, "no role")),
    }
}

/// Logs that entries of feeds may be evicted: their followers are told that they diverged.
fn warn_of_eviction(memory: &InfoDict, address: &str) {
    let policy: String = memory.get("maxmemory_policy").unwrap_or_default();
    let limit: u64 = memory.get("maxmemory").unwrap_or_default();
    if limit > 0 && policy != "noeviction" {
        tracing::warn!(
            "Redis at {address} evicts keys ({policy}): logs can be lost; set maxmemory-policy noeviction"
        );
    }
}

fn info(value: &Value) -> InfoDict {
    redis::from_redis_value_ref(value).unwrap_or_else(|_| InfoDict::new(""))
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn unclear(address: &str, what: &str) -> Error {
    Error::unavailable(format!("Redis at {address} answers INFO with {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_refused_with_what_is_wrong() {
        let master = InfoDict::new("role:master\r\n");
        let replica = InfoDict::new("role:slave\r\n");
        let info = |version: &str, mode: &str| {
            InfoDict::new(&format!("redis_version:{version}\r\nredis_mode:{mode}\r\n"))
        };
        assert!(check(&info("6.2.0", "standalone"), &master, "a:1", false).is_ok());
        assert!(check(&info("10.0", "cluster"), &master, "a:1", true).is_ok());
        for (info, role, is_cluster, said) in [
            (info("6.0.9", "standalone"), &master, false, "6.2 is needed"),
            (info("6.2.0", "cluster"), &master, true, "7.0 is needed"),
            (info("7.0.0", "cluster"), &master, false, "Redis::cluster"),
            (info("7.0.0", "standalone"), &master, true, "Redis::url"),
            (info("7.0.0", "standalone"), &replica, false, "is a replica"),
            (info("7.0.0", "standalone"), &InfoDict::new(""), false, "no role"),
        ] {
            let error = check(&info, role, "a:1", is_cluster).unwrap_err();
            assert!(error.message().contains(said) && error.message().contains("a:1"), "{error}");
        }
    }

    #[test]
    fn the_reign_is_of_the_run_and_of_the_promotion() {
        let server = |run: &str, replication: &str, client_id| {
            Server { run_id: run.into(), replication_id: replication.into(), client_id, largest: LARGEST }.reign()
        };
        assert_eq!(server("a", "b", 1), server("a", "b", 2));
        assert_eq!(server("a", "b", 1), "da2361");
        assert_ne!(server("a", "b", 1), server("a", "c", 1));
        assert_ne!(server("a", "b", 1), server("c", "b", 1));
    }
}
