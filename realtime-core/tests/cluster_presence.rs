//! Presence across nodes.
//!
//! Faults that were planted into the nodes, and the first seed of the model that found each:
//!
//! | fault | seed |
//! |---|---|
//! | the lease of a node never ends | 0 |
//! | an entry is removed without the tag under which the others know it | 0 |
//! | a whole list leaves places as they are of which it says nothing | 2 |
//! | a whole list leaves those who are missing in it | 0 |
//! | what has changed is told as joined | 0 |
//! | members are not told who left on another node | 0 |
//! | members are not told any news of other nodes | 0 |
//! | an entry that was published is not marked as such | 0 |
//! | the clients of a node that cannot be asked stay | 0 |
//! | beats are not compared with the copy | 0 |
//! | users are shown once for each node | 0 |
//! | a user leaves with its entry on one of its nodes | 0 |
//! | versions of a user's data are not told | 0 |
//! | a node shows its own data of a user | 3 |
//! | a change of a user's data on another node is not told | 0 |
//! | nobody follows the topic of a principal | 0 |
//! | what is sent to a principal goes out twice, or comes back | 0 |
//! | revocations are told once | 0 |
//! | revocations are done again, or with those of a node that is forgotten | 0 |
//! | revocations are confirmed and not done | 0 |
//! | of several revocations one is done | 2 |
//!
//! That a user is shown with the data that was set last is not in the model, since it takes what each node knew: see
//! `a_user_with_pages_on_two_nodes_is_present_once`. An id that is given out again by a node that has started again takes
//! the unit tests of the list.
//!
//! Changes behind a gap that are applied as if there were none are not found by it: the next beat mends that. It takes
//! `who_has_missed_something_asks_for_all_of_it`.

#[path = "support/line.rs"]
mod line;
#[path = "support/people.rs"]
mod people;
#[path = "support/places.rs"]
mod places;

use adapter_testing::{TestClient, TestServer, block_on};
use futures_util::FutureExt;
use line::Line;
use places::Cluster;
use realtime_core::{
    AnyConnection, Config, Endpoint, PRESENCE, Presence, PresenceNotice, Realtime,
    broker::{Arrival, Broker, FollowChange, Publication, Source},
};
use serde_json::{Value, json};
use std::time::Duration;

/// The seeds of the model; `PRESENCE_SEEDS` says another number, and `PRESENCE_SEED` one seed.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    match number("PRESENCE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PRESENCE_SEEDS").unwrap_or(10),
    }
}

/// After 1 000 entries, changes, ends, deaths, stops and partings, all nodes that hear each other agree with the truth
/// within six seconds, and so does what each of their clients was told.
#[test]
fn all_nodes_come_to_agree_with_the_truth() {
    for seed in seeds() {
        let run = async { Cluster::new(seed).await.run(1000).await };
        if let Err(error) = block_on(run) {
            panic!("PRESENCE_SEED={seed}: {error}");
        }
    }
}

const HALL: Presence<Value> = Presence::fixed("hall");

const SECOND: Duration = Duration::from_secs(1);

struct Node {
    server: TestServer,
    client: TestClient,
    handle: AnyConnection,
}

impl Node {
    async fn new(number: u64, line: Line) -> Self {
        Self::with(number, line, |_| {}).await
    }

    async fn with(number: u64, line: Line, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let api = Endpoint::new(()).on_open(|_| async { Ok(()) });
        let builder = Realtime::builder().config(config).endpoint("api", api).node(number);
        let server = TestServer::new(builder.broker(line).build());
        let client = server.open("api").await.unwrap();
        let handle = server.realtime().filter(|_| true).remove(0);
        Self { server, client, handle }
    }

    fn enter(&self, data: &str) {
        self.handle.enter(&HALL, &json!(data)).unwrap();
    }

    /// Returns the data of all who are in the hall.
    fn present(&self) -> Vec<Value> {
        self.server.realtime().present(&HALL).into_iter().map(|present| present.data).collect()
    }

    async fn notice(&mut self) -> PresenceNotice {
        self.client.expect_event(PRESENCE).await
    }
}

async fn advance(nodes: &[&Node], duration: Duration) {
    const STEP: Duration = Duration::from_millis(50);
    for _ in 0..duration.as_millis() / STEP.as_millis() {
        for node in nodes {
            node.server.advance(STEP).await;
        }
        for node in nodes {
            node.server.settle().await;
        }
    }
}

