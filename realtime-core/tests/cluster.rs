//! Feeds that several nodes share.
//!
//! Faults planted by hand, and where they show:
//!
//! | fault | found by |
//! |---|---|
//! | records connect by their offset alone; positions are told by epoch and offset alone; a late record of another reign is taken; level followers are not told of a gap in a page; the outcome of one attempt is told as refused | the model |
//! | a follower keeps its place over a restart, or is not told of one; a log is read before the broker brings its records; what does not connect is dropped; a broker's word that something was missed is ignored; logs are not compared; a retry does not look for the first attempt; all entries of a record have one position | the model, and tests by name |
//! | the position before the oldest entry is not kept; a position that is not proven is refused without a look | tests by name |
//! | entries of another reign are counted as dropped | the unit tests of the reader |
//! | those who wait for the past of a log are not woken; what the log has no more is not noted; what was read is never dropped | the model, and tests by name |
//! | the past is not read; a restart does not wake who waits for it; a position within a record is compared with the record before | tests by name |
//! | what was read is of another reign, or stays over a restart | the unit tests of the copy |

#[path = "support/cluster.rs"]
mod model;

use adapter_testing::{FaultyBroker, TestClient, TestServer, block_on};
use futures_util::{FutureExt, Stream};
use realtime_core::{
    Accepted, AppendError, Config, Connection, Context as Request, Endpoint, Feed, FeedUpdate, FeedUpdates,
    Handler, Log, Next, Position, Principal, Realtime, RealtimeBuilder, Reject, Result, Subscription, Topic,
};
use serde_json::{Value, json};
use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

/// The seeds of the model: enough for each fault that was ever planted here, and some seconds; `CLUSTER_SEEDS` says
/// another number, and `CLUSTER_SEED` one seed.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    match number("CLUSTER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CLUSTER_SEEDS").unwrap_or(200),
    }
}

#[test]
fn whatever_fails_everything_is_delivered_or_told() {
    for seed in seeds() {
        if let Err(error) = block_on(model::run(seed, true)) {
            panic!("CLUSTER_SEED={seed}: {error}");
        }
    }
}

/// The model would find it.
#[test]
fn without_proofs_clients_are_falsely_resumed() {
    let mut errors = (0..100).filter_map(|seed| block_on(model::run(seed, false)).err());
    let is_false = |error: &String| error.contains("falsely resumed") || error.contains("was not told");
    assert!(errors.any(|error| is_false(&error)));
}

const NEWS: Feed<u64> = Topic::fixed("news").log(Log::last(20));
const FOLLOW: Subscription<(), u64> = Subscription::new("follow");
/// Begins with a state.
const STATE: Subscription<(), u64> = Subscription::new("state");
const STATE_VALUE: u64 = 1_000_000;

/// Follows the news behind the position that it is told.
struct Follower;

impl Handler for Follower {
    type Input = ();
    type ClientMessage = Option<Position>;
    type ServerMessage = u64;

    async fn on_message(&self, connection: &Connection<Self>, after: Option<Position>) -> Result {
        connection.follow(&NEWS, after.as_ref()).await.map(|_| ())
    }
}

fn node() -> RealtimeBuilder {
    let api = Endpoint::new(())
        .feed(FOLLOW, |_, ()| async { Ok(NEWS.follow()) })
        .feed(STATE, |_, ()| async { Ok(NEWS.follow().or_begin_with(|| async { Ok(STATE_VALUE) })) });
    Realtime::builder().endpoint("api", api).handler("follower", Follower).middleware(login)
}

/// Everybody is Ann.
async fn login(mut request: Request, next: Next) -> Result<Accepted, Reject> {
    request.set(Principal("ann".into()));
    next.run(request).await
}

/// Nodes and their links.
struct Cluster {
    links: Vec<FaultyBroker>,
    servers: Vec<TestServer>,
}

impl Cluster {
    async fn new(count: usize) -> Self {
        Self::with(count, Config::default()).await
    }

