//! The suite of brokers on each shape of Redis.

use crate::support::{Cluster, Sentinels, Server};
use adapter_testing::{block_on, broker_suite};
use broker_redis::{Redis, RedisBroker};

#[track_caller]
fn passes(redis: &Redis) {
    block_on(broker_suite(async || RedisBroker::connect(redis.clone()).await.unwrap()));
}

#[test]
fn one_server_passes_the_suite() {
    let server = Server::start(&[]);
    passes(&Redis::url(server.url()));
}

#[test]
fn a_master_behind_sentinels_passes_the_suite() {
    let sentinels = Sentinels::start(1, 5000);
    passes(&Redis::sentinel(sentinels.urls(), "mymaster"));
}

#[test]
fn a_cluster_passes_the_suite() {
    let cluster = Cluster::start();
    passes(&Redis::cluster(cluster.urls()));
}
