//! Servers of a test: real processes on free ports of loopback, in folders of their own, which end with the test.

mod append;
mod process;
mod proxy;
mod topologies;

pub(crate) use append::{append_surely, texts};
pub(crate) use process::Server;
pub(crate) use proxy::Proxy;
pub(crate) use topologies::{Cluster, Sentinels};

use adapter_testing::{BrokerNode, block_on};
use broker_redis::{Redis, RedisBroker};
use realtime_core::{Position, broker::Arrival};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Connects a node to what these settings name.
pub(crate) fn node(redis: Redis) -> BrokerNode<RedisBroker> {
    BrokerNode::new(block_on(RedisBroker::connect(redis)).unwrap())
}

/// Returns the reign that a position was made in.
pub(crate) fn reign(position: &Position) -> String {
    position.epoch.split_once('.').unwrap().1.to_owned()
}

/// Returns true if the node is told within `limit` that it missed something.
pub(crate) fn misses(node: &BrokerNode<RedisBroker>, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if block_on(node.arrivals()).iter().any(|arrival| matches!(arrival, Arrival::Missed(_))) {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Waits until something holds in the servers, which tell nobody.
///
/// # Panics
///
/// If it does not within `limit`.
#[track_caller]
pub(crate) fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
