//! The readiness of a node, with a broker whose line fails.

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "support/line.rs"]
mod line;

use adapter_testing::{TestClient, TestServer, block_on};
use futures_util::FutureExt;
use line::{Fault, Into, Line, Out, PARTED};
use realtime_core::{
    Connected, Endpoint, MemoryBroker, Readiness, Realtime, Result, ShardState, Topic,
    broker::{Abilities, Arrival, Broker, FollowChange, Publication, Untaken},
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

const NEWS: Topic<u64> = Topic::fixed("news");

struct Node {
    server: TestServer,
    line: Line,
    _client: TestClient,
}

impl Node {
    async fn new(line: Line) -> Self {
        let server = serve(line.clone());
        let client = server.open("api").await.unwrap();
        Self { server, line, _client: client }
    }

    fn readiness(&self) -> Readiness {
        self.server.realtime().readiness()
    }

    fn state(&self) -> ShardState {
        self.readiness().shards[0].state
    }
}

fn serve(broker: impl Broker) -> TestServer {
    TestServer::new(builder().broker(broker).build())
}

fn builder() -> realtime_core::RealtimeBuilder {
    let api = Endpoint::new(()).on_open(|connected: Connected<()>| async move { connected.subscribe(&NEWS) });
    Realtime::builder().endpoint("api", api)
}

/// Runs the nodes in turns.
async fn advance(nodes: &[&Node], duration: Duration) {
    for _ in 0..duration.as_millis() / STEP.as_millis() {
        for node in nodes {
            node.server.advance(STEP).await;
        }
        for node in nodes {
            node.server.settle().await;
        }
    }
}

const STEP: Duration = Duration::from_millis(50);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_node_without_a_broker_is_ready_until_it_drains() {
    block_on(async {
        let server = TestServer::new(builder().build());
        let readiness = server.realtime().readiness();
        assert!(readiness.ready && readiness.shards.is_empty() && !readiness.alone && !readiness.draining);
        assert!(server.realtime().stats().ready);
        server.realtime().drain(seconds(1)).await;
        let readiness = server.realtime().readiness();
        assert_eq!((readiness.ready, readiness.draining, readiness.status().as_u16()), (false, true, 503));
    });
}

/// Otherwise nobody would be sent to it.
#[test]
fn a_node_whose_clock_does_not_run_is_ready() {
    block_on(async {
        let realtime = builder().broker(Line::new(0)).build();
        assert!(realtime.readiness().ready);
        assert_eq!(realtime.readiness().shards[0].state, ShardState::Starting);
        let server = TestServer::new(realtime);
        assert!(!server.realtime().readiness().ready, "its first beat has not come back");
        server.advance(seconds(1)).await;
        assert!(server.realtime().readiness().ready);
    });
}

/// Each of these looks well from one side.
#[test]
fn a_line_that_fails_in_any_way_takes_a_node_out_within_three_beats() {
    let fault = |out, into| Fault { out, into, log_is_stale: false };
    let faults = [
        ("deaf", fault(Out::Passes, Into::Lost)),
        ("a stale master", fault(Out::Lost, Into::Passes)),
        ("half open", fault(Out::Lost, Into::Lost)),
        ("blackholed", fault(Out::Hangs, Into::Lost)),
        ("a publisher that hangs", fault(Out::Hangs, Into::Passes)),
        ("a stopped reader", fault(Out::Passes, Into::Stopped)),
    ];
    for (name, fault) in faults {
        block_on(async {
            let node = Node::new(Line::new(0)).await;
            advance(&[&node], seconds(20)).await;
            assert!(node.readiness().ready, "{name}");
            node.line.set(fault);
            advance(&[&node], Duration::from_millis(1900)).await;
            assert!(node.readiness().ready, "{name}: one beat may be late");
            advance(&[&node], Duration::from_millis(1300)).await;
            assert_eq!((node.readiness().ready, node.state()), (false, ShardState::Down), "{name}");
            assert!(!node.server.realtime().stats().ready, "{name}");
            advance(&[&node], seconds(60)).await;
            assert!(!node.readiness().ready, "{name}");
            node.line.set(Fault::default());
            advance(&[&node], Duration::from_millis(1100)).await;
            assert!(node.line.fault() == Fault::default() && !node.readiness().alone);
            // The next beat through the log may be 5 s away.
            advance(&[&node], seconds(6)).await;
            assert!(node.readiness().ready, "{name}: {:?}", node.readiness());
        });
    }
}

#[test]
fn a_log_that_goes_nowhere_takes_a_node_out_too() {
    block_on(async {
        let node = Node::new(Line::new(0)).await;
        advance(&[&node], seconds(20)).await;
        node.line.set(Fault { log_is_stale: true, ..Fault::default() });
        advance(&[&node], seconds(9)).await;
        assert_eq!(node.state(), ShardState::Down);
        assert!(node.readiness().shards[0].heard < Some(seconds(2)), "the topics work");
        node.line.set(Fault::default());
        advance(&[&node], seconds(6)).await;
        assert!(node.readiness().ready);
    });
}

#[test]
fn there_is_no_false_alarm_in_ten_minutes_of_load() {
    block_on(async {
        let first = Node::new(Line::new(0)).await;
        let second = Node::new(first.line.join(1)).await;
        for step in 0..10 * 60 * 4 {
            // Bursts of more than goes into one batch.
            for number in 0..if step % 100 == 0 { 600 } else { step % 10 } {
                first.server.realtime().to(&NEWS).send(&number).unwrap();
            }
            advance(&[&first, &second], Duration::from_millis(250)).await;
            if step > 4 {
                assert!(first.readiness().ready && second.readiness().ready, "after {step} ticks");
            }
        }
        let stats = first.server.realtime().stats();
        assert_eq!((stats.nodes, stats.ready, stats.broker_failures), (1, true, 0));
    });
}

#[test]
fn a_node_that_was_stopped_is_ready_once_its_beat_is_back() {
    block_on(async {
        let node = Node::new(Line::new(0)).await;
        advance(&[&node], seconds(5)).await;
        node.server.pause(seconds(60));
        assert!(!node.readiness().ready);
        advance(&[&node], seconds(6)).await;
        assert!(node.readiness().ready);
    });
}

#[test]
fn a_node_whose_others_vanish_is_alone_and_stays_ready() {
    block_on(async {
        let first = Node::new(Line::new(0)).await;
        let second = Node::new(first.line.join(1)).await;
        advance(&[&first, &second], seconds(2)).await;
        assert_eq!(first.server.realtime().stats().nodes, 1);
        second.line.set(PARTED);
        advance(&[&first, &second], seconds(6)).await;
        let (here, there) = (first.readiness(), second.readiness());
        assert!(here.ready && here.alone, "{here:?}");
        // It hears nobody because of itself.
        assert!(!there.ready && !there.alone, "{there:?}");
        second.line.set(Fault::default());
        advance(&[&first, &second], seconds(6)).await;
        assert!(!first.readiness().alone && second.readiness().ready);

        // Who has said that it goes has not vanished.
        let mut drained = Box::pin(second.server.realtime().drain(seconds(1)));
        while (&mut drained).now_or_never().is_none() {
            advance(&[&first, &second], STEP).await;
        }
        advance(&[&first, &second], STEP).await;
        assert_eq!(first.server.realtime().stats().nodes, 0);
        advance(&[&first, &second], seconds(10)).await;
        let here = first.readiness();
        assert!(here.ready && !here.alone);
    });
}

/// Has three shards, which can be cut one by one. The shard of a topic is the sum of its bytes.
#[derive(Clone, Debug)]
struct Sharded {
    inner: Arc<MemoryBroker>,
    cut: Arc<Mutex<HashSet<usize>>>,
}

#[realtime_core::async_trait]
impl Broker for Sharded {
    fn abilities(&self) -> Abilities {
        Abilities::default().with_shards(3)
    }

    fn shard_of(&self, topic: &str) -> usize {
        topic.bytes().map(usize::from).sum::<usize>() % 3
    }

    async fn follow(&self, changes: &[FollowChange]) -> Result {
        self.inner.follow(changes).await
    }

    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        for publication in batch {
            if !self.cut.lock().unwrap().contains(&self.shard_of(&publication.topic)) {
                self.inner.publish(std::slice::from_ref(publication)).await?;
            }
        }
        Ok(())
    }

    async fn receive(&self, into: &mut Vec<Arrival>) -> Result {
        self.inner.receive(into).await
    }
}

