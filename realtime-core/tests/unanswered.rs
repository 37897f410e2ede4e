//! A broker that never answers some of its calls.

use adapter_testing::{TestServer, block_on};
use realtime_core::{
    AppendError, Connection, Feed, Handler, Log, MemoryBroker, Position, Realtime, Result, Topic,
    broker::{Abilities, Arrival, Broker, Draft, FollowChange, Page, Publication, Untaken},
};
use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

const NEWS: Topic<String> = Topic::fixed("news");
const CHANGES: Feed<String> = Topic::<String>::fixed("changes").log(Log::last(10));

/// Calls that are never answered, as far as they are about the application.
#[derive(Clone, Debug)]
struct Silent {
    inner: Arc<MemoryBroker>,
    /// The number of calls of each name that are not answered.
    calls: Arc<Mutex<Vec<&'static str>>>,
    /// The publications that were answered.
    published: Arc<Mutex<Vec<String>>>,
}

impl Silent {
    fn new(calls: &[&'static str]) -> Self {
        Self {
            inner: Arc::new(MemoryBroker::new()),
            calls: Arc::new(Mutex::new(calls.to_vec())),
            published: Arc::default(),
        }
    }

    async fn pass(&self, call: &str, topic: &str) {
        let is_silent = !topic.starts_with('\u{1}') && {
            let mut calls = self.calls.lock().unwrap();
            let at = calls.iter().position(|silent| *silent == call);
            at.map(|at| calls.remove(at)).is_some()
        };
        if is_silent {
            pending::<()>().await;
        }
    }
}

#[realtime_core::async_trait]
impl Broker for Silent {
    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    async fn follow(&self, changes: &[FollowChange]) -> Result {
        for change in changes {
            self.pass("follow", &change.topic).await;
        }
        self.inner.follow(changes).await
    }

    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        for publication in batch {
            self.pass("publish", &publication.topic).await;
        }
        let texts = batch.iter().filter(|one| one.topic == "news");
        let texts = texts.map(|one| String::from_utf8(one.json.to_vec()).unwrap());
        self.published.lock().unwrap().extend(texts);
        self.inner.publish(batch).await
    }

    async fn append(&self, draft: &Draft, again_since: Option<&Position>) -> Result<Position, AppendError> {
        self.pass("append", &draft.topic).await;
        self.inner.append(draft, again_since).await
    }

    async fn read(&self, topic: &str, after: u64, limit: usize) -> Result<Page> {
        self.pass("read", topic).await;
        self.inner.read(topic, after, limit).await
    }

    async fn tops(&self, topics: &[&str]) -> Result<Vec<Position>> {
        self.pass("tops", topics[0]).await;
        self.inner.tops(topics).await
    }

    async fn receive(&self, into: &mut Vec<Arrival>) -> Result {
        self.inner.receive(into).await
    }
}

/// Is in the news, and follows the changes when it is told anything.
struct Reader;

impl Handler for Reader {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&NEWS)
    }

    async fn on_message(&self, connection: &Connection<Self>, _: String) -> Result {
        let said = match connection.follow(&CHANGES, None).await {
            Ok(_) => "begun".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        connection.send(said).map_err(Into::into)
    }
}

fn serve(broker: &Silent) -> TestServer {
    TestServer::new(Realtime::builder().handler("reader", Reader).broker(broker.clone()).build())
}

#[test]
fn publications_without_an_answer_hold_up_others_for_ten_seconds() {
    block_on(async {
        let broker = Silent::new(&["publish"]);
        let server = serve(&broker);
        let _ann = server.connect::<Reader>("reader", ()).await.unwrap();
        server.advance(Duration::from_secs(1)).await;
        for text in ["first", "second"] {
            server.realtime().to(&NEWS).send(&text.to_owned()).unwrap();
            server.settle().await;
        }
        server.advance(Duration::from_secs(9)).await;
        assert!(broker.published.lock().unwrap().is_empty());
        server.advance(Duration::from_secs(2)).await;
        // The first may have been taken.
        assert_eq!(*broker.published.lock().unwrap(), [r#""second""#]);
        assert_eq!(server.realtime().stats().broker_failures, 1);
    });
}

#[test]
fn what_is_followed_without_an_answer_is_asked_for_again() {
    block_on(async {
        let broker = Silent::new(&["follow"]);
        let (server, other) = (serve(&broker), broker.inner.join());
        let mut ann = server.connect::<Reader>("reader", ()).await.unwrap();
        server.advance(Duration::from_secs(12)).await;
        let hello = Publication::new(7, "news".into(), r#""hello""#.into(), None, Vec::new());
        other.publish(&[hello]).await.unwrap();
        server.settle().await;
        assert_eq!(ann.try_recv().await.unwrap(), Some("hello".into()));
    });
}

/// It is told which call of the broker about what, and how long it has waited.
#[test]
fn a_handler_waits_no_longer_for_a_feed_than_for_an_append() {
    block_on(async {
        for call in ["follow", "tops", "read"] {
            let broker = Silent::new(&[]);
            let server = serve(&broker);
            let mut ann = server.connect::<Reader>("reader", ()).await.unwrap();
            server.advance(Duration::from_secs(1)).await;
            broker.inner.append(&draft("changes"), None).await.unwrap();
            broker.calls.lock().unwrap().extend([call; 9]);
            ann.send("follow".into()).await;
            server.advance(Duration::from_secs(6)).await;
            let said = ann.try_recv().await.unwrap().unwrap_or_else(|| panic!("{call}: it waits"));
            let parts = ["UNAVAILABLE", "\"changes\"", "5 s"];
            assert!(parts.iter().all(|part| said.contains(part)), "{call}: {said}");
            // Both are over at once.
            let calls = ["follow or read".to_owned(), call.to_owned()];
            assert!(calls.iter().any(|call| said.contains(&format!("`{call}`"))), "{call}: {said}");
            broker.calls.lock().unwrap().clear();
            server.advance(Duration::from_secs(12)).await;
            ann.send("again".into()).await;
            server.advance(Duration::from_secs(1)).await;
            assert_eq!(ann.try_recv().await.unwrap(), Some("begun".into()), "{call}");
        }
    });
}

fn draft(feed: &str) -> Draft {
    use realtime_core::broker::{Body, Logged, Retention, Writer};
    let entries = vec![Logged { json: r#""x""#.into(), whole: None, key: None }];
    let body = Body { writer: Writer { node: 7, number: 1 }, time: 0, entries };
    let keep = Retention { entries: 10, within: Duration::from_secs(60) };
    Draft { topic: feed.into(), tag: 1, body, keep }
}