#[test]
fn a_client_is_told_of_the_clients_on_other_nodes() {
    block_on(async {
        let line = Line::new(0);
        let (mut ann, bob) = (Node::new(1, line.clone()).await, Node::new(2, line.join(1)).await);
        ann.enter("Ann");
        assert_eq!(ann.notice().await.here, Some(Vec::new()));
        assert_eq!(ann.notice().await.joined[0].data, "Ann");
        advance(&[&ann, &bob], SECOND).await;
        bob.enter("Bob");
        advance(&[&ann, &bob], SECOND).await;
        let joined = ann.notice().await.joined;
        assert_eq!((joined[0].connection, &joined[0].data), (bob.handle.id(), &json!("Bob")));
        bob.enter("Bobby");
        advance(&[&ann, &bob], SECOND).await;
        assert_eq!(ann.notice().await.changed[0].data, "Bobby");
        assert_eq!((ann.present(), bob.present()), (vec![json!("Ann"), json!("Bobby")], bob.present()));
        let here = bob.server.realtime().present_here(&HALL);
        assert_eq!((here.len(), &here[0].data), (1, &json!("Bobby")));
        bob.handle.leave(&HALL);
        advance(&[&ann, &bob], SECOND).await;
        assert_eq!(ann.notice().await.left, [bob.handle.id()]);
    });
}

#[test]
fn a_drained_node_is_gone_at_once() {
    block_on(async {
        let line = Line::new(0);
        let (ann, bob) = (Node::new(1, line.clone()).await, Node::new(2, line.join(1)).await);
        bob.enter("Bob");
        advance(&[&ann, &bob], SECOND).await;
        assert_eq!((ann.present().len(), ann.server.realtime().stats().nodes), (1, 1));
        let mut drained = Box::pin(bob.server.realtime().drain(SECOND));
        while (&mut drained).now_or_never().is_none() {
            advance(&[&bob], Duration::from_millis(50)).await;
        }
        // Its clock is ahead of that of the others, which stands still.
        advance(&[&bob], SECOND).await;
        ann.server.settle().await;
        assert_eq!((ann.present().len(), ann.server.realtime().stats().nodes), (0, 0));
    });
}

#[test]
fn the_clients_of_a_node_that_has_started_again_are_others() {
    block_on(async {
        let line = Line::new(0);
        let mut ann = Node::new(1, line.clone()).await;
        ann.enter("Ann");
        ann.notice().await;
        ann.notice().await;
        let bob = Node::new(2, line.join(1)).await;
        bob.enter("Bob");
        advance(&[&ann, &bob], SECOND).await;
        let id = ann.notice().await.joined[0].connection;
        drop(bob);
        let bob = Node::new(2, line.join(2)).await;
        bob.enter("Bob");
        assert_eq!(bob.handle.id(), id);
        advance(&[&ann, &bob], 2 * SECOND).await;
        assert_eq!(ann.notice().await.left, [id]);
        assert_eq!(ann.notice().await.joined[0].connection, id);
        assert_eq!(ann.present().len(), 2);
    });
}

#[test]
fn the_clients_of_a_node_are_bounded_in_bytes() {
    block_on(async {
        // A text takes 32 bytes, an entry 64, and the name of the place 4.
        let bound = |config: &mut Config| config.presence_bytes_per_node = 2 * 100;
        let bob = Node::with(2, Line::new(0), bound).await;
        let other = bob.server.open("api").await.unwrap();
        let handle = bob.server.realtime().filter(|any| any.id() != bob.handle.id()).remove(0);
        bob.enter("");
        assert_eq!(handle.enter(&HALL, &json!("x")).unwrap_err().code().as_str(), "RESOURCE_EXHAUSTED");
        handle.enter(&HALL, &json!("")).unwrap();
        // One that is there may change within the bound, and who has left takes nothing.
        assert!(handle.enter(&HALL, &json!("x")).is_err());
        handle.leave(&HALL);
        bob.enter("x".repeat(100).as_str());
        bob.enter("");
        handle.enter(&HALL, &json!("")).unwrap();
        drop(other);

        let alone = Realtime::builder().endpoint("api", Endpoint::new(()).on_open(|_| async { Ok(()) }));
        let mut config = Config::default();
        bound(&mut config);
        let server = TestServer::new(alone.config(config).build());
        let _client = server.open("api").await.unwrap();
        server.realtime().filter(|_| true)[0].enter(&HALL, &json!("x".repeat(1000))).unwrap();
    });
}

