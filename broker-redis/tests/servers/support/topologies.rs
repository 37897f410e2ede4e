use super::{Server, eventually};
use free_port::free_port;
use std::time::Duration;

/// A master, its replicas, and three Sentinels that watch over it.
#[derive(Debug)]
pub(crate) struct Sentinels {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

impl Sentinels {
    /// Starts all of it. Sentinels replace a master that was silent for so many milliseconds.
    pub(crate) fn start(replicas: usize, down_after: u64) -> Self {
        let master = Server::start(&[]);
        let of = format!("replicaof 127.0.0.1 {}", master.port);
        let mut servers = vec![master];
        servers.extend((0..replicas).map(|_| Server::start(&[&of])));
        let port = servers[0].port;
        let sentinels = (0..3)
            .map(|_| {
                let settings = [
                    format!("sentinel monitor mymaster 127.0.0.1 {port} 2"),
                    format!("sentinel down-after-milliseconds mymaster {down_after}"),
                    "sentinel failover-timeout mymaster 3000".to_owned(),
                ];
                let mut sentinel = Server::prepare("redis-sentinel", &settings.each_ref().map(|line| &**line));
                sentinel.run();
                sentinel.wait();
                sentinel
            })
            .collect();
        let this = Self { servers, sentinels };
        eventually("the Sentinels know each other and the replicas", Duration::from_secs(20), || {
            this.is_complete()
        });
        this
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::url).collect()
    }

    /// Returns the port of the master that most of them name.
    pub(crate) fn master(&self) -> Option<u16> {
        let mut ports: Vec<u16> = self.sentinels.iter().filter_map(named).collect();
        ports.sort_unstable();
        ports.get(ports.len() / 2).copied()
    }

    fn is_complete(&self) -> bool {
        self.sentinels.iter().all(|sentinel| {
            let known = |what: &str| {
                let reply = sentinel.command(&["SENTINEL", what, "mymaster"]);
                reply.ok().and_then(|reply| reply.into_sequence().ok()).map_or(0, |known| known.len())
            };
            known("SENTINELS") == 2 && known("REPLICAS") == self.servers.len() - 1
        })
    }
}

fn named(sentinel: &Server) -> Option<u16> {
    let reply = sentinel.command(&["SENTINEL", "get-master-addr-by-name", "mymaster"]).ok()?;
    let (_, port): (String, u16) = redis::from_redis_value(reply).ok()?;
    Some(port)
}

/// A cluster of three masters with a replica each.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::with_timeout(1500)
    }

    /// Starts one whose servers replace a master that was silent for so many milliseconds.
    pub(crate) fn with_timeout(timeout: u64) -> Self {
        let servers: Vec<_> = (0..6)
            .map(|_| {
                let bus = format!("cluster-port {}", free_port().unwrap());
                Server::start(&[
                    "cluster-enabled yes",
                    &format!("cluster-node-timeout {timeout}"),
                    "cluster-replica-validity-factor 0",
                    "repl-diskless-sync-delay 0",
                    &bus,
                ])
            })
            .collect();
        let this = Self { servers };
        this.meet();
        this.assign();
        eventually("the cluster is complete", Duration::from_secs(30), || this.is_complete());
        this
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Server::url).collect()
    }

    /// Moves the slot of a key, with all that is in it, to another master.
    pub(crate) fn move_slot_of(&self, key: &str) {
        let slot: u16 =
            redis::from_redis_value(self.servers[0].command(&["CLUSTER", "KEYSLOT", key]).unwrap()).unwrap();
        let at = usize::from(slot / 5461).min(2);
        let [from, to, third] = [at, at + 1, at + 2].map(|at| &self.servers[at % 3]);
        let slot = slot.to_string();
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from.id()]).unwrap();
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to.id()]).unwrap();
        let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]).unwrap();
        let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
        let port = to.port.to_string();
        let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        let keys: Vec<_> = keys.iter().map(|key| &**key).collect();
        let migrate = [&migrate[..], &keys].concat();
        eventually("the keys have moved", Duration::from_secs(10), || from.command(&migrate).is_ok());
        for server in [to, from, third] {
            server.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to.id()]).unwrap();
        }
    }

    fn meet(&self) {
        for server in &self.servers[1..] {
            let bus = bus(server);
            self.servers[0].command(&["CLUSTER", "MEET", "127.0.0.1", &server.port.to_string(), &bus]).unwrap();
        }
        eventually("all know each other", Duration::from_secs(20), || {
            self.servers.iter().all(|server| count(server, "cluster_known_nodes") == Some(6))
        });
    }

    fn assign(&self) {
        for (at, range) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")].iter().enumerate() {
            self.servers[at].command(&["CLUSTER", "ADDSLOTSRANGE", range.0, range.1]).unwrap();
        }
        for at in 0..3 {
            let id = self.servers[at].id();
            eventually("the replica knows its master", Duration::from_secs(10), || {
                self.servers[at + 3].command(&["CLUSTER", "REPLICATE", &id]).is_ok()
            });
        }
    }

    fn is_complete(&self) -> bool {
        let linked = |replica: &Server| {
            let reply = replica.command(&["INFO", "replication"]).ok();
            reply.is_some_and(|info| format!("{info:?}").contains("master_link_status:up"))
        };
        let knows = |server: &Server| {
            let reply = server.command(&["CLUSTER", "NODES"]).ok();
            let nodes: String = reply.and_then(|nodes| redis::from_redis_value(nodes).ok()).unwrap_or_default();
            nodes.matches("slave").count() == 3 && is_up(server)
        };
        self.servers.iter().all(|server| count(server, "cluster_slots_ok") == Some(16_384) && knows(server))
            && self.servers[3..].iter().all(linked)
    }
}

fn bus(server: &Server) -> String {
    let conf = std::fs::read_to_string(server.folder().join("conf")).unwrap();
    conf.lines().find_map(|line| line.strip_prefix("cluster-port ")).unwrap().to_owned()
}

fn is_up(server: &Server) -> bool {
    format!("{:?}", server.command(&["CLUSTER", "INFO"])).contains("cluster_state:ok")
}

fn count(server: &Server, what: &str) -> Option<u32> {
    let info: String = redis::from_redis_value(server.command(&["CLUSTER", "INFO"]).ok()?).ok()?;
    info.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')?.trim().parse().ok())
}
