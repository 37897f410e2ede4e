//! Entries that are older than the copies that nodes have of a log: they are read from the broker for those who need them.
//!
//! Faults planted by hand, and where they show:
//!
//! | fault | found by |
//! |---|---|
//! | what those who have left wanted is read; a page that waits for room holds up other feeds; entries that are too old are delivered | tests by name |

use adapter_testing::{FaultyBroker, TestClient, TestServer, block_on};
use futures_util::FutureExt;
use realtime_core::{
    Config, Endpoint, Feed, FeedUpdate, FeedUpdates, Log, Position, Realtime, Subscription, Topic,
    broker::{Body, Broker, Draft, Logged, Retention, Writer},
};
use serde_json::{Value, json};
use std::{
    pin::{Pin, pin},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const FOLLOW: Subscription<u32, String> = Subscription::new("follow");
const SECOND: Duration = Duration::from_secs(1);
/// The time for which entries are kept.
const WITHIN: Duration = Duration::from_secs(600);

fn feed(number: u32) -> Feed<String> {
    Topic::new(format!("feed {number}")).log(Log::last(200).within(WITHIN).bytes(64 * 1024 * 1024))
}

/// A node that appends, and one whose copies of logs are small.
struct Nodes {
    link: FaultyBroker,
    first: TestServer,
    second: TestServer,
}

impl Nodes {
    /// `config` is that of the second node.
    async fn new(mut config: Config) -> Self {
        config.log_bytes = 20_000;
        let first = FaultyBroker::new(1);
        let link = first.join();
        let api = || Endpoint::new(()).feed(FOLLOW, |_, number| async move { Ok(feed(number).follow()) });
        let first = TestServer::new(Realtime::builder().endpoint("api", api()).broker(first).build());
        let second = Realtime::builder().endpoint("api", api()).config(config).broker(link.clone()).build();
        let nodes = Self { link, first, second: TestServer::new(second) };
        for server in [&nodes.first, &nodes.second] {
            // The link runs from the first connection on.
            let _client = server.open("api").await.unwrap();
        }
        nodes
    }

    async fn settle(&self) {
        for _ in 0..6 {
            self.first.settle().await;
            self.second.settle().await;
        }
    }

    async fn advance(&self, time: Duration) {
        let step = Duration::from_millis(250);
        for _ in 0..time.as_millis() / step.as_millis() {
            self.link.advance(step);
            self.first.advance(step).await;
            self.second.advance(step).await;
            self.settle().await;
        }
    }

    /// Appends so many entries of so many bytes; returns their positions.
    async fn fill(&self, number: u32, count: usize, bytes: usize) -> Vec<Position> {
        let mut positions = Vec::new();
        let (feed, value) = (feed(number), "x".repeat(bytes));
        for _ in 0..count {
            let mut append = pin!(self.first.realtime().append(&feed, &value));
            while positions.len() < count {
                if let Some(appended) = (&mut append).now_or_never() {
                    positions.push(appended.unwrap());
                    break;
                }
                self.settle().await;
            }
        }
        positions
    }

    /// Appends an entry that was made so long ago.
    async fn append_aged(&self, number: u32, age: Duration) -> Position {
        let time = (SystemTime::now() - age).duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let entries = vec![Logged { json: "\"old\"".into(), whole: None, key: None }];
        let draft = Draft {
            topic: feed(number).name().to_owned(),
            tag: 7,
            body: Body { writer: Writer { node: 7, number: 7 }, time, entries },
            keep: Retention { entries: 200, within: WITHIN },
        };
        self.link.append(&draft, None).await.unwrap()
    }

    /// Subscribes at the second node.
    async fn subscribe(&self, number: u32, after: Option<&Position>) -> TestClient {
        let mut client = self.second.open("api").await.unwrap();
        let frame = json!({ "type": "subscribe", "id": "s", "path": "follow", "input": number, "after": after });
        client.send_text(&frame.to_string()).await;
        client
    }

    fn follow(&self, number: u32, after: &Position) -> Pin<Box<FeedUpdates<String>>> {
        Box::pin(self.second.realtime().follow(&feed(number), Some(after)).unwrap())
    }
}

async fn frames(client: &mut TestClient) -> Vec<Value> {
    let mut frames = Vec::new();
    while let Some(frame) = client.try_frame().await.unwrap() {
        frames.push(serde_json::from_str(&frame.as_text()).unwrap());
    }
    frames
}

fn next(updates: &mut Pin<Box<FeedUpdates<String>>>) -> Option<FeedUpdate<String>> {
    futures_util::StreamExt::next(updates).now_or_never().map(|update| update.unwrap().unwrap())
}

/// Entries of which a page holds two.
const LARGE: usize = 30_000;

#[test]
fn what_clients_wanted_that_have_left_is_not_read() {
    block_on(async {
        let nodes = Nodes::new(Config::default()).await;
        let positions = nodes.fill(0, 60, LARGE).await;
        let mut level = nodes.subscribe(0, None).await;
        nodes.settle().await;
        assert_eq!(frames(&mut level).await.len(), 1);
        nodes.link.freeze();
        let mut clients = Vec::new();
        for at in (0..50).step_by(3) {
            clients.push(nodes.subscribe(0, Some(&positions[at])).await);
        }
        nodes.settle().await;
        let before = nodes.link.reads();
        drop(clients);
        nodes.settle().await;
        nodes.link.mend();
        nodes.advance(2 * SECOND).await;
        let reads = nodes.link.reads() - before;
        assert!(reads <= 2, "{reads} pages were read for nobody");
    });
}

#[test]
fn what_followers_wanted_that_have_left_is_not_read() {
    block_on(async {
        let nodes = Nodes::new(Config::default()).await;
        let positions = nodes.fill(0, 60, LARGE).await;
        let mut followers: Vec<_> = (0..50).step_by(5).map(|at| nodes.follow(0, &positions[at])).collect();
        for updates in &mut followers {
            while next(updates).is_none() {
                nodes.advance(SECOND).await;
            }
        }
        // What was read for their beginning is not held any more.
        nodes.advance(3 * SECOND).await;
        nodes.link.freeze();
        assert!(followers.iter_mut().all(|updates| next(updates).is_none()));
        nodes.settle().await;
        let before = nodes.link.reads();
        drop(followers);
        nodes.link.mend();
        nodes.advance(2 * SECOND).await;
        let reads = nodes.link.reads() - before;
        assert!(reads <= 2, "{reads} pages were read for nobody");
    });
}

/// As many as there are readers would hold up all other feeds of the node.
#[test]
fn feeds_whose_past_waits_for_room_do_not_hold_up_others() {
    const FEEDS: u32 = 40;
    block_on(async {
        let mut config = Config::default();
        config.broker_queue_bytes = 50_000;
        let nodes = Nodes::new(config).await;
        let mut late = Vec::new();
        for number in 0..FEEDS {
            let positions = nodes.fill(number, 4, 15_000).await;
            late.push(nodes.subscribe(number, Some(&positions[0])).await);
        }
        nodes.settle().await;
        let mut other = nodes.subscribe(FEEDS, None).await;
        nodes.settle().await;
        assert_eq!(frames(&mut other).await[0]["type"], "subscribed");
        // A feed that waits is not held up either.
        let positions = nodes.fill(FEEDS - 1, 1, 10).await;
        nodes.settle().await;
        let mut level = nodes.subscribe(FEEDS - 1, Some(&positions[0])).await;
        nodes.settle().await;
        assert_eq!(frames(&mut level).await[0]["resumed"], true);

        // All have their turn as what was read is dropped.
        nodes.advance(200 * SECOND).await;
        for (client, number) in late.iter_mut().zip(0..) {
            let frames = frames(client).await;
            let entries = if number == FEEDS - 1 { 4 } else { 3 };
            assert_eq!((&frames[0]["resumed"], frames.len()), (&json!(true), 1 + entries), "{number}");
        }
    });
}

/// A broker may keep them for longer, and does not deliver them for that.
#[test]
fn entries_that_are_too_old_are_counted_as_a_gap() {
    block_on(async {
        let nodes = Nodes::new(Config::default()).await;
        let mut positions = Vec::new();
        for number in 1..=8 {
            // The first five are too old.
            let age = if number <= 5 { WITHIN + SECOND } else { Duration::ZERO };
            positions.push(nodes.append_aged(0, age).await);
        }
        nodes.fill(0, 8, 10_000).await;
        for (after, missing, expected) in [(0, 4, 6), (2, 2, 6), (5, 0, 7)] {
            let mut client = nodes.subscribe(0, Some(&positions[after])).await;
            nodes.settle().await;
            let mut told = frames(&mut client).await;
            assert_eq!(told[0]["resumed"], json!(missing == 0), "{after}");
            if missing > 0 {
                let gap = told.remove(1);
                assert_eq!((&gap["cause"], &gap["count"]), (&json!("retention"), &json!(missing)), "{after}");
            }
            assert_eq!((&told[1]["offset"], told.len()), (&json!(expected), 1 + 16 - expected + 1));
        }
    });
}