#[test]
fn a_list_that_is_too_large_is_not_taken() {
    block_on(async {
        let line = Line::new(0);
        let ann = Node::with(1, line.clone(), |config| config.presence_bytes_per_node = 1000).await;
        let bob = Node::new(2, line.join(1)).await;
        bob.enter("Bob");
        advance(&[&ann, &bob], 2 * SECOND).await;
        assert_eq!(ann.present().len(), 1);
        assert_eq!(ann.server.realtime().stats().memory.presence, 103);
        bob.enter(&"x".repeat(2000));
        advance(&[&ann, &bob], SECOND).await;
        assert_eq!((ann.present().len(), ann.server.realtime().stats().memory.presence), (0, 0));
        bob.enter("Bob");
        advance(&[&ann, &bob], 32 * SECOND).await;
        assert_eq!((ann.present().len(), ann.server.realtime().stats().memory.presence), (1, 103));
        drop(bob);
        advance(&[&ann], 6 * SECOND).await;
        assert_eq!((ann.present().len(), ann.server.realtime().stats().memory.presence), (0, 0));
    });
}

/// A megabyte of entries, which no message takes.
#[test]
fn a_long_list_comes_in_parts() {
    block_on(async {
        let line = Line::new(0);
        let bob = Node::new(2, line.clone()).await;
        let place = |number: usize| Presence::<Value>::new(format!("place {number}"));
        for number in 0..250 {
            bob.handle.enter(&place(number), &json!("x".repeat(4000))).unwrap();
            // It is told of itself, and has to read that.
            bob.server.settle().await;
        }
        advance(&[&bob], 2 * SECOND).await;
        let ann = Node::new(1, line.join(1)).await;
        advance(&[&ann, &bob], 2 * SECOND).await;
        let present = |number| ann.server.realtime().present(&place(number)).len();
        assert_eq!((0..250).map(present).sum::<usize>(), 250);
        assert!(ann.server.realtime().stats().memory.presence > 1_000_000);
    });
}

/// A process that takes part in the cluster by hand.
struct Stranger(Line);

impl Stranger {
    async fn new(line: Line) -> Self {
        let follow = |topic: &str| FollowChange { topic: topic.into(), of: Source::Topic, wanted: true };
        line.follow(&[follow(BEATS), follow("\u{1}node:0000000000000007")]).await.unwrap();
        Self(line)
    }

    async fn say(&self, life: u64, says: &Value) {
        self.say_raw(&json!({ "life": life, "says": says }).to_string()).await;
    }

    async fn say_raw(&self, json: &str) {
        self.0
            .publish(&[Publication::new(7, BEATS.into(), json.to_owned().into(), None, Vec::new())])
            .await
            .unwrap();
    }

    /// Returns what has arrived from others, in order.
    async fn heard(&self) -> Vec<Value> {
        let mut arrivals = Vec::new();
        while self.0.receive(&mut arrivals).now_or_never().is_some() {}
        let of_others = |arrival: &Arrival| match arrival {
            Arrival::Publication(publication) if publication.node != 7 => {
                Some(serde_json::from_slice::<Value>(&publication.json).unwrap()["says"].take())
            }
            _ => None,
        };
        arrivals.iter().filter_map(of_others).collect()
    }
}

const BEATS: &str = "\u{1}beat:0";

fn beat(number: u64, list: (u64, u64, u64)) -> Value {
    let list = json!({ "number": list.0, "count": list.1, "tags": list.2 });
    json!({ "beat": { "number": number, "list": list, "carries": true } })
}

fn changes(number: u64, change: Value) -> Value {
    json!({ "changes": { "number": number, "changes": [change] } })
}

fn entry(id: u64, tag: u64, data: impl Into<Value>) -> Value {
    json!({ "place": "hall", "id": id, "entry": { "tag": tag, "data": data.into() } })
}

