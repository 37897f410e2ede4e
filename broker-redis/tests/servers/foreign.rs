//! Logs that others have written to, and messages too large for the server.

use crate::support::{Server, misses, node, texts};
use adapter_testing::{BrokerNode, block_on};
use broker_redis::{Redis, RedisBroker};
use realtime_core::{
    AppendError, Broker, Code, Error,
    broker::{Arrival, Draft, Source},
};
use std::time::Duration;

type Node = BrokerNode<RedisBroker>;

fn start(settings: &[&str]) -> (Server, Node) {
    let server = Server::start(settings);
    let node = node(Redis::url(server.url()));
    (server, node)
}

/// Returns the key of a kind that a feed has.
fn key(server: &Server, kind: &str, feed: &str) -> String {
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("*:{kind}:{feed}")).query(&mut server.connect()).unwrap();
    keys[0].clone()
}

fn refusal(node: &Node, draft: &Draft) -> Error {
    match block_on(node.broker.append(draft, None)) {
        Err(AppendError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_append_to_what_another_program_has_written_is_refused_with_where_it_is() {
    let (server, node) = start(&[]);
    let (other, text) = (block_on(node.append("other", &["1"])), ["x"]);
    for feed in ["a", "b", "c", "d"] {
        block_on(node.append(feed, &text));
    }
    let (end, stream) = (key(&server, "e", "a"), key(&server, "s", "b"));
    for key in [&end, &stream] {
        server.command(&["DEL", key]).unwrap();
        server.command(&["LPUSH", key, "x"]).unwrap();
    }
    server.command(&["SET", &key(&server, "e", "c"), "junk"]).unwrap();
    server.command(&["XADD", &key(&server, "s", "d"), "77", "r", "junk"]).unwrap();
    for (feed, said) in [("a", "WRONGTYPE"), ("b", "WRONGTYPE"), ("c", "NOTALOG"), ("d", "The ID specified")] {
        let error = refusal(&node, &node.draft(feed, &text));
        assert_eq!((error.code(), error.is_retryable()), (&Code::FAILED_PRECONDITION, false), "{feed}");
        let cause = error.source().unwrap().to_string();
        let names = [said, &server.port.to_string(), &format!("the log of {feed}")];
        assert!(names.iter().all(|name| cause.contains(*name)), "{feed}: {cause}");
    }
    assert_eq!(block_on(node.append("other", &["2"])).offset, other.offset + 1);
    server.command(&["DEL", &end]).unwrap();
    assert_eq!(block_on(node.append("a", &text)).offset, 1);
}

#[test]
fn what_another_program_has_put_between_records_is_passed_over() {
    let (server, node) = start(&[]);
    let last = (0..5).map(|number| block_on(node.append("feed", &[&number.to_string()]))).last().unwrap();
    let stream = key(&server, "s", "feed");
    server.command(&["XDEL", &stream, "3"]).unwrap();
    server.command(&["XADD", &stream, "9", "r", "junk"]).unwrap();
    server.command(&["XADD", &stream, "10", "other", ""]).unwrap();
    assert_eq!(block_on(texts(&node, "feed")), ["0", "1", "3", "4"]);
    let page = block_on(node.broker.read("feed", 4, 1000)).unwrap();
    assert_eq!((page.records.len(), page.first, page.top), (1, 1, last));
    // As long as it is there, a retry cannot know.
    let retry = block_on(node.broker.append(&node.draft("feed", &["x"]), Some(&page.records[0].position(5))));
    assert!(retry.is_err(), "{retry:?}");
    ["1", "2", "4", "5"].iter().for_each(|id| drop(server.command(&["XDEL", &stream, id]).unwrap()));
    let page = block_on(node.broker.read("feed", 0, 1000)).unwrap();
    assert_eq!((page.records.len(), page.first), (0, 6));
}

/// A server ends the connection over which something larger comes than it takes.
#[test]
fn what_is_too_large_for_the_server_is_refused_alone() {
    let (server, node) = start(&["proto-max-bulk-len 1mb"]);
    let large = "x".repeat((1 << 20) + 1);
    block_on(node.follow("topic", Source::Topic));
    let batch = ["1", "2", &large, "3"].map(|text| node.publication("topic", text));
    let untaken = block_on(node.broker.publish(&batch)).unwrap_err();
    assert_eq!((untaken.taken, untaken.unsure), (2, 0));
    assert!(!untaken.error.is_retryable() && untaken.error.message().contains("1048576"), "{}", untaken.error);
    let error = refusal(&node, &node.draft("feed", &[&large]));
    assert_eq!((error.code(), error.is_retryable()), (&Code::INVALID_ARGUMENT, false));
    assert_eq!(block_on(node.append("feed", &["fits"])).offset, 1);
    assert!(block_on(node.broker.claim("key", large.as_bytes(), Duration::from_secs(9))).is_err());
    block_on(node.publish("topic", &["3"]));
    for text in ["1", "2", "3"] {
        assert_eq!(block_on(node.text()).1, text);
    }
    assert!(!misses(&node, Duration::from_millis(100)), "the connection is the same");
    drop(server);
}

/// Otherwise a feed that is quiet for a day would be told to have diverged.
#[test]
fn the_end_of_a_log_lives_for_as_long_as_it_is_asked_for() {
    let (server, node) = start(&[]);
    let tops = ["quiet", "fresh"].map(|feed| block_on(node.append(feed, &["1"])));
    let (quiet, fresh) = (key(&server, "e", "quiet"), key(&server, "e", "fresh"));
    let hours = |hours: u64| (hours * 3_600_000).to_string();
    let life = |key: &str| -> u64 { redis::cmd("PTTL").arg(key).query(&mut server.connect()).unwrap() };
    server.command(&["PEXPIRE", &quiet, &hours(11)]).unwrap();
    server.command(&["PEXPIRE", &fresh, &hours(13)]).unwrap();
    let asked = ["quiet", "none", "fresh"];
    let told = block_on(node.broker.tops(&asked)).unwrap();
    assert_eq!((&told[0], told[1].offset, &told[2]), (&tops[0], 0, &tops[1]));
    assert!(life(&quiet) > 23 * 3_600_000, "{}", life(&quiet));
    assert!(life(&fresh) < 14 * 3_600_000, "nothing is written without need");
}

#[test]
fn a_record_that_is_none_is_not_brought() {
    let (server, node) = start(&[]);
    block_on(node.follow("feed", Source::Log));
    let first = block_on(node.append("feed", &["1"]));
    let channel = key(&server, "e", "feed").replace(":e:", ":l:");
    server.command(&["PUBLISH", &channel, "junk"]).unwrap();
    block_on(node.append("feed", &["2"]));
    let records = [block_on(node.arrival()), block_on(node.arrival())];
    let offset = |arrival: &Arrival| if let Arrival::Record(record) = arrival { record.first } else { 0 };
    assert_eq!(records.each_ref().map(offset), [first.offset, first.offset + 1]);
}