    async fn with(count: usize, config: Config) -> Self {
        let first = FaultyBroker::new(1);
        let links: Vec<_> = std::iter::once(first.clone()).chain((1..count).map(|_| first.join())).collect();
        let server =
            |link: &FaultyBroker| TestServer::new(node().config(config.clone()).broker(link.clone()).build());
        let servers: Vec<_> = links.iter().map(server).collect();
        for server in &servers {
            // The link runs from the first connection on.
            let _client = server.open("api").await.unwrap();
        }
        Self { links, servers }
    }

    /// Runs all nodes until they are idle.
    async fn settle(&self) {
        for _ in 0..6 {
            for server in &self.servers {
                server.settle().await;
            }
        }
    }

    async fn advance(&self, time: Duration) {
        let step = Duration::from_millis(250);
        for _ in 0..time.as_millis() / step.as_millis() {
            self.links[0].advance(step);
            for server in &self.servers {
                server.advance(step).await;
            }
            self.settle().await;
        }
    }

    /// Lets much time pass, in larger steps.
    async fn pass(&self, time: Duration) {
        self.links[0].advance(time);
        for server in &self.servers {
            server.advance(time).await;
        }
        self.settle().await;
    }

    async fn append(&self, node: usize, value: u64) -> Position {
        let news = NEWS;
        let mut appending = pin!(self.servers[node].realtime().append(&news, &value));
        for _ in 0..100 {
            if let Some(appended) = (&mut appending).now_or_never() {
                self.settle().await;
                return appended.unwrap();
            }
            self.settle().await;
        }
        panic!("it is not appended");
    }

    /// Appends while time passes.
    async fn append_slowly(&self, node: usize, value: u64) -> Result<Position, AppendError> {
        let news = NEWS;
        let mut appending = pin!(self.servers[node].realtime().append(&news, &value));
        loop {
            if let Some(appended) = (&mut appending).now_or_never() {
                return appended;
            }
            self.advance(Duration::from_millis(250)).await;
        }
    }

    async fn subscribe(&self, node: usize, path: &str, after: Option<&Position>) -> TestClient {
        let mut client = self.servers[node].open("api").await.unwrap();
        let frame = json!({ "type": "subscribe", "id": "s", "path": path, "after": after });
        client.send_text(&frame.to_string()).await;
        self.settle().await;
        client
    }

    fn follow(&self, node: usize, after: Option<&Position>) -> Follows {
        Follows(Box::pin(self.servers[node].realtime().follow(&NEWS, after).unwrap()))
    }
}

struct Follows(Pin<Box<FeedUpdates<u64>>>);

impl Follows {
    fn next(&mut self) -> Option<FeedUpdate<u64>> {
        match self.0.as_mut().poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(update) => Some(update.expect("it does not end").unwrap()),
            Poll::Pending => None,
        }
    }

    fn values(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.next())
            .filter_map(|update| if let FeedUpdate::Item(item) = update { Some(item.value) } else { None })
            .collect()
    }
}

async fn frames(client: &mut TestClient) -> Vec<Value> {
    let mut frames = Vec::new();
    while let Some(frame) = client.try_frame().await.unwrap() {
        frames.push(serde_json::from_str(&frame.as_text()).unwrap());
    }
    frames
}

/// Each frame in a word: its type, its value or cause, and its offset.
async fn told(client: &mut TestClient) -> Vec<String> {
    let word = |frame: Value| {
        let value = ["data", "value", "cause", "resumed"].iter().find_map(|name| frame.get(name));
        let value = value.map_or_else(String::new, |value| format!(" {value}"));
        let offset = frame.get("offset").map_or_else(String::new, |offset| format!(" at {offset}"));
        format!("{}{value}{offset}", frame["type"].as_str().unwrap())
    };
    frames(client).await.into_iter().map(word).collect()
}

#[test]
fn all_nodes_are_brought_all_entries_in_one_order() {
    block_on(async {
        let cluster = Cluster::new(3).await;
        let mut updates: Vec<_> = (0..3).map(|node| cluster.follow(node, None)).collect();
        updates.iter_mut().for_each(|updates| drop(updates.next()));
        cluster.settle().await;
        updates.iter_mut().for_each(|updates| assert!(matches!(updates.next(), Some(FeedUpdate::Begun(_)))));
        for value in 1..=20 {
            let position = cluster.append(value as usize % 3, value).await;
            assert_eq!(position.offset, value);
        }
        for updates in &mut updates {
            assert_eq!(updates.values(), (1..=20).collect::<Vec<_>>());
        }
    });
}

