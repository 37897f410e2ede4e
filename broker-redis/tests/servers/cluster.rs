//! Failover and resharding of a cluster.

use crate::support::{Cluster, Server, append_surely, eventually, node, texts};
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

/// The longest time from the promotion of a replica until each channel is heard again.
const OURS: Duration = Duration::from_millis(1500);

/// Loses the first master, and returns the shards that the reader was told to have missed. All settings are the defaults, and
/// the servers wait for 2 s before they replace a master.
#[track_caller]
fn hears_all_soon_after(lose: impl FnOnce(&mut Server)) -> HashSet<usize> {
    let mut cluster = Cluster::with_timeout(2000);
    let redis = Redis::cluster(cluster.urls());
    let (publisher, reader) = (node(redis.clone()), node(redis));
    follow_all(&reader, Source::Topic);
    hear_all(&publisher, &reader, Duration::from_secs(5));
    block_on(reader.arrivals());
    let known = block_on(publisher.top("feed"));
    let begun = Instant::now();
    lose(&mut cluster.servers[0]);
    let (missed, promoted, heard) = thread::scope(|scope| {
        let replica = &cluster.servers[3];
        let promoting = scope.spawn(|| {
            eventually("the replica is promoted", Duration::from_secs(20), || {
                format!("{:?}", replica.command(&["ROLE"])).contains("master")
            });
            begun.elapsed()
        });
        let missed = hear_all(&publisher, &reader, Duration::from_secs(20));
        let heard = begun.elapsed();
        (missed, promoting.join().unwrap(), heard)
    });
    assert!(heard < promoted + OURS, "promoted after {promoted:?}, all heard after {heard:?}");
    for topic in topics() {
        block_on(append_surely(&publisher, &publisher.draft(&topic, &["x"]), &known));
    }
    missed
}

#[test]
fn no_channel_is_deaf_soon_after_a_master_was_killed() {
    let missed = hears_all_soon_after(Server::kill);
    assert_eq!(missed.len(), 1, "the shard of that master was missed, and no other: {missed:?}");
}

#[test]
fn no_channel_is_deaf_soon_after_a_master_fell_silent() {
    let missed = hears_all_soon_after(|server| server.signal("STOP"));
    assert_eq!(missed.len(), 1, "the shard of that master was missed, and no other: {missed:?}");
}

/// It believes to be a master, and takes subscriptions and publications.
#[test]
fn a_master_that_is_parted_from_the_others_is_left() {
    let cluster = Cluster::start();
    let (parted, others) = cluster.servers.split_first().unwrap();
    let redis = Redis::cluster(others.iter().map(Server::url));
    let reader = node(redis.clone());
    follow_all(&reader, Source::Topic);
    for other in others {
        parted.command(&["CLUSTER", "FORGET", &other.id()]).unwrap();
    }
    let replica = &others[2];
    replica.command(&["CLUSTER", "FAILOVER", "TAKEOVER"]).unwrap();
    eventually("the others know", Duration::from_secs(10), || {
        let knows = |server: &Server| {
            format!("{:?}", server.command(&["CLUSTER", "SLOTS"])).matches(&format!("({})", replica.port)).count()
                > 0
        };
        others[..2].iter().all(knows)
    });
    assert!(format!("{:?}", parted.command(&["ROLE"])).contains("master"));
    let publisher = node(redis);
    let missed = hear_all(&publisher, &reader, Duration::from_secs(5));
    assert_eq!(missed.len(), 1, "the shard of that master was missed, and no other: {missed:?}");
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
