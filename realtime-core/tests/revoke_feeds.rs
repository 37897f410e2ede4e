//! The entries of a feed that were queued for a principal do not leave after it was revoked from the feed, and none come
//! after: in subscriptions with frames of their own and with shared ones, and in what a handler follows.

#[path = "support/node.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod node;

use adapter_testing::{TestFrame, block_on};
use node::{Link, Node};
use proptest::prelude::*;
use realtime_core::{
    Accepted, Config, Connection, Context, Endpoint, Feed, Handler, Log, Next, Principal, Realtime, Reject,
    Result, Subscription, Topic, websocket::Opcode,
};
use serde_json::{Value, json};
use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
};

const FEEDS: [Feed<String>; 2] = [Topic::fixed("a").log(Log::last(1000)), Topic::fixed("b").log(Log::last(1000))];
const FOLLOW: Subscription<usize, String> = Subscription::new("follow");
/// Begins with the state, which is large.
const BEGIN: Subscription<usize, String> = Subscription::new("begin");
/// Begins once it is let.
const LATE: Subscription<usize, String> = Subscription::new("late");

struct Reader;

impl Handler for Reader {
    type Input = ();
    type ClientMessage = ();
    type ServerMessage = String;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        for feed in &FEEDS {
            connection.follow(feed, None).await?;
        }
        Ok(())
    }

    async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
        Ok(())
    }
}

async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    let user = context.query().unwrap_or_default().to_owned();
    context.set(Principal(user));
    next.run(context).await
}

fn node(open: &Arc<AtomicBool>) -> Node {
    let mut config = Config::default();
    config.outbox_bytes = 12 * 1024;
    let open = Arc::clone(open);
    let endpoint = Endpoint::new(())
        .feed(FOLLOW, |_, at: usize| async move { Ok(FEEDS[at].follow()) })
        .feed(BEGIN, |_, at: usize| async move {
            Ok(FEEDS[at].follow().or_begin_with(|| async { Ok("s".repeat(2000)) }))
        })
        .feed(LATE, move |_, at: usize| {
            let open = Arc::clone(&open);
            async move {
                poll_fn(|_| if open.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }).await;
                Ok(FEEDS[at].follow())
            }
        });
    let realtime = Realtime::builder().config(config).manual_time().middleware(login);
    Node::new(realtime.endpoint("feeds", endpoint).handler("reader", Reader).build())
}

fn ann() -> Principal {
    Principal("ann".into())
}

/// The ways in which a client follows both feeds: the last is a handler's.
const WAYS: usize = 4;

fn connect(node: &mut Node, user: &str, way: usize) -> Link {
    if way == 3 {
        return node.connect(&format!("reader?{user}"));
    }
    let mut link = node.connect(&format!("feeds?{user}"));
    for feed in 0..FEEDS.len() {
        let path = if way == 2 { "begin" } else { "follow" };
        subscribe(&mut link, path, feed, &json!({ "shared": way == 1 }));
    }
    link
}

fn subscribe(link: &mut Link, path: &str, feed: usize, more: &Value) {
    let mut packet = json!({ "type": "subscribe", "id": feed.to_string(), "path": path, "input": feed });
    packet.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    link.send(&TestFrame::new(Opcode::Text, packet.to_string()));
}

fn append(node: &Node, feed: usize, text: &str) {
    block_on(node.realtime.append(&FEEDS[feed], &text.to_owned())).unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append { feed: usize, bytes: usize },
    Settle,
    Read { way: usize, bytes: usize },
    RevokeFrom(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..FEEDS.len(), 0..1500_usize).prop_map(|(feed, bytes)| Step::Append { feed, bytes }),
        6 => Just(Step::Settle),
        8 => (0..WAYS, 0..3000_usize).prop_map(|(way, bytes)| Step::Read { way, bytes }),
        1 => (0..FEEDS.len()).prop_map(Step::RevokeFrom),
    ]
}

/// The entries of one feed that a client was sent.
#[derive(Debug, Default)]
struct Told {
    /// The numbers of the entries, and where their frames begin.
    entries: Vec<(u64, usize)>,
    error: Option<Value>,
}

