//! Nodes that share their topics.

use adapter_testing::{TestServer, block_on};
use bytes::Bytes;
use realtime_core::{
    Code, Config, Connection, Endpoint, Error, Handler, MemoryBroker, Message, Realtime, RealtimeBuilder, Result,
    Subscription, Topic,
    broker::{Arrival, Broker, FollowChange, Missed, Publication, Source, Untaken},
};
use serde::Serialize;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

const NEWS: Topic<Message> = Topic::fixed("news");

/// Subscribes to the news, and publishes what it is told.
struct Desk;

impl Handler for Desk {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&NEWS)
    }

    async fn on_message(&self, connection: &Connection<Self>, message: Message) -> Result {
        connection.to(&NEWS).others().send(&message)
    }
}

fn node() -> RealtimeBuilder {
    Realtime::builder().handler("json", Desk).handler("plain", Desk.plain())
}

/// Bytes stay bytes on their way to another node, and what others bring as JSON alone is told too.
#[test]
fn a_member_on_another_node_gets_its_form() {
    block_on(async {
        let broker = MemoryBroker::new();
        let (third, second) = (broker.join(), TestServer::new(node().broker(broker.join()).build()));
        let first = TestServer::new(node().broker(broker).build());
        let mut json = second.connect::<Desk>("json", ()).await.unwrap();
        let request = || second.request("json").subprotocol("realtime.v1.msgpack");
        let mut messagepack = request().connect::<Desk>().await.unwrap();
        assert!(messagepack.recv_frame().await.is_ok(), "the welcome");
        // The link runs from the first connection on.
        let _ann = first.connect::<Desk>("json", ()).await.unwrap();

        let bytes = Message::Binary(Bytes::from_static(b"\xff\0"));
        first.realtime().to(&NEWS).send(&bytes).unwrap();
        first.settle().await;
        assert_eq!(
            messagepack.recv_frame().await.unwrap().payload,
            b"\x82\xa4type\xa7message\xa5value\xc4\x02\xff\0"
        );
        assert_eq!(json.recv_frame().await.unwrap().as_text(), r#"{"type":"message","value":[255,0]}"#);

        let publication = Publication::new(7, "news".into(), Bytes::from_static(b"[255,0]"), None, Vec::new());
        third.publish(std::slice::from_ref(&publication)).await.unwrap();
        second.settle().await;
        assert_eq!(messagepack.recv().await, Ok(bytes));
        third.publish(&[publication.with_msgpack(Bytes::from_static(b"\xa2hi"))]).await.unwrap();
        second.settle().await;
        assert_eq!(messagepack.recv().await, Ok("hi".into()));
    });
}

#[test]
fn a_publication_reaches_the_members_on_all_nodes() {
    block_on(async {
        let broker = MemoryBroker::new();
        let second = TestServer::new(node().broker(broker.join()).build());
        let first = TestServer::new(node().broker(broker).build());
        let mut ann = first.connect::<Desk>("json", ()).await.unwrap();
        let mut bob = second.connect::<Desk>("json", ()).await.unwrap();
        let mut cleo = second.connect::<Desk>("plain", ()).await.unwrap();

        ann.send_text(r#"{"type":"message","value":"hello"}"#).await;
        assert_eq!(bob.recv().await, Ok("hello".into()));
        // A plain member is sent the text itself, and not its JSON.
        assert_eq!(cleo.recv_frame().await.unwrap().as_text(), "hello");
        assert_eq!(ann.try_recv().await, Ok(None), "the one who publishes is left out");

        first.realtime().to(&NEWS).send(&Message::Binary(Bytes::from_static(b"\xff"))).unwrap();
        first.settle().await;
        let frame = cleo.recv_frame().await.unwrap();
        assert_eq!((frame.opcode, frame.payload), (realtime_core::websocket::Opcode::Binary, vec![0xff]));
    });
}

/// A subscription to a topic hears the other nodes as a member does, with or without a member beside it.
#[test]
fn a_subscription_to_a_topic_hears_the_other_nodes() {
    const HEAR: Subscription<(), Message> = Subscription::new("hear");
    let node = || node().endpoint("api", Endpoint::new(()).topic(HEAR, |_, ()| async { Ok(NEWS) }));
    block_on(async {
        let broker = MemoryBroker::new();
        let second = TestServer::new(node().broker(broker.join()).build());
        let first = TestServer::new(node().broker(broker).build());
        let mut bob = second.open("api").await.unwrap();
        let mut heard = bob.subscribe(HEAR, ()).await;
        second.settle().await;
        first.realtime().to(&NEWS).send(&"hello".into()).unwrap();
        first.settle().await;
        assert_eq!(heard.next().await.unwrap(), "hello".into());
    });
}

#[test]
fn publications_of_one_node_keep_their_order() {
    block_on(async {
        let broker = MemoryBroker::new();
        let second = TestServer::new(node().broker(broker.join()).build());
        let first = TestServer::new(node().broker(broker).build());
        let mut bob = second.connect::<Desk>("json", ()).await.unwrap();
        let _ann = first.connect::<Desk>("json", ()).await.unwrap();
        for number in 0..100 {
            first.realtime().to(&NEWS).send(&Message::Text(number.to_string())).unwrap();
        }
        first.settle().await;
        for number in 0..100 {
            assert_eq!(bob.recv().await, Ok(Message::Text(number.to_string())));
        }
    });
}

/// Answers as it is told, one after the other, and then takes everything.
#[derive(Clone, Debug, Default)]
struct Flaky {
    answers: Arc<Mutex<Vec<Answer>>>,
    /// The sizes of the batches that it was handed.
    handed: Arc<Mutex<Vec<usize>>>,
    taken: Arc<Mutex<Vec<String>>>,
    followed: Arc<Mutex<Vec<(String, bool)>>>,
    /// Changes of what it brings that fail before one does not.
    deaf: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    taken: usize,
    unsure: usize,
    retryable: bool,
}

const DOWN: Answer = Answer { taken: 0, unsure: 0, retryable: true };

impl Flaky {
    fn new(answers: &[Answer]) -> Self {
        let flaky = Self::default();
        flaky.answers.lock().unwrap().extend(answers.iter().rev());
        flaky
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

/// What the nodes tell each other is not counted.
fn is_of_the_application(topic: &str) -> bool {
    !topic.starts_with('\u{1}')
}

#[realtime_core::async_trait]
impl Broker for Flaky {
    async fn follow(&self, changes: &[FollowChange]) -> Result {
        if self.deaf.load(SeqCst) > 0 {
            self.deaf.fetch_sub(1, SeqCst);
            return Err(Error::unavailable("the broker is down"));
        }
        assert!(changes.iter().all(|change| change.of == Source::Topic));
        let changes = changes.iter().filter(|change| is_of_the_application(&change.topic));
        self.followed.lock().unwrap().extend(changes.map(|change| (change.topic.clone(), change.wanted)));
        Ok(())
    }

    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        let batch: Vec<_> = batch.iter().filter(|one| is_of_the_application(&one.topic)).collect();
        if batch.is_empty() {
            return Ok(());
        }
        self.handed.lock().unwrap().push(batch.len());
        let answer = self.answers.lock().unwrap().pop();
        let count = answer.map_or(batch.len(), |answer| answer.taken);
        let text = |publication: &&Publication| String::from_utf8(publication.json.to_vec()).unwrap();
        self.taken.lock().unwrap().extend(batch[..count].iter().map(text));
        let Some(Answer { taken, unsure, retryable }) = answer else { return Ok(()) };
        let error = Error::new(Code::UNAVAILABLE, "the broker is down");
        Err(Untaken { taken, unsure, error: if retryable { error.with_retry() } else { error } })
    }

    async fn receive(&self, _: &mut Vec<Arrival>) -> Result {
        std::future::pending().await
    }
}

#[test]
fn a_broker_that_is_down_is_tried_again() {
    block_on(async {
        let broker = Flaky::new(&[DOWN; 5]);
        let server = TestServer::new(node().broker(broker.clone()).build());
        let _ann = server.connect::<Desk>("json", ()).await.unwrap();
        server.realtime().to(&NEWS).send(&"hello".into()).unwrap();
        server.settle().await;
        assert!(broker.taken().is_empty());
        server.advance(Duration::from_secs(5)).await;
        assert_eq!(broker.taken(), [r#""hello""#]);
        assert_eq!(server.realtime().stats().broker_failures, 0);
    });
}

#[test]
fn publications_are_given_up_in_the_end() {
    block_on(async {
        let broker = Flaky::new(&[DOWN; 30]);
        let server = TestServer::new(node().broker(broker.clone()).build());
        let _ann = server.connect::<Desk>("json", ()).await.unwrap();
        server.realtime().to(&NEWS).send(&"lost".into()).unwrap();
        server.advance(Duration::from_secs(29)).await;
        assert_eq!(server.realtime().stats().broker_failures, 1);
        server.realtime().to(&NEWS).send(&"taken".into()).unwrap();
        server.settle().await;
        assert_eq!(broker.taken(), [r#""taken""#]);
        assert_eq!(server.realtime().stats().memory.broker, 0);
    });
}

#[test]
fn publications_that_are_refused_for_good_are_counted() {
    block_on(async {
        let broker = Flaky::new(&[Answer { retryable: false, ..DOWN }]);
        let server = TestServer::new(node().broker(broker.clone()).build());
        let _ann = server.connect::<Desk>("json", ()).await.unwrap();
        server.realtime().to(&NEWS).send(&"lost".into()).unwrap();
        server.settle().await;
        server.realtime().to(&NEWS).send(&"taken".into()).unwrap();
        server.settle().await;
        assert_eq!(broker.taken(), [r#""taken""#]);
        assert_eq!(server.realtime().stats().broker_failures, 1);
    });
}

/// A publication arrives at most once.
#[test]
fn what_may_have_been_taken_is_not_handed_over_again() {
    block_on(async {
        let broker = Flaky::new(&[Answer { taken: 1, unsure: 2, retryable: true }]);
        let server = TestServer::new(node().broker(broker.clone()).build());
        // The node's first beat is on its way.
        server.settle().await;
        for text in ["taken", "unsure", "unsure too", "not taken", "nor this"] {
            server.realtime().to(&NEWS).send(&text.into()).unwrap();
        }
        let _ann = server.connect::<Desk>("json", ()).await.unwrap();
        server.settle().await;
        assert_eq!(broker.taken(), [r#""taken""#]);
        server.advance(Duration::from_secs(1)).await;
        assert_eq!(broker.taken(), [r#""taken""#, r#""not taken""#, r#""nor this""#]);
        assert_eq!(*broker.handed.lock().unwrap(), [5, 2]);
        assert_eq!(server.realtime().stats().broker_failures, 2);
    });
}

#[test]
fn publications_that_wait_are_handed_over_together() {
    block_on(async {
        let broker = Flaky::default();
        let server = TestServer::new(node().broker(broker.clone()).build());
        // The node's first beat is on its way.
        server.settle().await;
        (0..300).for_each(|_| server.realtime().to(&NEWS).send(&"x".into()).unwrap());
        let _ann = server.connect::<Desk>("json", ()).await.unwrap();
        server.settle().await;
        assert_eq!(*broker.handed.lock().unwrap(), [256, 44]);
    });
}

#[test]
fn a_node_is_brought_the_topics_that_have_members_here() {
    block_on(async {
        let broker = Flaky::default();
        let server = TestServer::new(node().broker(broker.clone()).build());
        let ann = server.connect::<Desk>("json", ()).await.unwrap();
        let bob = server.connect::<Desk>("plain", ()).await.unwrap();
        let followed = || broker.followed.lock().unwrap().clone();
        assert_eq!(followed(), [("news".into(), true)]);
        drop(ann);
        server.advance(Duration::from_secs(60)).await;
        assert_eq!(followed().len(), 1);
        // The last one has left; the next one comes back soon.
        drop(bob);
        server.advance(Duration::from_secs(4)).await;
        let ann = server.connect::<Desk>("json", ()).await.unwrap();
        server.advance(Duration::from_secs(10)).await;
        assert_eq!(followed().len(), 1);
        drop(ann);
        server.advance(Duration::from_secs(6)).await;
        assert_eq!(followed(), [("news".into(), true), ("news".into(), false)]);
    });
}

#[test]
fn a_broker_is_asked_for_a_topic_until_it_has_confirmed() {
    block_on(async {
        let broker = Flaky { deaf: Arc::new(3.into()), ..Flaky::default() };
        let server = TestServer::new(node().broker(broker.clone()).build());
        let _ann = server.connect::<Desk>("json", ()).await.unwrap();
        server.advance(Duration::from_secs(2)).await;
        assert!(broker.followed.lock().unwrap().is_empty());
        server.advance(Duration::from_secs(1)).await;
        assert_eq!(*broker.followed.lock().unwrap(), [("news".into(), true)]);
        assert_eq!(server.realtime().stats().broker_failures, 3);
    });
}

#[test]
fn a_node_that_never_hands_over_refuses_in_the_end() {
    // Nobody has connected: there is no task that talks to the broker.
    let realtime = node().broker(Flaky::default()).build();
    let refused = (0..20_000).map(|_| realtime.to(&NEWS).send(&"x".into())).find_map(Result::err);
    let error = refused.expect("what waits for the broker has a bound");
    assert_eq!((error.code().as_str(), error.is_retryable()), ("UNAVAILABLE", true));
}

#[test]
fn what_waits_for_the_broker_is_bounded_in_bytes() {
    let mut config = Config::default();
    config.broker_queue_bytes = 100_000;
    let realtime = node().config(config).broker(Flaky::default()).build();
    let message = Message::from("x".repeat(1000));
    let taken = (0..1000).take_while(|_| realtime.to(&NEWS).send(&message).is_ok()).count();
    // Each is there as JSON, as MessagePack and as it is.
    assert!((20..=33).contains(&taken), "{taken}");
    assert_eq!(realtime.to(&NEWS).send(&message).unwrap_err().code().as_str(), "UNAVAILABLE");
    let error = realtime.to(&NEWS).send(&Message::from("x".repeat(100_000))).unwrap_err();
    assert_eq!((error.code().as_str(), error.is_retryable()), ("INVALID_ARGUMENT", false));
}

#[test]
fn a_node_that_takes_nothing_is_told_what_it_missed() {
    block_on(async {
        let (broker, node) = (MemoryBroker::new(), Publication::new);
        let other = broker.join();
        let change = FollowChange { topic: "news".into(), of: Source::Topic, wanted: true };
        broker.follow(&[change]).await.unwrap();
        let publication = [node(1, "news".into(), Bytes::from(vec![b'7'; 1024 * 1024]), None, Vec::new())];
        for _ in 0..100 {
            other.publish(&publication).await.unwrap();
        }
        let mut arrivals = Vec::new();
        broker.receive(&mut arrivals).await.unwrap();
        // It is told that there was more.
        assert_eq!(arrivals.len(), 64);
        assert_eq!(arrivals.pop(), Some(Arrival::Missed(Missed::All)));
        other.publish(&publication).await.unwrap();
        broker.receive(&mut arrivals).await.unwrap();
        assert_eq!(arrivals.len(), 64);
    });
}

/// Panics now and then: when it is polled, when its future is dropped, and when it is to receive.
#[derive(Clone, Debug, Default)]
struct Shaky {
    published: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
}

struct PanicsDropped(bool);

impl Drop for PanicsDropped {
    fn drop(&mut self) {
        assert!(!self.0, "a broker panics as it was told");
    }
}

#[realtime_core::async_trait]
impl Broker for Shaky {
    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        if !batch.iter().any(|one| is_of_the_application(&one.topic)) {
            return Ok(());
        }
        let count = self.published.fetch_add(1, SeqCst);
        let _dropped = PanicsDropped(count == 1);
        assert!(count != 0, "a broker panics as it was told");
        self.taken.fetch_add(1, SeqCst);
        Ok(())
    }

    async fn receive(&self, into: &mut Vec<Arrival>) -> Result {
        match self.received.fetch_add(1, SeqCst) {
            0 => panic!("a broker panics as it was told"),
            1 => {
                let publication = Publication::new(7, "news".into(), "\"received\"".into(), None, Vec::new());
                into.push(Arrival::Publication(publication));
                Ok(())
            }
            _ => std::future::pending().await,
        }
    }
}

#[test]
fn a_broker_that_panics_is_called_again() {
    block_on(async {
        let broker = Shaky::default();
        let server = TestServer::new(node().broker(broker.clone()).build());
        let mut ann = server.connect::<Desk>("json", ()).await.unwrap();
        for _ in 0..4 {
            server.realtime().to(&NEWS).send(&"x".into()).unwrap();
            server.settle().await;
        }
        // The first was not taken, and the second was when its future panicked.
        assert_eq!((broker.published.load(SeqCst), broker.taken.load(SeqCst)), (4, 3));
        server.advance(Duration::from_secs(2)).await;
        assert_eq!(broker.received.load(SeqCst), 3);
        assert_eq!(server.realtime().stats().broker_failures, 3);
        for _ in 0..4 {
            ann.recv().await.unwrap();
        }
        assert_eq!(ann.recv().await.unwrap(), "received".into());
    });
}

/// Sends what it is handed, and then does not say so.
#[derive(Clone, Debug)]
struct Hasty {
    inner: Arc<MemoryBroker>,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Panics,
    /// An error of what comes behind the sending, passed on by `?`.
    Fails,
}

fn confirm() -> Result {
    Err(Error::unavailable("the answer was lost"))
}

#[realtime_core::async_trait]
impl Broker for Hasty {
    async fn follow(&self, changes: &[FollowChange]) -> Result {
        self.inner.follow(changes).await
    }

    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        self.inner.publish(batch).await?;
        if !batch.iter().any(|one| is_of_the_application(&one.topic)) {
            return Ok(());
        }
        match self.end {
            End::Panics => panic!("a broker panics as it was told"),
            End::Fails => Ok(confirm()?),
        }
    }

    async fn receive(&self, into: &mut Vec<Arrival>) -> Result {
        self.inner.receive(into).await
    }
}

/// A publication arrives at most once.
#[test]
fn what_is_sent_by_a_broker_that_does_not_say_so_is_not_handed_over_again() {
    for end in [End::Panics, End::Fails] {
        block_on(async {
            let broker = MemoryBroker::new();
            let second = TestServer::new(node().broker(broker.join()).build());
            let first = TestServer::new(node().broker(Hasty { inner: Arc::new(broker), end }).build());
            let mut bob = second.connect::<Desk>("json", ()).await.unwrap();
            // The node's first beat is on its way.
            first.settle().await;
            for text in ["1", "2", "3"] {
                first.realtime().to(&NEWS).send(&text.into()).unwrap();
            }
            first.advance(Duration::from_secs(3)).await;
            second.settle().await;
            for text in ["1", "2", "3"] {
                assert_eq!(bob.recv().await, Ok(text.into()), "{end:?}");
            }
            assert_eq!(bob.try_recv().await, Ok(None), "{end:?}");
            assert_eq!(first.realtime().stats().broker_failures, 3, "{end:?}");
            assert_eq!(first.realtime().stats().memory.broker, 0, "{end:?}");
        });
    }
}

#[test]
fn what_does_not_serialise_is_sent_to_nobody() {
    struct Bad;
    impl Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    block_on(async {
        let server = TestServer::new(node().build());
        let mut ann = server.connect::<Desk>("json", ()).await.unwrap();
        let error = server.realtime().to(&Topic::new("news")).send(&Bad).unwrap_err();
        assert_eq!(error.code().as_str(), "INTERNAL");
        assert_eq!(ann.try_recv().await, Ok(None));
    });
}