#[test]
fn an_entry_is_delivered_once_it_has_its_place() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        let mut client = cluster.subscribe(0, "follow", None).await;
        assert_eq!(told(&mut client).await, ["subscribed at 0"]);
        cluster.links[0].deafen();
        let position = cluster.append(0, 7).await;
        assert!(frames(&mut client).await.is_empty());
        // Nobody has told the node that it misses something.
        cluster.links[0].mend();
        cluster.advance(Duration::from_secs(11)).await;
        let frames = frames(&mut client).await;
        assert_eq!(frames[0]["proof"], json!(position.proof));
        assert_eq!(frames[0]["epoch"], json!(position.epoch));
        assert_eq!((frames[0]["data"].as_u64(), frames[0]["offset"].as_u64()), (Some(7), Some(1)));
    });
}

#[test]
fn a_client_goes_on_at_another_node() {
    block_on(async {
        let cluster = Cluster::new(3).await;
        let mut positions = Vec::new();
        for value in 1..=5 {
            positions.push(cluster.append(0, value).await);
        }
        for path in ["follow", "state"] {
            let mut client = cluster.subscribe(1, path, Some(&positions[2])).await;
            assert_eq!(told(&mut client).await, ["subscribed true at 3", "data 4 at 4", "data 5 at 5"]);
        }
        let mut client = cluster.servers[2].open("follower").await.unwrap();
        client.send_text(&json!({ "type": "message", "value": positions[2] }).to_string()).await;
        cluster.settle().await;
        assert_eq!(told(&mut client).await, ["message 4 at 4", "message 5 at 5"]);
        // Whatever a failover without loss has made of the epoch.
        assert!(cluster.links[0].fail_over(0).is_empty());
        cluster.advance(Duration::from_secs(1)).await;
        cluster.append(0, 6).await;
        let mut client = cluster.subscribe(0, "follow", Some(&positions[3])).await;
        assert_eq!(told(&mut client).await, ["subscribed true at 4", "data 5 at 5", "data 6 at 6"]);
    });
}

/// A node that lags behind does not say that a client is of another log.
#[test]
fn a_client_that_is_ahead_of_its_node_is_waited_for() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        let _follower = cluster.subscribe(1, "follow", None).await;
        cluster.links[1].deafen();
        cluster.append(0, 1).await;
        let seen = cluster.append(0, 2).await;
        cluster.append(0, 3).await;
        let mut client = cluster.subscribe(1, "follow", Some(&seen)).await;
        assert_eq!(told(&mut client).await, ["subscribed true at 2", "data 3 at 3"]);
    });
}

#[test]
fn a_position_that_is_dropped_is_counted_and_one_of_another_log_is_not() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        let first = cluster.append(0, 1).await;
        let mut positions = vec![first.clone()];
        for value in 2..=30 {
            positions.push(cluster.append(0, value).await);
        }
        let mut client = cluster.subscribe(1, "follow", Some(&first)).await;
        let frames = frames(&mut client).await;
        assert_eq!(frames[0]["resumed"], json!(false));
        assert_eq!((&frames[1]["cause"], &frames[1]["count"]), (&json!("retention"), &json!(9)));
        assert_eq!(frames[2]["offset"], json!(11));
        // Right before the oldest one that is kept, also where that has changed.
        for value in 31..=32 {
            cluster.append(0, value).await;
            let oldest = value - 20;
            let mut client = cluster.subscribe(1, "follow", Some(&positions[oldest as usize - 1])).await;
            assert_eq!(told(&mut client).await[0], format!("subscribed true at {oldest}"));
        }
        let other = first.clone().with_proof("0123456789abc");
        let other = Position { offset: 25, ..other };
        let mut client = cluster.subscribe(1, "follow", Some(&other)).await;
        assert_eq!(told(&mut client).await, ["subscribed false at 32", r#"gap "diverged""#]);
    });
}

/// A node that holds five entries or so of a log that has twenty, or more.
fn small() -> Config {
    let mut config = Config::default();
    config.log_bytes = 2600;
    config
}

