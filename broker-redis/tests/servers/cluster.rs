//! Failover and resharding of a cluster.

use crate::support::{Cluster, append_surely, eventually, node, texts};
use adapter_testing::{BrokerNode, block_on};
use broker_redis::{Redis, RedisBroker};
use realtime_core::{
    Broker,
    broker::{Arrival, FollowChange, Missed, Source},
};
use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

fn redis(cluster: &Cluster) -> Redis {
    Redis::cluster(cluster.urls()).time_limit(Duration::from_millis(500))
}

fn topics() -> Vec<String> {
    (0..60).map(|number| format!("topic {number}")).collect()
}

fn follow_all(node: &BrokerNode<RedisBroker>, of: Source) {
    let change = |topic| FollowChange { topic, of, wanted: true };
    let changes: Vec<_> = topics().into_iter().map(change).collect();
    block_on(node.broker.follow(&changes)).unwrap();
}

/// Waits until each topic is heard; returns the shards that the node was told to have missed.
fn hear_all(
    publisher: &BrokerNode<RedisBroker>,
    reader: &BrokerNode<RedisBroker>,
    limit: Duration,
) -> HashSet<usize> {
    let mut deaf: HashSet<_> = topics().into_iter().collect();
    let mut missed = HashSet::new();
    let until = Instant::now() + limit;
    while !deaf.is_empty() {
        assert!(Instant::now() < until, "deaf after {limit:?}: {deaf:?}");
        let batch: Vec<_> = topics().iter().map(|topic| publisher.publication(topic, "x")).collect();
        let _ = block_on(publisher.broker.publish(&batch));
        thread::sleep(Duration::from_millis(20));
        for arrival in block_on(reader.arrivals()) {
            match arrival {
                Arrival::Publication(publication) => drop(deaf.remove(&publication.topic)),
                Arrival::Missed(Missed::Shard(shard)) => drop(missed.insert(shard)),
                other => panic!("{other:?}"),
            }
        }
    }
    missed
}

#[test]
fn no_channel_is_deaf_after_a_master_was_killed() {
    let mut cluster = Cluster::start();
    let (publisher, reader) = (node(redis(&cluster)), node(redis(&cluster)));
    follow_all(&reader, Source::Topic);
    hear_all(&publisher, &reader, Duration::from_secs(5));
    block_on(reader.arrivals());
    let known = block_on(publisher.top("feed"));
    cluster.servers[0].kill();
    // The servers take 1.5 s to agree that it is gone, and some more to elect another.
    let missed = hear_all(&publisher, &reader, Duration::from_secs(8));
    assert_eq!(missed.len(), 1, "the shard of that master was missed, and no other: {missed:?}");
    for topic in topics() {
        block_on(append_surely(&publisher, &publisher.draft(&topic, &["x"]), &known));
    }
}

#[test]
fn a_failover_by_an_operator_keeps_every_append_once() {
    let cluster = Cluster::start();
    let (writer, reader) = (node(redis(&cluster)), node(redis(&cluster)));
    follow_all(&reader, Source::Topic);
    let mut number = 0;
    let mut ends = ["a", "b", "c", "d", "e", "f"].map(|feed| (feed, block_on(writer.top(feed))));
    let mut append = || {
        number += 1;
        for (feed, end) in &mut ends {
            let draft = writer.draft(feed, &[&number.to_string()]);
            *end = block_on(append_surely(&writer, &draft, end));
            assert_eq!(end.offset, number);
        }
    };
    for replica in &cluster.servers[3..] {
        append();
        replica.command(&["CLUSTER", "FAILOVER"]).unwrap();
        eventually("the replica is a master", Duration::from_secs(10), || {
            append();
            format!("{:?}", replica.command(&["ROLE"])).contains("master")
        });
        append();
    }
    assert_eq!(block_on(texts(&writer, "a")).len() as u64, number);
    hear_all(&writer, &reader, Duration::from_secs(5));
}

#[test]
fn a_slot_that_moves_takes_its_feeds_and_channels_along() {
    let cluster = Cluster::start();
    let (writer, reader) = (node(redis(&cluster)), node(redis(&cluster)));
    follow_all(&reader, Source::Topic);
    let feed = "topic 0";
    let before = block_on(writer.append(feed, &["1"]));
    let key = cluster.servers[..3].iter().find_map(|server| {
        let keys: Vec<String> = redis::cmd("KEYS").arg("*:s:topic 0").query(&mut server.connect()).unwrap();
        keys.first().cloned()
    });
    cluster.move_slot_of(&key.unwrap());
    let known = block_on(writer.top(feed));
    let after = block_on(append_surely(&writer, &writer.draft(feed, &["2"]), &known));
    assert_eq!(after.offset, 2);
    assert_ne!(after.epoch, before.epoch, "another master, another reign");
    assert_eq!(block_on(texts(&writer, feed)), ["1", "2"]);
    let missed = hear_all(&writer, &reader, Duration::from_secs(5));
    assert!(!missed.is_empty(), "what moved was missed");
}
