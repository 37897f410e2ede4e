//! The lives of the keys of a log, and appends that came half way.

use crate::support::{Server, node};
use adapter_testing::{BrokerNode, block_on};
use broker_redis::{Redis, RedisBroker};
use realtime_core::{Broker, broker::Draft};
use std::time::Duration;

const HOUR: u64 = 3600 * 1000;

fn key(server: &Server, kind: &str) -> String {
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("*:{kind}:feed")).query(&mut server.connect()).unwrap();
    keys[0].clone()
}

/// Returns how long a key of the log lives from now on, in milliseconds.
fn life(server: &Server, kind: &str) -> u64 {
    redis::cmd("PTTL").arg(key(server, kind)).query(&mut server.connect()).unwrap()
}

fn draft(node: &BrokerNode<RedisBroker>, within: Duration) -> Draft {
    let mut draft = node.draft("feed", &["x"]);
    draft.keep.within = within;
    draft
}

fn append(node: &BrokerNode<RedisBroker>, within: Duration) -> u64 {
    block_on(node.broker.append(&draft(node, within), None)).unwrap().offset
}

#[test]
fn entries_that_are_to_be_kept_for_longer_are_kept_from_the_next_append_on() {
    let server = Server::start(&[]);
    let node = node(Redis::url(server.url()));
    append(&node, Duration::from_secs(3600));
    append(&node, Duration::from_secs(3600));
    append(&node, Duration::from_secs(30 * 24 * 3600));
    assert!(life(&server, "s") > 59 * 24 * HOUR, "{}", life(&server, "s"));
    assert!(life(&server, "e") > 119 * 24 * HOUR, "{}", life(&server, "e"));
    append(&node, Duration::from_secs(3600));
    assert!(life(&server, "s") <= 2 * HOUR, "{}", life(&server, "s"));
}

#[test]
fn a_stream_that_was_removed_has_a_life_when_it_is_made_again() {
    let server = Server::start(&[]);
    let node = node(Redis::url(server.url()));
    let within = Duration::from_secs(3600);
    assert_eq!((append(&node, within), append(&node, within)), (1, 2));
    server.command(&["DEL", &key(&server, "s")]).unwrap();
    assert_eq!(append(&node, within), 3);
    assert!((HOUR..=2 * HOUR).contains(&life(&server, "s")), "{}", life(&server, "s"));
}

/// The end is written after the stream, and not without the right to do so.
#[test]
fn an_append_that_came_as_far_as_the_stream_is_found_and_others_follow() {
    let server = Server::start(&[]);
    server.command(&["ACL", "SETUSER", "ann", "on", "nopass", "~*", "&*", "+@all"]).unwrap();
    let node = node(Redis::url(format!("redis://ann:x@127.0.0.1:{}", server.port)));
    server.command(&["ACL", "SETUSER", "ann", "-setrange"]).unwrap();
    let first = block_on(node.broker.append(&draft(&node, Duration::from_secs(3600)), None)).unwrap();
    let half = draft(&node, Duration::from_secs(3600));
    block_on(node.broker.append(&half, None)).unwrap_err();
    assert_eq!(block_on(node.broker.append(&half, Some(&first))).unwrap().offset, 2);
    assert_eq!(append(&node, Duration::from_secs(3600)), 3);
    let page = block_on(node.broker.read("feed", 0, usize::MAX)).unwrap();
    assert_eq!((page.records.len(), page.top.offset), (3, 3));
}
