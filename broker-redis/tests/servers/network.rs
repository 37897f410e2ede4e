//! A network that holds back what is sent.

use crate::support::{Proxy, Server, append_surely, eventually, misses, node};
use adapter_testing::block_on;
use broker_redis::Redis;
use realtime_core::{
    AppendError, Broker,
    broker::{Arrival, Draft, Publication, Source},
};
use std::{thread, time::Duration};

const SOON: Duration = Duration::from_secs(5);

fn through(proxy: &Proxy) -> Redis {
    Redis::url(format!("redis://127.0.0.1:{}", proxy.port)).time_limit(Duration::from_millis(500))
}

/// An attempt that was given up must not reach the log behind the next one of the same.
#[test]
fn an_attempt_that_the_network_held_back_makes_no_second_entry() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let writer = node(through(&proxy));
    let known = block_on(writer.append("feed", &["1"]));
    proxy.hold(true, false);
    let draft = writer.draft("feed", &["2"]);
    let outcome = block_on(writer.broker.append(&draft, None));
    assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    let again = Draft { tag: draft.tag + 1, ..draft };
    let mut position = None;
    eventually("it is appended over another connection", SOON, || {
        position = block_on(writer.broker.append(&again, Some(&known))).ok();
        position.is_some()
    });
    assert_eq!(position.unwrap().offset, 2);
    proxy.release();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(block_on(writer.top("feed")).offset, 2);
}

#[test]
fn an_answer_that_the_network_held_back_makes_no_second_entry() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let writer = node(through(&proxy));
    let known = block_on(writer.append("feed", &["1"]));
    proxy.hold(false, true);
    let position = block_on(append_surely(&writer, &writer.draft("feed", &["2"]), &known));
    assert_eq!((position.offset, block_on(writer.top("feed")).offset), (2, 2));
}

#[test]
fn a_subscriber_that_hears_nothing_is_replaced() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let (writer, reader) = (node(Redis::url(server.url())), node(through(&proxy)));
    block_on(reader.follow("feed", Source::Log));
    let made = proxy.made();
    proxy.hold(false, true);
    block_on(writer.append("feed", &["1"]));
    assert!(misses(&reader, SOON), "within a beat, the time limit and a new connection");
    assert!(proxy.made() > made);
    let last = block_on(writer.append("feed", &["2"]));
    eventually("it hears again", SOON, || {
        let heard = block_on(reader.arrivals());
        heard.iter().any(|arrival| matches!(arrival, Arrival::Record(record) if record.last() == last.offset))
    });
}

/// The first of three publications in one request is refused, and the others are not.
#[test]
fn a_publication_that_was_overtaken_is_not_sent_again() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let (writer, reader) = (node(through(&proxy)), node(Redis::url(server.url())));
    for topic in ["a", "b"] {
        block_on(reader.follow(topic, Source::Topic));
    }
    let publication =
        |(topic, json): (&str, &'static str)| Publication::new(1, topic.to_owned(), json.into(), None, Vec::new());
    let publish = |batch: &[(&str, &'static str)]| {
        proxy.refuse_one();
        let batch: Vec<_> = batch.iter().map(|one| publication(*one)).collect();
        block_on(writer.broker.publish(&batch)).map_err(|untaken| (untaken.taken, untaken.unsure))
    };
    assert_eq!(publish(&[("a", "1"), ("a", "2"), ("b", "3")]), Err((0, 3)));
    // One of another topic is sent again.
    assert_eq!(publish(&[("a", "4"), ("b", "5")]), Ok(()));
    let mut came = Vec::new();
    eventually("all arrive", SOON, || {
        let arrivals = block_on(reader.arrivals());
        came.extend(arrivals.into_iter().filter_map(|arrival| match arrival {
            Arrival::Publication(publication) => Some(String::from_utf8(publication.json.to_vec()).unwrap()),
            _ => None,
        }));
        came.len() >= 4
    });
    came.sort_unstable();
    assert_eq!(came, ["2", "3", "4", "5"]);
}