#[test]
fn what_a_node_does_not_hold_is_read_from_the_log() {
    block_on(async {
        let cluster = Cluster::with(2, small()).await;
        let mut positions = Vec::new();
        for value in 1..=20 {
            positions.push(cluster.append(0, value).await);
        }
        let mut client = cluster.subscribe(1, "follow", Some(&positions[0])).await;
        let told = told(&mut client).await;
        assert_eq!((&*told[0], told.len()), ("subscribed true at 1", 20));
        assert!(
            told[1..].iter().zip(2..).all(|(word, value)| *word == format!("data {value} at {value}")),
            "{told:?}"
        );
        // A state is not needed.
        let mut client = cluster.subscribe(1, "state", Some(&positions[3])).await;
        assert_eq!(frames(&mut client).await.len(), 17);

        let mut follower = cluster.servers[1].connect::<Follower>("follower", ()).await.unwrap();
        follower.send(Some(positions[9].clone())).await;
        cluster.settle().await;
        for value in 11..=20 {
            assert_eq!(follower.recv().await.unwrap(), value);
        }
        let mut updates = cluster.follow(1, Some(&positions[1]));
        let mut values = Vec::new();
        for _ in 0..4 {
            values.extend(updates.values());
            cluster.settle().await;
        }
        assert_eq!(values, (3..=20).collect::<Vec<_>>());
        // What comes then goes on.
        cluster.append(0, 21).await;
        assert_eq!(updates.values(), [21]);
        // What was read is held for a while, and not for longer.
        assert!(cluster.servers[1].realtime().stats().memory.broker > 1000);
        cluster.advance(Duration::from_secs(3)).await;
        assert!(cluster.servers[1].realtime().stats().memory.broker < 1000);
    });
}

#[test]
fn what_the_log_has_no_more_is_counted_and_the_rest_is_read() {
    block_on(async {
        let cluster = Cluster::with(2, small()).await;
        let first = cluster.append(0, 1).await;
        for value in 2..=20 {
            cluster.append(0, value).await;
        }
        cluster.links[0].trim(NEWS.name(), 8);
        let mut client = cluster.subscribe(1, "follow", Some(&first)).await;
        let frames = frames(&mut client).await;
        assert_eq!(frames[0]["resumed"], json!(false));
        assert_eq!((&frames[1]["cause"], &frames[1]["count"]), (&json!("retention"), &json!(6)));
        assert_eq!((&frames[2]["offset"], frames.len()), (&json!(8), 15));
    });
}

