//! Failover by Sentinels.

use crate::support::{Sentinels, append_surely, eventually, node, reign, texts};
use adapter_testing::block_on;
use broker_redis::Redis;
use realtime_core::{
    Broker,
    broker::{Arrival, Source},
};
use std::time::Duration;

fn redis(sentinels: &Sentinels) -> Redis {
    Redis::sentinel(sentinels.urls(), "mymaster").time_limit(Duration::from_millis(500))
}

/// The replica is stopped and cut off, so that what is appended and acknowledged next is lost with the master.
#[test]
fn a_failover_that_loses_acknowledged_entries_is_seen_in_reign_and_proof() {
    let mut sentinels = Sentinels::start(1, 1000);
    let (writer, reader) = (node(redis(&sentinels)), node(redis(&sentinels)));
    block_on(reader.follow("feed", Source::Log));
    let kept = block_on(writer.append("feed", &["kept"]));
    wait_for_replica(&sentinels);
    sentinels.servers[1].signal("STOP");
    sentinels.servers[0].command(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
    let lost = block_on(writer.append("feed", &["lost", "lost too"]));
    sentinels.servers[0].kill();
    sentinels.servers[1].signal("CONT");

    // As a node that was appending: it knew an end that is not there any more.
    let draft = writer.draft("feed", &["after"]);
    let after = block_on(append_surely(&writer, &draft, &lost));
    assert_eq!(after.offset, 2);
    assert_ne!(reign(&after), reign(&kept));
    let next = block_on(writer.append("feed", &["later", "and later"]));
    assert!(next.offset > lost.offset, "past the old end");
    let page = block_on(writer.broker.read("feed", 0, usize::MAX)).unwrap();
    assert_eq!(page.records[0].position(1).proof, kept.proof, "what was kept is proven");
    let at_lost = page.records.iter().find(|record| record.last() >= lost.offset).unwrap();
    assert_ne!(at_lost.position(lost.offset).proof, lost.proof, "what was lost is not");

    // A retry finds what an attempt after the failover has appended, although the offset is one that the node knew.
    let again = block_on(writer.broker.append(&draft, Some(&lost))).unwrap();
    assert_eq!(again, after);
    assert_eq!(block_on(texts(&writer, "feed")), ["kept", "after", "later", "and later"]);

    let mut arrived = Vec::new();
    eventually("the reader is told, and brought what comes", Duration::from_secs(10), || {
        block_on(writer.append("feed", &["more"]));
        arrived.extend(block_on(reader.arrivals()));
        let is_new = |arrival: &Arrival| matches!(arrival, Arrival::Record(record) if record.last() > next.offset);
        arrived.iter().any(|arrival| matches!(arrival, Arrival::Missed(_))) && arrived.iter().any(is_new)
    });
}

#[test]
fn a_failover_by_an_operator_loses_nothing() {
    let sentinels = Sentinels::start(1, 10_000);
    let writer = node(redis(&sentinels));
    let known = block_on(writer.append("feed", &["0"]));
    wait_for_replica(&sentinels);
    let old = sentinels.master().unwrap();
    sentinels.sentinels[0].command(&["SENTINEL", "FAILOVER", "mymaster"]).unwrap();
    let mut number = 0;
    eventually("another is the master", Duration::from_secs(20), || {
        number += 1;
        block_on(append_surely(&writer, &writer.draft("feed", &[&number.to_string()]), &known));
        sentinels.master().is_some_and(|master| master != old)
    });
    for _ in 0..50 {
        number += 1;
        block_on(append_surely(&writer, &writer.draft("feed", &[&number.to_string()]), &known));
    }
    let mut texts = block_on(texts(&writer, "feed"));
    assert_eq!(texts.last(), Some(&number.to_string()));
    let count = texts.len();
    texts.dedup();
    assert_eq!(texts.len(), count, "none is there twice");
}

#[test]
fn a_sentinel_that_is_gone_or_stands_still_is_not_waited_for() {
    let mut sentinels = Sentinels::start(0, 60_000);
    sentinels.sentinels[0].kill();
    let writer = node(redis(&sentinels));
    block_on(writer.append("feed", &["1"]));
    sentinels.sentinels[1].signal("STOP");
    let other = node(redis(&sentinels));
    sentinels.sentinels[1].signal("CONT");
    assert_eq!(block_on(other.append("feed", &["2"])).offset, 2);
}

/// Waits until the replica has what the master has.
fn wait_for_replica(sentinels: &Sentinels) {
    let replicas = redis::cmd("WAIT").arg(1).arg(10_000).query::<u32>(&mut sentinels.servers[0].connect());
    assert_eq!(replicas.unwrap(), 1);
}
