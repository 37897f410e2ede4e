//! Faults of one server.

use crate::support::{Server, append_surely, eventually, misses, node, reign, texts};
use adapter_testing::block_on;
use broker_redis::Redis;
use futures_util::future::join_all;
use realtime_core::{
    AppendError, Broker, Code, Error,
    broker::{Arrival, Draft, Source},
};
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(5);

/// Returns what operators are told of an error.
fn said(error: &Error) -> String {
    error.source().map_or_else(|| error.message().to_owned(), ToString::to_string)
}

fn quick(server: &Server) -> Redis {
    Redis::url(server.url()).time_limit(Duration::from_millis(500))
}

#[test]
fn a_server_that_is_killed_and_started_again_keeps_what_it_acknowledged() {
    let mut server = Server::start(&[]);
    let (writer, reader) = (node(quick(&server)), node(quick(&server)));
    block_on(reader.follow("feed", Source::Log));
    let known = block_on(writer.top("feed"));
    let before = block_on(writer.append("feed", &["0"]));
    let drafts: Vec<_> = (1..200).map(|number| writer.draft("feed", &[&number.to_string()])).collect();
    thread::scope(|scope| {
        let writing =
            scope.spawn(|| block_on(join_all(drafts.iter().map(|draft| append_surely(&writer, draft, &known)))));
        server.kill();
        thread::sleep(Duration::from_millis(700));
        server.run();
        writing.join().unwrap();
    });
    let mut texts = block_on(texts(&writer, "feed"));
    texts.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(texts, (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(misses(&reader, SOON));
    let after = block_on(writer.append("feed", &["200"]));
    assert_ne!(reign(&before), reign(&after));
    assert_eq!(before.epoch[..8], after.epoch[..8], "the birth is the same");
    eventually("records come again", SOON, || {
        block_on(reader.arrivals())
            .iter()
            .any(|arrival| matches!(arrival, Arrival::Record(record) if record.position(record.last()) == after))
    });
}

#[test]
fn a_server_that_stands_still_and_goes_on_has_each_append_once() {
    let server = Server::start(&[]);
    let writer = node(quick(&server));
    for round in 0..5 {
        let feed = format!("feed {round}");
        let known = block_on(writer.append(&feed, &["first"]));
        let drafts: Vec<_> = (0..16).map(|number| writer.draft(&feed, &[&number.to_string()])).collect();
        thread::scope(|scope| {
            server.signal("STOP");
            let appending = scope
                .spawn(|| block_on(join_all(drafts.iter().map(|draft| append_surely(&writer, draft, &known)))));
            thread::sleep(Duration::from_millis(1200));
            server.signal("CONT");
            appending.join().unwrap();
        });
        let mut texts = block_on(texts(&writer, &feed));
        texts.sort_unstable();
        texts.dedup();
        assert_eq!((texts.len(), block_on(writer.top(&feed)).offset), (17, 17));
    }
}

#[test]
fn an_append_to_a_server_that_stands_still_is_unknown() {
    let server = Server::start(&[]);
    let writer = node(quick(&server));
    block_on(writer.append("feed", &["1"]));
    server.signal("STOP");
    let outcome = block_on(writer.broker.append(&writer.draft("feed", &["2"]), None));
    let Err(AppendError::Unknown(error)) = outcome else { panic!("{outcome:?}") };
    assert!(said(&error).contains(&format!("127.0.0.1:{}: no answer in time", server.port)), "{error}");
    assert!(!error.message().contains("127"), "a client is not told where the servers are");
    let outcome = block_on(writer.broker.append(&writer.draft("feed", &["3"]), None));
    let Err(AppendError::Refused(error)) = outcome else { panic!("{outcome:?}") };
    assert!(error.is_retryable() && said(&error).contains("no connection"), "{error}");
    let untaken = block_on(writer.broker.publish(&[writer.publication("topic", "x")])).unwrap_err();
    assert_eq!((untaken.taken, untaken.unsure), (0, 0));
    server.signal("CONT");
    eventually("it works again", SOON, || {
        block_on(writer.broker.append(&writer.draft("feed", &["4"]), None)).is_ok()
    });
}

#[test]
fn publications_of_a_connection_that_breaks_are_unsure() {
    let server = Server::start(&[]);
    let writer = node(quick(&server));
    block_on(writer.publish("topic", &["works"]));
    server.signal("STOP");
    let batch: Vec<_> = (0..300).map(|number| writer.publication("topic", &number.to_string())).collect();
    let untaken = block_on(writer.broker.publish(&batch)).unwrap_err();
    assert_eq!((untaken.taken, untaken.unsure), (0, 300));
    server.signal("CONT");
}

#[test]
fn what_is_missed_while_connections_are_killed_is_told() {
    let server = Server::start(&[]);
    let (publisher, reader) = (node(quick(&server)), node(quick(&server)));
    block_on(reader.follow("topic", Source::Topic));
    let is_over = AtomicBool::new(false);
    let mut seen = Vec::new();
    thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let mut number = 0;
            while !is_over.load(Relaxed) {
                let batch: Vec<_> = (number..number + 100)
                    .map(|number: u32| publisher.publication("topic", &number.to_string()))
                    .collect();
                number += 100;
                // Those of its own connection that is killed may be lost here.
                let _ = block_on(publisher.broker.publish(&batch));
                thread::sleep(Duration::from_millis(8));
            }
        });
        let begun = Instant::now();
        let mut kills = 0;
        while begun.elapsed() < Duration::from_secs(3) {
            seen.extend(block_on(reader.arrivals()));
            if begun.elapsed().as_millis() / 300 > kills {
                kills += 1;
                server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
            }
            thread::sleep(Duration::from_millis(2));
        }
        is_over.store(true, Relaxed);
        publishing.join().unwrap();
    });
    // A publication of the new connection may come before the word that some are missing.
    let (mut expected, mut is_told, mut is_owed, mut lost) = (0, false, false, 0);
    for arrival in seen {
        match arrival {
            Arrival::Missed(_) => (is_told, is_owed) = (true, false),
            Arrival::Publication(publication) => {
                let number: u32 = serde_json::from_slice::<String>(&publication.json).unwrap().parse().unwrap();
                assert!(number >= expected, "{number} came again");
                if number > expected {
                    assert!(!is_owed, "nothing was said of what is missing before {expected}");
                    (is_owed, lost) = (!is_told, lost + number - expected);
                }
                (expected, is_told) = (number + 1, false);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!is_owed && expected > 3000, "{expected}");
    assert!(lost > 0, "the kills had no effect");
}

#[test]
fn a_forgotten_script_is_loaded_again() {
    let server = Server::start(&[]);
    let writer = node(quick(&server));
    for _ in 0..3 {
        server.command(&["SCRIPT", "FLUSH"]).unwrap();
        let appended = block_on(join_all((0..50).map(|_| writer.append("feed", &["x"]))));
        assert_eq!(appended.len(), 50);
    }
    assert_eq!(block_on(writer.top("feed")).offset, 150);
}

#[test]
fn a_server_that_becomes_a_replica_is_left_and_taken_again_as_a_master() {
    let (server, other) = (Server::start(&[]), Server::start(&[]));
    let (writer, reader) = (node(quick(&server)), node(quick(&server)));
    block_on(reader.follow("feed", Source::Log));
    let before = block_on(writer.append("feed", &["1"]));
    server.command(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]).unwrap();
    let outcome = block_on(writer.broker.append(&writer.draft("feed", &["2"]), None));
    assert!(matches!(&outcome, Err(AppendError::Refused(error)) if error.is_retryable()), "{outcome:?}");
    server.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    eventually("it is taken again", SOON, || {
        block_on(writer.broker.append(&writer.draft("feed", &["3"]), None)).is_ok()
    });
    assert_ne!(reign(&block_on(writer.top("feed"))), reign(&before));
    assert!(misses(&reader, SOON), "also by one that only listens");
}