/// It was of a reign that nobody remembers, or somebody has made it up.
#[test]
fn a_position_before_the_copy_is_proven_by_the_log() {
    block_on(async {
        let cluster = Cluster::with(2, small()).await;
        let mut positions = Vec::new();
        for value in 1..=20 {
            positions.push(cluster.append(0, value).await);
        }
        let other = Position { epoch: "0.other".into(), ..positions[1].clone() };
        let mut client = cluster.subscribe(1, "follow", Some(&other)).await;
        assert_eq!(told(&mut client).await[0], "subscribed true at 2");
        let other = positions[1].clone().with_proof("0123456789abc");
        let mut client = cluster.subscribe(1, "follow", Some(&other)).await;
        assert_eq!(told(&mut client).await, ["subscribed false at 20", r#"gap "diverged""#]);
    });
}

#[test]
fn a_position_within_a_record_before_the_copy_is_proven() {
    block_on(async {
        let cluster = Cluster::with(2, small()).await;
        let first = cluster.append(0, 0).await;
        let realtime = cluster.servers[0].realtime().clone();
        let append = |value| {
            let realtime = realtime.clone();
            Box::pin(async move { realtime.append(&NEWS, &value).await.unwrap() })
        };
        let mut appending: Vec<_> = (1..=19).map(append).collect();
        assert!(appending.iter_mut().all(|appending| appending.now_or_never().is_none()));
        cluster.settle().await;
        let positions: Vec<_> = appending.iter_mut().map(|append| append.now_or_never().unwrap()).collect();
        assert_eq!(positions[0].proof, positions[18].proof);
        // The second finds what was read for the first.
        for after in [&positions[4], &first, &positions[2]] {
            let mut client = cluster.subscribe(1, "follow", Some(after)).await;
            let told = told(&mut client).await;
            assert_eq!(
                (told[0].clone(), told.len() as u64),
                (format!("subscribed true at {}", after.offset), 21 - after.offset)
            );
        }
    });
}

/// The node does not know yet that its copy is of a log that has lost its end.
#[test]
fn the_past_of_another_reign_is_not_put_before_the_copy() {
    block_on(async {
        let cluster = Cluster::with(2, small()).await;
        let mut positions = Vec::new();
        for value in 1..=12 {
            positions.push(cluster.append(0, value).await);
        }
        // What was read before the failover is of the log that it was.
        let mut before = cluster.subscribe(1, "follow", Some(&positions[1])).await;
        assert_eq!(told(&mut before).await.len(), 11);
        cluster.links[1].deafen();
        // It loses as many as that or fewer: once more than the node's copy has.
        while cluster.links[0].entries(NEWS.name()).len() > 5 {
            cluster.links[0].fail_over(8);
        }
        let kept = cluster.links[0].entries(NEWS.name()).len() as u64;
        for value in 100..108 {
            cluster.append_slowly(0, value).await.unwrap();
        }
        let expected: Vec<_> =
            (3..=kept).chain(100..108).zip(3..).map(|(value, at)| format!("data {value} at {at}")).collect();
        let mut client = cluster.subscribe(1, "follow", Some(&positions[1])).await;
        cluster.links[1].mend();
        cluster.advance(Duration::from_secs(15)).await;
        let mut told = told(&mut client).await;
        // If it was told the old one, it was told of another since.
        if let Some(again) = told.iter().rposition(|word| word.starts_with("subscribed")) {
            told.drain(..=again);
        }
        told.retain(|word| word.starts_with("data"));
        assert!(expected.ends_with(&told), "{told:?} instead of {expected:?}");
        let mut again = cluster.subscribe(1, "follow", Some(&positions[1])).await;
        let told = self::told(&mut again).await;
        assert_eq!(told[1..], expected);
    });
}

/// Nothing else would wake it.
#[test]
fn one_that_waits_for_the_past_is_told_that_the_log_is_another() {
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    block_on(async {
        let cluster = Cluster::with(2, small()).await;
        let first = cluster.append(0, 1).await;
        let mut updates = cluster.follow(1, Some(&first));
        updates.next();
        cluster.settle().await;
        assert!(matches!(updates.next(), Some(FeedUpdate::Begun(_))));
        for value in 2..=20 {
            cluster.append(0, value).await;
        }
        cluster.links[1].cut();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut poll = || updates.0.as_mut().poll_next(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        while cluster.links[0].entries(NEWS.name()).len() > 5 {
            cluster.links[0].fail_over(8);
        }
        cluster.append_slowly(0, 100).await.unwrap();
        assert!(!woken.0.load(SeqCst));
        cluster.links[1].mend();
        cluster.advance(Duration::from_secs(15)).await;
        assert!(woken.0.load(SeqCst));
        assert!(matches!(poll(), Poll::Ready(Some(Ok(FeedUpdate::Begun(_))))));
        assert!(matches!(poll(), Poll::Ready(Some(Ok(FeedUpdate::Gap(gap)))) if gap.cause == "diverged"));
    });
}

#[test]
fn a_client_that_reads_slowly_misses_nothing_that_the_log_has() {
    block_on(async {
        let mut config = small();
        config.outbox_bytes = 1024;
        let cluster = Cluster::with(2, config).await;
        let first = cluster.append(0, 0).await;
        let mut client = cluster.subscribe(1, "follow", Some(&first)).await;
        client.stall();
        for value in 1..=19 {
            cluster.append(0, value).await;
        }
        client.resume();
        let mut words = told(&mut client).await;
        for _ in 0..20 {
            cluster.settle().await;
            words.extend(told(&mut client).await);
        }
        let expected = (1..=19).map(|value| format!("data {value} at {}", value + 1));
        assert_eq!(words[1..], expected.collect::<Vec<_>>());
    });
}

/// Also with a position of another reign, of which only the log can say where it is.
#[test]
fn what_is_before_a_page_that_is_being_read_is_read_next() {
    for epoch in [None, Some("0.other")] {
        block_on(async {
            let cluster = Cluster::with(2, small()).await;
            let mut positions = Vec::new();
            for value in 1..=20 {
                positions.push(cluster.append(0, value).await);
            }
            let mut level = cluster.subscribe(1, "follow", None).await;
            told(&mut level).await;
            cluster.links[1].freeze();
            let mut late = cluster.subscribe(1, "follow", Some(&positions[9])).await;
            let mut after = positions[3].clone();
            after.epoch = epoch.map_or(after.epoch, str::to_owned);
            let mut early = cluster.subscribe(1, "follow", Some(&after)).await;
            cluster.links[1].mend();
            cluster.advance(Duration::from_secs(2)).await;
            for (client, begun, words) in
                [(&mut late, "subscribed true at 10", 11), (&mut early, "subscribed true at 4", 17)]
            {
                let told = told(client).await;
                assert_eq!((&*told[0], told.len()), (begun, words), "{told:?}");
            }
        });
    }
}

/// Those who come back after a deployment are near each other.
#[test]
fn a_page_of_the_past_is_read_once_for_all_who_need_it() {
    block_on(async {
        let cluster = Cluster::with(2, small()).await;
        let mut positions = Vec::new();
        for value in 1..=20 {
            positions.push(cluster.append(0, value).await);
        }
        cluster.advance(Duration::from_secs(1)).await;
        let before = cluster.links[1].reads();
        let mut clients = Vec::new();
        for number in 0..50 {
            let mut client = cluster.servers[1].open("api").await.unwrap();
            let after = &positions[number % 5];
            let frame = json!({ "type": "subscribe", "id": "s", "path": "follow", "after": after });
            client.send_text(&frame.to_string()).await;
            clients.push((client, after.offset));
        }
        cluster.settle().await;
        for (client, after) in &mut clients {
            let told = told(client).await;
            assert_eq!((told[0].clone(), told.len() as u64), (format!("subscribed true at {after}"), 21 - *after));
        }
        let reads = cluster.links[1].reads() - before;
        assert!(reads <= 5, "{reads} pages were read");
    });
}

#[test]
fn a_log_that_has_lost_what_was_delivered_begins_again() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        let mut plain = cluster.subscribe(1, "follow", None).await;
        let mut state = cluster.subscribe(1, "state", None).await;
        let mut handler = cluster.servers[1].open("follower").await.unwrap();
        handler.send_text(&json!({ "type": "message", "value": null }).to_string()).await;
        let mut updates = cluster.follow(1, None);
        updates.next();
        cluster.settle().await;
        updates.next();
        for value in 1..=3 {
            cluster.append(0, value).await;
        }
        assert_eq!(told(&mut plain).await.len(), 4);
        assert_eq!(told(&mut state).await.len(), 5);
        assert_eq!(told(&mut handler).await.len(), 3);
        assert_eq!(updates.values(), [1, 2, 3]);
        let mut lost = Vec::new();
        while !lost.contains(&"news".to_owned()) {
            lost = cluster.links[0].fail_over(1);
        }
        cluster.settle().await;
        cluster.append(0, 4).await;
        cluster.append(0, 5).await;
        cluster.advance(Duration::from_secs(1)).await;
        // Whoever has got the lost third entry is told.
        assert_eq!(
            told(&mut plain).await,
            ["subscribed false at 2", r#"gap "diverged""#, "data 4 at 3", "data 5 at 4"]
        );
        assert_eq!(
            told(&mut state).await,
            ["subscribed false at 2", "data 1000000 at 2", "data 4 at 3", "data 5 at 4"]
        );
        assert_eq!(told(&mut handler).await, [r#"gap "diverged""#, "message 4 at 3", "message 5 at 4"]);
        let Some(FeedUpdate::Begun(begun)) = updates.next() else { panic!("it begins again") };
        assert_eq!((begun.resumed, begun.position.offset), (Some(false), 2));
        let Some(FeedUpdate::Gap(gap)) = updates.next() else { panic!("it has a gap") };
        assert_eq!((&*gap.cause, gap.count), ("diverged", 0));
        assert_eq!(updates.values(), [4, 5]);
    });
}

#[test]
fn an_append_whose_answer_is_lost_is_found_again() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        cluster.append(0, 1).await;
        cluster.links[0].lose_answers(2);
        assert_eq!(cluster.append_slowly(0, 2).await.unwrap().offset, 2);
        assert_eq!(cluster.append(1, 3).await.offset, 3);
        assert_eq!(cluster.links[0].entries("news"), ["1", "2", "3"]);
    });
}