#[test]
fn each_shard_is_watched() {
    block_on(async {
        let broker = Sharded { inner: Arc::new(MemoryBroker::new()), cut: Arc::default() };
        let server = serve(broker.clone());
        let _client = server.open("api").await.unwrap();
        let states = || server.realtime().readiness().shards.iter().map(|shard| shard.state).collect::<Vec<_>>();
        server.advance(seconds(2)).await;
        assert_eq!(states(), [ShardState::Up; 3]);
        for cut in 0..3 {
            broker.cut.lock().unwrap().insert(cut);
            server.advance(seconds(4)).await;
            let mut expected = [ShardState::Up; 3];
            expected[cut] = ShardState::Down;
            assert_eq!(states(), expected);
            assert!(!server.realtime().readiness().ready);
            broker.cut.lock().unwrap().clear();
            server.advance(seconds(2)).await;
        }
        assert!(server.realtime().readiness().ready);
    });
}

/// Beats that wait replace each other.
#[test]
fn a_broker_that_hangs_for_an_hour_leaves_no_pile_of_beats() {
    block_on(async {
        let node = Node::new(Line::new(0)).await;
        advance(&[&node], seconds(2)).await;
        node.line.set(Fault { out: Out::Hangs, ..Fault::default() });
        node.server.advance(seconds(3600)).await;
        let waiting = node.server.realtime().stats().memory.broker;
        assert!((1..2000).contains(&waiting), "{waiting}");
    });
}