#[test]
fn a_server_without_memory_refuses_appends_and_is_used_again_later() {
    let server = Server::start(&[]);
    let writer = node(quick(&server));
    let known = block_on(writer.append("feed", &["1"]));
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let outcome = block_on(writer.broker.append(&writer.draft("feed", &["2"]), None));
    let Err(AppendError::Refused(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.code(), error.is_retryable()), (&Code::RESOURCE_EXHAUSTED, true));
    assert!(said(&error).contains("maxmemory"), "{error}");
    assert_eq!(block_on(writer.top("feed")), known);
    block_on(writer.publish("topic", &["needs no memory"]));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    assert_eq!(block_on(writer.append("feed", &["3"])).offset, 2);
}

#[test]
fn too_few_replicas_refuse_appends() {
    let server = Server::start(&["min-replicas-to-write 1"]);
    let writer = node(quick(&server));
    let outcome = block_on(writer.broker.append(&writer.draft("feed", &["1"]), None));
    let Err(AppendError::Refused(error)) = outcome else { panic!("{outcome:?}") };
    assert!(error.is_retryable() && said(&error).contains("NOREPLICAS"), "{error}");
}

#[test]
fn an_evicted_end_begins_another_log_and_an_evicted_stream_an_empty_one() {
    let server = Server::start(&[]);
    let writer = node(quick(&server));
    let first = block_on(writer.append("feed", &["1", "2"]));
    let keys: Vec<String> = redis::cmd("KEYS").arg("*:s:feed").query(&mut server.connect()).unwrap();
    server.command(&["DEL", &keys[0]]).unwrap();
    let page = block_on(writer.broker.read("feed", 0, 1000)).unwrap();
    assert_eq!((page.records.len(), page.first, &page.top), (0, 3, &first));
    let next = block_on(writer.append("feed", &["3"]));
    assert_eq!((next.offset, &next.epoch), (3, &first.epoch));

    server.command(&["DEL", &keys[0].replace(":s:", ":e:")]).unwrap();
    assert_eq!(block_on(writer.top("feed")).offset, 0);
    let reborn = block_on(writer.append("feed", &["1"]));
    assert_eq!(reborn.offset, 1);
    assert_ne!(reborn.epoch, first.epoch);
    assert_eq!(block_on(writer.broker.read("feed", 0, 1000)).unwrap().records.len(), 1);
}