#[test]
fn what_is_not_understood_is_ignored() {
    block_on(async {
        let line = Line::new(0);
        let ann = Node::new(1, line.clone()).await;
        let stranger = Stranger::new(line.join(1)).await;
        ann.enter("Ann");
        stranger.say(5, &beat(1, (0, 0, 0))).await;
        stranger.say(5, &changes(1, entry(1, 11, "Bob"))).await;
        advance(&[&ann], SECOND).await;
        assert_eq!(ann.present(), [json!("Ann"), json!("Bob")]);

        for raw in ["", "{", "[]", "\u{0}", r#"{"life":5}"#, r#"{"life":5,"says":"dance"}"#] {
            stranger.say_raw(raw).await;
        }
        stranger.say_raw(&"[".repeat(100_000)).await;
        let part = |part, parts| json!({ "part": { "number": 1, "part": part, "parts": parts, "entries": [] } });
        // Nobody has asked.
        stranger.say(5, &part(0, 1)).await;
        stranger.say(5, &part(3, 2)).await;
        stranger.say(5, &part(0, u32::MAX)).await;
        // Of another life, which has not begun.
        stranger.say(6, &changes(2, entry(2, 12, "Eve"))).await;
        stranger.say(6, &json!("gone")).await;
        // Again, and what is no entry.
        stranger.say(5, &changes(1, entry(1, 99, "Eve"))).await;
        stranger.say(5, &changes(2, json!({ "place": "a\nb", "id": 1 }))).await;
        // Numbers to which no node counts, one of another's and one of its own list.
        stranger.say(7, &beat(u64::MAX, (u64::MAX, 0, 0))).await;
        stranger.say(5, &beat(u64::MAX, (u64::MAX, 1, 11))).await;
        stranger.say(5, &changes(u64::MAX, entry(1, 99, "Eve"))).await;
        advance(&[&ann], SECOND).await;
        assert_eq!(ann.present(), [json!("Ann"), json!("Bob")]);
        // It goes on where it was.
        stranger.say(5, &changes(2, entry(1, 13, "Bobby"))).await;
        advance(&[&ann], SECOND).await;
        assert_eq!(ann.present(), [json!("Ann"), json!("Bobby")]);
        assert!(ann.server.realtime().readiness().ready);
    });
}

#[test]
fn who_has_missed_something_asks_for_all_of_it() {
    block_on(async {
        let line = Line::new(0);
        let mut ann = Node::new(1, line.clone()).await;
        let stranger = Stranger::new(line.join(1)).await;
        ann.handle.observe(&HALL).unwrap();
        ann.notice().await;
        stranger.say(5, &beat(1, (0, 0, 0))).await;
        stranger.say(5, &changes(1, entry(1, 11, "Bob"))).await;
        stranger.say(5, &beat(2, (1, 1, 11))).await;
        advance(&[&ann], SECOND).await;
        assert_eq!(ann.notice().await.joined[0].data, "Bob");
        let is_question = |says: &Value| *says == "ask";
        assert!(!stranger.heard().await.iter().any(is_question));

        // The second change is lost.
        stranger.say(5, &changes(3, entry(3, 13, "Cleo"))).await;
        ann.server.settle().await;
        assert_eq!(stranger.heard().await.iter().filter(|says| is_question(says)).count(), 1);
        assert_eq!(ann.present(), [json!("Bob")]);
        let part = |part: u32, entries: Value| json!({ "part": { "number": 2, "part": part, "parts": 2, "entries": entries } });
        stranger.say(5, &part(0, json!([entry(1, 14, "Bobby")]))).await;
        stranger.say(5, &part(1, json!([entry(2, 12, "Dora")]))).await;
        ann.server.settle().await;
        // The list, and what came behind it before.
        assert_eq!(ann.notice().await.changed[0].data, "Bobby");
        assert_eq!(ann.notice().await.joined[0].data, "Dora");
        assert_eq!(ann.notice().await.joined[0].data, "Cleo");

        // A list that differs although its number does not.
        stranger.say(5, &beat(3, (3, 3, 14 + 12 + 13))).await;
        ann.server.settle().await;
        assert!(!stranger.heard().await.iter().any(is_question));
        stranger.say(5, &beat(4, (3, 3, 14 + 12 + 14))).await;
        ann.server.settle().await;
        assert!(stranger.heard().await.iter().any(is_question));
    });
}

#[test]
fn changes_within_a_tick_are_one_message() {
    block_on(async {
        let line = Line::new(0);
        let ann = Node::new(1, line.clone()).await;
        let stranger = Stranger::new(line.join(1)).await;
        advance(&[&ann], SECOND).await;
        stranger.heard().await;
        for number in 0..1000 {
            ann.enter(&number.to_string());
        }
        advance(&[&ann], SECOND).await;
        let said = stranger.heard().await;
        let changes: Vec<_> = said.iter().filter_map(|says| says.get("changes")).collect();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0]["changes"][0]["entry"]["data"], "999");
        // Who comes and goes in between is not told.
        ann.handle.leave(&HALL);
        ann.enter("back");
        ann.handle.leave(&HALL);
        advance(&[&ann], SECOND).await;
        let said = stranger.heard().await;
        let changes: Vec<_> = said.iter().filter_map(|says| says.get("changes")).collect();
        assert_eq!((changes.len(), changes[0]["changes"][0].get("entry")), (1, None));
    });
}
