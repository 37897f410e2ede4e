//! A broker to which others write too, and that refuses some of what it is given: what is bad costs nothing else.

use adapter_testing::{FaultyBroker, TestClient, TestServer, block_on};
use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use realtime_core::{
    AppendError, Code, Config, Connection, Error, Feed, Handler, Log, MemoryBroker, Position, Realtime, Result,
    Topic,
    broker::{
        Abilities, Arrival, Body, Broker, Draft, FollowChange, Logged, Page, Publication, Retention, Untaken,
        Writer,
    },
};
use realtime_protocol::Kind;
use serde_json::{Value, json};
use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

const NEWS: Topic<Value> = Topic::fixed("news");
const FEED: Feed<Value> = Topic::fixed("feed").log(Log::last(20));
const BAD: Feed<Value> = Topic::fixed("bad").log(Log::last(20));

/// Joins the topic and follows both feeds.
struct Follower;

impl Handler for Follower {
    type Input = ();
    type ClientMessage = Value;
    type ServerMessage = Value;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&NEWS)?;
        connection.follow(&FEED, None).await?;
        connection.follow(&BAD, None).await.map(|_| ())
    }

    async fn on_message(&self, _: &Connection<Self>, _: Value) -> Result {
        Ok(())
    }
}

/// Refuses for good what has "bad" in it, and does not bring the record at an offset.
#[derive(Clone, Debug)]
struct Picky {
    inner: FaultyBroker,
    hidden: Arc<AtomicU64>,
    end_of_bad: Arc<Mutex<End>>,
}

/// The answer to where a log ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Told,
    /// Not now.
    Busy,
    /// Never.
    Foreign,
}

impl Picky {
    fn new() -> Self {
        Self { inner: FaultyBroker::new(1), hidden: Arc::default(), end_of_bad: Arc::new(Mutex::new(End::Told)) }
    }

    fn join(&self) -> Self {
        Self { inner: self.inner.join(), ..self.clone() }
    }

    fn set_end_of_bad(&self, end: End) {
        *self.end_of_bad.lock().unwrap() = end;
    }
}

fn is_bad(json: &[u8]) -> bool {
    json == br#""bad""#
}

fn refused() -> Error {
    Error::new(Code::INVALID_ARGUMENT, "the broker does not take this")
}

#[realtime_core::async_trait]
impl Broker for Picky {
    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    async fn follow(&self, changes: &[FollowChange]) -> Result {
        self.inner.follow(changes).await
    }

    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        if batch.iter().any(|publication| is_bad(&publication.json)) {
            return Err(Untaken::all(refused()));
        }
        self.inner.publish(batch).await
    }

    async fn append(&self, draft: &Draft, again_since: Option<&Position>) -> Result<Position, AppendError> {
        if draft.body.entries.iter().any(|entry| is_bad(&entry.json)) {
            return Err(AppendError::Refused(refused()));
        }
        self.inner.append(draft, again_since).await
    }

    async fn read(&self, topic: &str, after: u64, limit: usize) -> Result<Page> {
        let mut page = self.inner.read(topic, after, limit).await?;
        page.records.retain(|record| record.first != self.hidden.load(SeqCst));
        Ok(page)
    }

    async fn tops(&self, topics: &[&str]) -> Result<Vec<Position>> {
        let end = if topics.contains(&"bad") { *self.end_of_bad.lock().unwrap() } else { End::Told };
        match end {
            End::Told => self.inner.tops(topics).await,
            End::Busy => Err(Error::resource_exhausted("the broker is busy")),
            End::Foreign => Err(Error::failed_precondition("the end of a log is none")),
        }
    }

    async fn receive(&self, into: &mut Vec<Arrival>) -> Result {
        self.inner.receive(into).await
    }
}

fn server(broker: impl Broker) -> TestServer {
    TestServer::new(Realtime::builder().handler("follower", Follower).broker(broker).build())
}

/// Waits for something that a server has to do.
async fn done<F: Future>(server: &TestServer, doing: F) -> F::Output {
    let mut doing = pin!(doing);
    for _ in 0..100 {
        if let Some(output) = doing.as_mut().now_or_never() {
            return output;
        }
        server.settle().await;
    }
    panic!("it is not done")
}

/// Returns the values that a client is sent, and `gap` with the count where some are missing.
async fn told<H: Handler>(client: &mut TestClient<H>) -> Vec<Value> {
    let mut told = Vec::new();
    while let Ok(Some(frame)) = client.try_frame().await {
        let frame: Value = serde_json::from_str(&frame.as_text()).unwrap();
        match frame["type"].as_str() {
            Some("message") => told.push(frame["value"].clone()),
            Some("gap") => told.push(json!({ "gap": frame["count"] })),
            _ => {}
        }
    }
    told
}