#[test]
fn an_append_without_a_broker_is_refused_or_unknown() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        cluster.append(0, 1).await;
        cluster.links[0].cut();
        let refused = cluster.append_slowly(0, 2).await.unwrap_err();
        assert!(matches!(refused, AppendError::Refused(_)), "{refused}");
        assert_eq!((refused.error().code().as_str(), refused.error().is_retryable()), ("UNAVAILABLE", true));
        cluster.links[0].mend();
        cluster.append(0, 3).await;
        cluster.links[0].lose_answers(100);
        let unknown = cluster.append_slowly(0, 4).await.unwrap_err();
        assert!(matches!(unknown, AppendError::Unknown(_)), "{unknown}");
        assert_eq!(unknown.error().code().as_str(), "DEADLINE_EXCEEDED");
        assert_eq!(unknown.error().details(), Some(&json!({ "outcome": "unknown" })));
        cluster.links[0].mend();
        assert_eq!(cluster.append(0, 5).await.offset, 4);
        assert_eq!(cluster.links[0].entries("news"), ["1", "3", "4", "5"]);
    });
}

#[test]
fn entries_that_wait_become_one_record() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        cluster.append(0, 0).await;
        let mut updates = cluster.follow(1, None);
        updates.next();
        cluster.settle().await;
        updates.next();
        let realtime = cluster.servers[0].realtime().clone();
        let mut appending: Vec<_> = (1..=100)
            .map(|value| {
                Box::pin({
                    let realtime = realtime.clone();
                    async move { realtime.append(&NEWS, &value).await.unwrap() }
                })
            })
            .collect();
        for appending in &mut appending {
            assert!(appending.now_or_never().is_none());
        }
        cluster.settle().await;
        let positions: Vec<_> = appending.iter_mut().map(|append| append.now_or_never().unwrap()).collect();
        assert!(positions.iter().zip(1..).all(|(position, offset)| position.offset == offset + 1));
        let proofs: std::collections::HashSet<_> = positions.iter().map(|position| &position.proof).collect();
        // The first 64 entries, and the rest.
        assert_eq!(proofs.len(), 2);
        // One who has not read meanwhile is behind the copy, and gets all that the log has: its last record.
        let mut values = updates.values();
        cluster.settle().await;
        values.extend(updates.values());
        assert_eq!(values, (65..=100).collect::<Vec<_>>());
    });
}

