//! The readiness of a node, under faults of the network and of its server.

use crate::support::{Proxy, Server, eventually};
use adapter_testing::block_on;
use async_trait::async_trait;
use broker_redis::{Redis, RedisBroker};
use realtime_core::{
    AppendError, Broker, Position, Realtime, Result, Topic,
    broker::{Abilities, Arrival, Draft, FollowChange, Page, Publication, Untaken},
    raw::{BoxFuture, Runtime},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

const NEWS: Topic<u64> = Topic::fixed("news");

/// Three beats, and a little for a busy machine.
const NOTICED: Duration = Duration::from_millis(3300);

/// A beat and the time limit to give a connection up, a new one, and the next beat through a log.
const RECOVERED: Duration = Duration::from_secs(15);

/// The runtime of a node, with a thread of its own.
struct Tokio(tokio::runtime::Handle);

impl Runtime for Tokio {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        self.0.spawn(task);
    }
}

/// A node that publishes, and its link, whose reader can be stopped.
struct Node {
    realtime: Realtime,
    is_stopped: Arc<AtomicBool>,
    end: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Node {
    fn start(redis: Redis) -> Self {
        let is_stopped = Arc::<AtomicBool>::default();
        let broker = block_on(RedisBroker::connect(redis)).unwrap();
        let broker = Link { broker, is_stopped: Arc::clone(&is_stopped) };
        let realtime = Realtime::builder().broker(broker).build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        realtime.start(Tokio(runtime.handle().clone()));
        let (end, ended) = tokio::sync::oneshot::channel();
        thread::spawn(move || runtime.block_on(ended));
        Self { realtime, is_stopped, end: Some(end) }
    }

    fn is_ready(&self) -> bool {
        let _ = self.realtime.to(&NEWS).send(&7);
        self.realtime.readiness().ready
    }

    /// Makes a fault and ends it.
    ///
    /// # Panics
    ///
    /// If the node is not ready before it, ready during it, or not ready after it.
    #[track_caller]
    fn notices(&self, what: &str, begin: impl FnOnce(), end: impl FnOnce()) {
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            assert!(self.is_ready(), "a false alarm before: {what}: {:?}", self.realtime.readiness());
            thread::sleep(Duration::from_millis(10));
        }
        begin();
        eventually(what, NOTICED, || !self.is_ready());
        end();
        eventually(&format!("ready after: {what}"), RECOVERED, || self.is_ready());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.end.take());
    }
}

#[derive(Debug)]
struct Link {
    broker: RedisBroker,
    is_stopped: Arc<AtomicBool>,
}

#[async_trait]
impl Broker for Link {
    fn abilities(&self) -> Abilities {
        self.broker.abilities()
    }

    fn shard_of(&self, topic: &str) -> usize {
        self.broker.shard_of(topic)
    }

    async fn follow(&self, changes: &[FollowChange]) -> Result {
        self.broker.follow(changes).await
    }

    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        self.broker.publish(batch).await
    }

    async fn append(&self, draft: &Draft, again_since: Option<&Position>) -> Result<Position, AppendError> {
        self.broker.append(draft, again_since).await
    }

    async fn read(&self, topic: &str, after: u64, limit: usize) -> Result<Page> {
        self.broker.read(topic, after, limit).await
    }

    async fn tops(&self, topics: &[&str]) -> Result<Vec<Position>> {
        self.broker.tops(topics).await
    }

    async fn receive(&self, into: &mut Vec<Arrival>) -> Result {
        let moment = Duration::from_millis(10);
        loop {
            if self.is_stopped.load(Relaxed) {
                tokio::time::sleep(moment).await;
            } else if let Ok(received) = tokio::time::timeout(moment, self.broker.receive(into)).await {
                return received;
            }
        }
    }
}

#[test]
fn a_node_is_not_ready_while_the_network_is_deaf_or_the_server_silent() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let node = Node::start(Redis::url(format!("redis://127.0.0.1:{}", proxy.port)));
    eventually("it is ready", Duration::from_secs(5), || node.is_ready());
    let release = || proxy.release();
    node.notices("no answers and pushes", || proxy.hold_all(false, true), release);
    node.notices("no requests", || proxy.hold_all(true, false), release);
    node.notices("half-open", || proxy.hold_all(true, true), release);
    node.notices("a silent server", || server.signal("STOP"), || server.signal("CONT"));
    let stop = |is_stopped| node.is_stopped.store(is_stopped, Relaxed);
    node.notices("a stopped reader", || stop(true), || stop(false));
}