#[test]
fn a_publication_that_is_refused_for_good_costs_no_other() {
    block_on(async {
        let broker = Picky::new();
        let (first, second) = (server(broker.join()), server(broker));
        let mut client = second.connect::<Follower>("follower", ()).await.unwrap();
        second.settle().await;
        first.settle().await;
        for text in ["1", "bad", "2", "bad", "3"] {
            first.realtime().to(&NEWS).send(&json!(text)).unwrap();
        }
        first.settle().await;
        second.settle().await;
        assert_eq!(told(&mut client).await, ["1", "2", "3"]);
        assert_eq!(first.realtime().stats().broker_failures, 2);
        assert_eq!(first.realtime().stats().memory.broker, 0);
    });
}

#[test]
fn an_entry_that_is_refused_for_good_costs_no_other() {
    block_on(async {
        let server = server(Picky::new());
        let mut client = server.connect::<Follower>("follower", ()).await.unwrap();
        server.settle().await;
        let (realtime, feed) = (server.realtime(), FEED);
        let values = ["1", "bad", "2", "3", "bad", "4"].map(|text| json!(text));
        let outcomes = done(&server, join_all(values.iter().map(|value| realtime.append(&feed, value)))).await;
        let offsets: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().ok().map(|at| at.offset)).collect();
        assert_eq!(offsets, [Some(1), None, Some(2), Some(3), None, Some(4)]);
        let Err(AppendError::Refused(error)) = &outcomes[1] else { panic!("{outcomes:?}") };
        assert_eq!(error.code(), &Code::INVALID_ARGUMENT);
        // What comes later shares a record again.
        let more = ["5", "6"].map(|text| json!(text));
        let outcomes = done(&server, join_all(more.iter().map(|value| realtime.append(&feed, value)))).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        server.settle().await;
        assert_eq!(told(&mut client).await, ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(realtime.stats().memory.broker, 0);
    });
}

#[test]
fn a_log_whose_end_cannot_be_read_does_not_keep_others_from_being_compared() {
    block_on(async {
        let broker = Picky::new();
        let (first, second) = (server(broker.join()), server(broker.clone()));
        let mut client = second.connect::<Follower>("follower", ()).await.unwrap();
        second.settle().await;
        broker.inner.deafen();
        done(&first, first.realtime().append(&FEED, &json!("1"))).await.unwrap();
        broker.set_end_of_bad(End::Foreign);
        second.advance(Duration::from_secs(30)).await;
        assert_eq!(told(&mut client).await, ["1"]);
    });
}

/// Nothing is known here of the log: the broker is asked for its end first.
#[test]
fn an_append_is_refused_for_the_reason_for_which_the_end_of_its_log_is() {
    block_on(async {
        let broker = Picky::new();
        let server = server(broker.clone());
        let (realtime, bad, value) = (server.realtime(), BAD, json!("1"));
        broker.set_end_of_bad(End::Foreign);
        let refused = done(&server, realtime.append(&bad, &value)).await;
        let Err(AppendError::Refused(error)) = refused else { panic!("{refused:?}") };
        assert_eq!((error.code(), error.message()), (&Code::FAILED_PRECONDITION, "the end of a log is none"));
        // Another reason may pass.
        broker.set_end_of_bad(End::Busy);
        let mut append = pin!(realtime.append(&bad, &value));
        assert!(append.as_mut().now_or_never().is_none());
        server.advance(Duration::from_secs(4)).await;
        assert!(append.as_mut().now_or_never().is_none());
        server.advance(Duration::from_secs(2)).await;
        let Some(Err(AppendError::Refused(error))) = append.now_or_never() else { panic!("it is over") };
        assert_eq!((error.code(), error.message()), (&Code::RESOURCE_EXHAUSTED, "the broker is busy"));
        let mut append = pin!(realtime.append(&bad, &value));
        assert!(append.as_mut().now_or_never().is_none());
        server.settle().await;
        broker.set_end_of_bad(End::Told);
        server.advance(Duration::from_secs(4)).await;
        assert!(matches!(append.now_or_never(), Some(Ok(_))));
    });
}

/// It is asked for again until the wait is over: an operator may remove what is there.
#[test]
fn one_who_waits_for_a_log_that_is_refused_is_told_why() {
    block_on(async {
        let broker = Picky::new();
        let server = server(broker.clone());
        let (realtime, bad) = (server.realtime(), BAD);
        for (end, code) in [(End::Foreign, Code::FAILED_PRECONDITION), (End::Busy, Code::RESOURCE_EXHAUSTED)] {
            broker.set_end_of_bad(end);
            let mut asked = pin!(realtime.position(&bad));
            assert!(asked.as_mut().now_or_never().is_none());
            server.advance(Duration::from_secs(6)).await;
            let Some(Err(error)) = asked.now_or_never() else { panic!("it is over") };
            assert_eq!(error.code(), &code);
        }
        broker.set_end_of_bad(End::Told);
        server.advance(Duration::from_secs(2)).await;
        assert_eq!(done(&server, realtime.position(&bad)).await.unwrap().offset, 0);
    });
}