#[test]
fn what_waits_to_be_appended_is_bounded_in_bytes() {
    block_on(async {
        let mut config = Config::default();
        config.broker_queue_bytes = 10_000;
        let cluster = Cluster::with(1, config).await;
        cluster.links[0].freeze();
        let mut waiting = Vec::new();
        let refused = loop {
            let realtime = cluster.servers[0].realtime().clone();
            let mut appending = Box::pin(async move { realtime.append(&NEWS, &7).await });
            match (&mut appending).now_or_never() {
                None => waiting.push(appending),
                Some(outcome) => break outcome.unwrap_err(),
            }
        };
        assert!(matches!(refused, AppendError::Refused(_)), "{refused}");
        assert_eq!((refused.error().code().as_str(), refused.error().is_retryable()), ("UNAVAILABLE", true));
        assert!((20..100).contains(&waiting.len()), "{}", waiting.len());
        let memory = cluster.servers[0].realtime().stats().memory;
        assert!((9_000..=10_000).contains(&memory.broker), "{memory:?}");
        cluster.links[0].mend();
        cluster.settle().await;
        for appending in waiting {
            appending.await.unwrap();
        }
        assert_eq!(cluster.servers[0].realtime().stats().memory.broker, 0);
    });
}

/// What a node has appended is in what it reads.
#[test]
fn the_past_is_that_of_all_nodes() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        cluster.append(0, 1).await;
        cluster.append(1, 2).await;
        let realtime = cluster.servers[1].realtime().clone();
        cluster.links[1].deafen();
        let newest = cluster.append(1, 3).await;
        let mut reading = pin!(async { (realtime.history(&NEWS).last(2).await, realtime.position(&NEWS).await) });
        let (history, position) = loop {
            if let Some(read) = (&mut reading).now_or_never() {
                break read;
            }
            cluster.settle().await;
        };
        let history = history.unwrap();
        assert_eq!(history.items.iter().map(|item| item.value).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((history.whole, history.begin.offset), (false, 1));
        assert_eq!((&history.end, &position.unwrap()), (&newest, &newest));
    });
}

