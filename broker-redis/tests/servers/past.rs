//! Feeds of nodes that hold less than the server has.

use crate::support::{Server, eventually};
use adapter_testing::{TestServer, block_on};
use broker_redis::{Redis, RedisBroker};
use futures_util::{FutureExt, StreamExt};
use realtime_core::{Config, Feed, FeedUpdate, Log, Position, Realtime, Topic};
use std::time::Duration;

const NEWS: Feed<u64> = Topic::fixed("news").log(Log::last(100));
const SOON: Duration = Duration::from_secs(5);

fn node(server: &Server) -> TestServer {
    let mut config = Config::default();
    // Five entries or so.
    config.log_bytes = 2600;
    let broker = block_on(RedisBroker::connect(Redis::url(server.url()))).unwrap();
    TestServer::new(Realtime::builder().config(config).broker(broker).build())
}

fn append(node: &TestServer, value: u64) -> Position {
    let news = NEWS;
    let mut appending = Box::pin(node.realtime().append(&news, &value));
    let mut appended = None;
    eventually("it is appended", SOON, || {
        block_on(node.settle());
        appended = (&mut appending).now_or_never();
        appended.is_some()
    });
    appended.unwrap().unwrap()
}

#[test]
fn what_a_node_does_not_hold_is_read_from_the_server() {
    let server = Server::start(&[]);
    let (writer, reader) = (node(&server), node(&server));
    let first = append(&writer, 1);
    for value in 2..=50 {
        append(&writer, value);
    }
    let mut updates = reader.realtime().follow(&NEWS, Some(&first)).unwrap();
    let mut got = Vec::new();
    eventually("all of it comes", SOON, || {
        block_on(reader.settle());
        while let Some(Some(update)) = updates.next().now_or_never() {
            got.push(update.unwrap());
        }
        got.len() > 49
    });
    assert!(matches!(&got[0], FeedUpdate::Begun(begun) if begun.resumed == Some(true)), "{:?}", got[0]);
    let value =
        |update: FeedUpdate<u64>| if let FeedUpdate::Item(item) = update { Some(item.value) } else { None };
    assert_eq!(got.into_iter().filter_map(value).collect::<Vec<_>>(), (2..=50).collect::<Vec<_>>());
}