/// Something between two records is none of them: it was removed, or another program has put it there.
#[test]
fn what_is_missing_in_a_log_is_told_and_what_comes_behind_it_is_delivered() {
    block_on(async {
        let broker = Picky::new();
        let (first, second) = (server(broker.join()), server(broker.clone()));
        let mut client = second.connect::<Follower>("follower", ()).await.unwrap();
        second.settle().await;
        let append =
            async |text: &str| drop(done(&first, first.realtime().append(&FEED, &json!(text))).await.unwrap());
        append("1").await;
        second.settle().await;
        broker.inner.cut();
        for text in ["2", "3", "4"] {
            append(text).await;
        }
        broker.hidden.store(3, SeqCst);
        broker.inner.mend();
        second.advance(Duration::from_secs(5)).await;
        assert_eq!(told(&mut client).await, [json!("1"), json!("2"), json!({ "gap": 1 }), json!("4")]);
        // Also where the log is read for the first time.
        let third = server(broker.join());
        let mut other = third.connect::<Follower>("follower", ()).await.unwrap();
        third.settle().await;
        append("5").await;
        third.settle().await;
        assert_eq!(told(&mut other).await, ["5"]);
    });
}

/// Follows the feed from a position on.
struct Returning;

impl Handler for Returning {
    type Input = Position;
    type ClientMessage = Value;
    type ServerMessage = Value;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.follow(&FEED, Some(connection.input())).await.map(|_| ())
    }

    async fn on_message(&self, _: &Connection<Self>, _: Value) -> Result {
        Ok(())
    }
}

/// The node that it returns to does not hold all of the log.
#[test]
fn what_is_missing_in_the_past_of_a_log_is_told_too() {
    block_on(async {
        let broker = Picky::new();
        let mut config = Config::default();
        config.log_bytes = 2000;
        let second = Realtime::builder().config(config).handler("returning", Returning).broker(broker.join());
        let (first, second) = (server(broker.clone()), TestServer::new(second.build()));
        let mut positions = Vec::new();
        for value in 1..=12 {
            let position = done(&first, first.realtime().append(&FEED, &json!(value))).await.unwrap();
            positions.push(position);
        }
        broker.hidden.store(5, SeqCst);
        let mut client = second.connect::<Returning>("returning", positions[1].clone()).await.unwrap();
        second.settle().await;
        let mut expected: Vec<_> = (3..=12).map(|value| json!(value)).collect();
        expected[2] = json!({ "gap": 1 });
        assert_eq!(told(&mut client).await, expected);
    });
}

fn draft(number: u64, json: &'static [u8]) -> Draft {
    let entries = vec![Logged { json: Bytes::from_static(json), whole: None, key: None }];
    let body = Body { writer: Writer { node: 7, number }, time: 0, entries };
    let keep = Retention { entries: 100, within: Duration::from_secs(600) };
    Draft { topic: "feed".into(), tag: number, body, keep }
}

#[test]
fn an_entry_that_is_no_json_is_a_gap() {
    for garbage in [&b"{\"type\":"[..], b"", b"\"\xff\"", b"1}{\"type\":\"close\""] {
        block_on(async {
            let other = MemoryBroker::new();
            let server = server(other.join());
            let mut client = server.connect::<Follower>("follower", ()).await.unwrap();
            server.settle().await;
            for (number, json) in (1..).zip([b"1", garbage, b"3"]) {
                other.append(&draft(number, json), None).await.unwrap();
                server.settle().await;
            }
            assert_eq!(told(&mut client).await, [json!(1), json!({ "gap": 1 }), json!(3)], "{garbage:?}");
        });
    }
}

#[test]
fn a_publication_that_no_node_has_written_is_not_delivered() {
    let whole = |json, whole| Publication::new(7, "news".into(), Bytes::from_static(json), whole, Vec::new());
    let publication = |json| whole(json, None);
    let garbled = [
        publication(b"{\"type\":"),
        publication(b"\"\xff\""),
        publication(b"1").with_msgpack(Bytes::from_static(b"\x92\x01")),
        whole(b"1", Some((Kind::Text, Bytes::from_static(b"\xff")))),
    ];
    for garbled in garbled {
        block_on(async {
            let other = MemoryBroker::new();
            let server = server(other.join());
            let mut client = server.connect::<Follower>("follower", ()).await.unwrap();
            server.settle().await;
            other.publish(&[garbled.clone(), publication(b"2")]).await.unwrap();
            server.settle().await;
            assert_eq!(told(&mut client).await, [json!(2)], "{garbled:?}");
            assert_eq!(server.realtime().stats().broker_failures, 1);
        });
    }
}