#[test]
fn a_node_that_cannot_read_the_log_waits_and_a_call_does_not_for_long() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        cluster.append(0, 1).await;
        cluster.links[1].cut();
        let mut client = cluster.subscribe(1, "follow", None).await;
        assert_eq!(told(&mut client).await, Vec::<String>::new());
        let realtime = cluster.servers[1].realtime().clone();
        let news = NEWS;
        let mut reading = pin!(realtime.position(&news));
        assert!((&mut reading).now_or_never().is_none());
        cluster.advance(Duration::from_secs(6)).await;
        let Some(Err(error)) = (&mut reading).now_or_never() else { panic!("it waits") };
        assert_eq!((error.code().as_str(), error.is_retryable()), ("UNAVAILABLE", true));
        cluster.links[1].mend();
        cluster.advance(Duration::from_secs(2)).await;
        assert_eq!(told(&mut client).await, ["subscribed at 1"]);
    });
}

/// The logs of the application that a node is brought.
fn followed(link: &FaultyBroker) -> Vec<String> {
    link.followed().into_iter().filter(|name| !name.starts_with('\u{1}')).collect()
}

/// A node that nobody asks for a feed any more is not brought it, and reads it anew when somebody does.
#[test]
fn a_feed_that_nobody_uses_is_forgotten() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        let client = cluster.subscribe(1, "follow", None).await;
        let seen = cluster.append(0, 1).await;
        assert_eq!(followed(&cluster.links[1]), ["news"]);
        // Who only appends copies nothing.
        assert!(followed(&cluster.links[0]).is_empty());
        drop(client);
        cluster.pass(Duration::from_secs(590)).await;
        assert_eq!(followed(&cluster.links[1]), ["news"]);
        cluster.pass(Duration::from_secs(30)).await;
        assert!(followed(&cluster.links[1]).is_empty());
        let stats = cluster.servers[1].realtime().stats();
        assert_eq!((stats.feeds, stats.log_bytes), (0, 0));
        cluster.append(0, 2).await;
        let mut client = cluster.subscribe(1, "follow", Some(&seen)).await;
        assert_eq!(told(&mut client).await, ["subscribed true at 1", "data 2 at 2"]);
    });
}

#[test]
fn a_principal_that_is_revoked_gets_nothing_more_of_a_shared_feed() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        let mut client = cluster.subscribe(1, "follow", None).await;
        cluster.append(0, 1).await;
        assert_eq!(told(&mut client).await.len(), 2);
        assert_eq!(cluster.servers[1].realtime().revoke_from(&Principal("ann".into()), &NEWS), 1);
        cluster.append(0, 2).await;
        let frames = frames(&mut client).await;
        assert_eq!((frames.len(), &frames[0]["error"]["code"]), (1, &json!("UNAUTHENTICATED")), "{frames:?}");
    });
}

#[test]
fn a_stream_of_events_goes_on_at_another_node() {
    block_on(async {
        let cluster = Cluster::new(2).await;
        let seen = cluster.append(0, 1).await;
        cluster.append(0, 2).await;
        let events = cluster.servers[1].events("api").path("follow").last_event_id(&seen.to_string());
        let mut events = events.open().await.unwrap();
        cluster.settle().await;
        let mut ids = Vec::new();
        while let Some(event) = events.try_next().await.unwrap() {
            ids.push((event.event, event.data));
        }
        assert!(ids.iter().any(|(_, data)| data.contains('2')), "{ids:?}");
        assert!(!ids.iter().any(|(_, data)| data.contains("gap")), "{ids:?}");
    });
}