/// Reads all that comes; returns it by feed, and whether the connection was closed.
fn read(link: &mut Link) -> ([Told; 2], bool) {
    let mut told: [Told; 2] = Default::default();
    let (mut at, mut closed) = (0, false);
    for frame in link.take() {
        let begins = at;
        let payload = frame.payload.len();
        at += payload + if payload < 126 { 2 } else { 4 };
        assert!(!closed, "{frame:?} behind a close");
        if let Some(close) = frame.as_close() {
            assert_eq!(close.0, 3000);
            closed = true;
            continue;
        }
        let packet: Value = serde_json::from_slice(&frame.payload).unwrap();
        let named = |name: &str| ["a", "b"].iter().position(|feed| *feed == name);
        let by_id = packet["id"].as_str().and_then(|id| id.parse().ok());
        let Some(feed) = by_id.or_else(|| named(packet["topic"].as_str()?)) else { continue };
        let told: &mut Told = &mut told[feed];
        assert!(told.error.is_none(), "{packet} behind the end");
        match packet["type"].as_str().unwrap() {
            "data" | "message" => told.entries.push((packet["offset"].as_u64().unwrap(), begins)),
            "error" => told.error = Some(packet["error"].clone()),
            "subscribed" => {}
            _ => panic!("{packet}"),
        }
    }
    (told, closed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_a_feed_leaves_after_it_is_revoked(steps in proptest::collection::vec(step(), 1..60)) {
        play(&steps);
    }
}

fn play(steps: &[Step]) {
    let mut node = node(&Arc::default());
    let mut links: Vec<_> = (0..WAYS).map(|way| connect(&mut node, "ann", way)).collect();
    let mut others: Vec<_> = (0..WAYS).map(|way| connect(&mut node, "bob", way)).collect();
    node.settle().unwrap();
    links.iter().for_each(|link| link.read(Some(0)));
    let mut appended = [0; 2];
    let mut revoked: [Option<Vec<usize>>; 2] = Default::default();
    for step in steps {
        match *step {
            Step::Append { feed, bytes } => {
                append(&node, feed, &"x".repeat(bytes));
                appended[feed] += 1;
            }
            Step::Settle => node.settle().unwrap(),
            Step::Read { way, bytes } => links[way].read(Some(bytes)),
            Step::RevokeFrom(feed) => {
                assert_eq!(node.realtime.revoke_from(&ann(), &FEEDS[feed]), WAYS);
                revoked[feed].get_or_insert_with(|| links.iter().map(Link::written).collect());
            }
        }
    }
    for (feed, appended) in appended.iter_mut().enumerate() {
        append(&node, feed, "last");
        *appended += 1;
    }
    links.iter().for_each(|link| link.read(None));
    node.settle().unwrap();
    for link in &mut others {
        let (told, closed) = read(link);
        assert!(!closed);
        for (feed, told) in told.into_iter().enumerate() {
            assert!(told.error.is_none() && told.entries.last().unwrap().0 == appended[feed], "{told:?}");
        }
    }
    for (way, link) in links.iter_mut().enumerate() {
        let (told, closed) = read(link);
        // Where something waited, which is dropped with the connection.
        assert!(!closed || revoked.iter().any(Option::is_some));
        for (feed, mut told) in told.into_iter().enumerate() {
            let left = revoked[feed].as_ref().map(|left| left[way]);
            assert!(
                told.entries.iter().all(|(_, begins)| left.is_none_or(|left| *begins < left)),
                "{left:?} {told:?}"
            );
            // The state has the number of the beginning.
            told.entries.retain(|(number, _)| *number > 0);
            assert!((1..).zip(&told.entries).all(|(number, entry)| entry.0 == number), "{told:?}");
            if closed {
                continue;
            }
            if left.is_none() {
                assert!(told.error.is_none() && told.entries.len() as u64 == appended[feed], "{told:?}");
            } else if way != 3 {
                assert_eq!(told.error.unwrap()["code"], "UNAUTHENTICATED");
            }
        }
    }
}

/// The application let it in before the revocation.
#[test]
fn what_begins_after_the_revocation_and_was_asked_for_before_ends() {
    let open = Arc::default();
    let mut node = node(&open);
    append(&node, 0, "old");
    let mut link = node.connect("feeds?ann");
    let epoch = block_on(node.realtime.position(&FEEDS[0])).unwrap().epoch;
    let from_the_start = json!({ "after": { "epoch": epoch, "offset": 0 } });
    subscribe(&mut link, "late", 0, &from_the_start);
    subscribe(&mut link, "late", 1, &json!({}));
    node.settle().unwrap();
    node.realtime.revoke_from(&ann(), &FEEDS[0]);
    open.store(true, Relaxed);
    // It is polled when it is granted credit.
    for id in ["0", "1"] {
        link.send(&TestFrame::new(Opcode::Text, json!({ "type": "credit", "id": id, "more": 1 }).to_string()));
    }
    node.settle().unwrap();
    let ([told, of_another], _) = read(&mut link);
    assert!(told.entries.is_empty(), "{told:?}");
    assert_eq!(told.error.unwrap()["message"], "revoked");
    assert!(of_another.error.is_none());
    // Whoever the application lets in again is served.
    subscribe(&mut link, "follow", 0, &from_the_start);
    node.settle().unwrap();
    let ([told, _], _) = read(&mut link);
    assert_eq!(told.entries.len(), 1);
}