#[test]
fn the_life_of_a_log_is_renewed_by_slow_appends() {
    let server = Server::start(&[]);
    let writer = node(quick(&server));
    let append = |time| {
        let mut draft = writer.draft("feed", &["x"]);
        draft.body.time = time;
        draft.keep.within = Duration::from_secs(600);
        block_on(writer.broker.append(&Draft { tag: fastrand::u64(..), ..draft }, None)).unwrap();
    };
    append(1_000_000);
    let mut connection = server.connect();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*:s:feed").query(&mut connection).unwrap();
    let mut life = || -> u64 { redis::cmd("PTTL").arg(&keys[0]).query(&mut connection).unwrap() };
    assert!(life() > 1_190_000);
    server.command(&["PEXPIRE", &keys[0], "600000"]).unwrap();
    append(1_100_000);
    assert!(life() <= 600_000, "not yet renewed");
    append(1_160_000);
    assert!(life() > 1_190_000, "after a quarter of the time that entries are kept");
    server.command(&["PEXPIRE", &keys[0], "600000"]).unwrap();
    append(1_000_000);
    assert!(life() > 1_190_000, "by a node whose clock is behind");
    server.command(&["PEXPIRE", &keys[0], "600000"]).unwrap();
    (0..16).for_each(|_| append(1_000_001));
    assert!(life() > 1_190_000, "after 16 entries");
}

/// Small ones wait for the next multiple of 16.
#[test]
fn a_log_is_trimmed_by_each_large_record() {
    let server = Server::start(&[]);
    let writer = node(quick(&server));
    let long = "x".repeat(5000);
    for _ in 0..15 {
        let mut draft = writer.draft("feed", &[&long]);
        draft.keep.entries = 2;
        block_on(writer.broker.append(&draft, None)).unwrap();
    }
    let page = block_on(writer.broker.read("feed", 0, usize::MAX)).unwrap();
    assert!((2..=3).contains(&page.records.len()), "{} records", page.records.len());
}

#[test]
fn a_broker_that_is_dropped_leaves_no_connection() {
    let server = Server::start(&[]);
    let writer = node(quick(&server));
    let clients = || server.command(&["CLIENT", "LIST"]).map(|list| format!("{list:?}").matches("id=").count());
    assert_eq!(clients().unwrap(), 3);
    drop(writer);
    eventually("only the connection that asks is left", SOON, || clients().unwrap() == 1);
}

#[test]
fn more_than_may_wait_is_refused() {
    let server = Server::start(&[]);
    let writer = node(quick(&server).waiting(100_000));
    server.signal("STOP");
    let long = "x".repeat(40_000);
    let drafts: Vec<_> = (0..4).map(|_| writer.draft("feed", &[&long])).collect();
    let outcomes = block_on(join_all(drafts.iter().map(|draft| writer.broker.append(draft, None))));
    server.signal("CONT");
    let is_refused = |outcome: &Result<_, AppendError>| matches!(outcome, Err(AppendError::Refused(error)) if error.code() == &Code::RESOURCE_EXHAUSTED);
    assert_eq!(outcomes.iter().map(is_refused).collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn a_node_that_does_not_receive_is_told_that_it_missed_something() {
    let server = Server::start(&[]);
    let (publisher, reader) = (node(quick(&server)), node(quick(&server).waiting(100_000)));
    block_on(reader.follow("topic", Source::Topic));
    let long = "x".repeat(10_000);
    for _ in 0..20 {
        block_on(publisher.publish("topic", &[&long]));
    }
    assert!(misses(&reader, SOON));
    eventually("it is brought what comes after", SOON, || {
        block_on(publisher.publish("topic", &["after"]));
        let is_after = |arrival: &Arrival| matches!(arrival, Arrival::Publication(publication) if &*publication.json == b"\"after\"");
        block_on(reader.arrivals()).iter().any(is_after)
    });
}
