//! Nothing queued for a principal leaves after it was revoked, whatever the client had read by then.

#[path = "support/node.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod node;

use adapter_testing::TestFrame;
use node::Node;
use proptest::prelude::*;
use realtime_core::{
    Accepted, CloseCode, Config, Connection, Context, Handler, Message, Next, Overflow, Principal, Realtime,
    Reject, Result, Topic, websocket::Opcode,
};

const COUNT: usize = 3;

const TOPICS: [Topic<Message>; COUNT] = [
    Topic::fixed("a"),
    Topic::fixed("b"),
    // Held back for a client that is behind.
    Topic::fixed("kept").with_overflow(Overflow::drop_oldest(3)),
];

struct News;

impl Handler for News {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        TOPICS.iter().try_for_each(|topic| connection.subscribe(topic))
    }

    async fn on_message(&self, _: &Connection<Self>, _: Message) -> Result {
        Ok(())
    }
}

async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    let user = context.query().unwrap_or_default().to_owned();
    context.set(Principal(user));
    next.run(context).await
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish { topic: usize, bytes: usize },
    Ping,
    Settle,
    Read(usize),
    RevokeFrom(usize),
    Revoke,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..COUNT, 0..1500_usize).prop_map(|(topic, bytes)| Step::Publish { topic, bytes }),
        2 => Just(Step::Ping),
        6 => Just(Step::Settle),
        4 => (0..3000_usize).prop_map(Step::Read),
        1 => (0..COUNT).prop_map(Step::RevokeFrom),
        1 => Just(Step::Revoke),
    ]
}

/// The bytes that had left when a topic, or all, was revoked.
#[derive(Default)]
struct Revoked {
    topics: [Option<usize>; COUNT],
    all: Option<usize>,
}

/// The steps, and then the client reads all that comes. Gives the frames with the places where they begin.
fn play(steps: &[Step]) -> (Vec<(usize, TestFrame)>, Vec<String>, Revoked) {
    let mut config = Config::default();
    config.outbox_bytes = 12 * 1024;
    let realtime =
        Realtime::builder().config(config).manual_time().middleware(login).handler("news", News.plain());
    let mut node = Node::new(realtime.build());
    let (mut ann, mut bob) = (node.connect("news?ann"), node.connect("news?bob"));
    ann.read(Some(0));
    node.settle().unwrap();
    let (mut published, mut revoked) = (Vec::new(), Revoked::default());
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Publish { topic, bytes } => {
                let text = format!("{topic}:{number}:{}", "x".repeat(bytes));
                node.realtime.to(&TOPICS[topic]).send(&Message::from(text.clone())).unwrap();
                published.push(text);
            }
            Step::Ping => ann.send(&TestFrame::new(Opcode::Ping, "ping")),
            Step::Settle => node.settle().unwrap(),
            Step::Read(bytes) => ann.read(Some(bytes)),
            Step::RevokeFrom(topic) => {
                node.realtime.revoke_from(&Principal("ann".into()), &TOPICS[topic]);
                revoked.topics[topic].get_or_insert(ann.written());
            }
            Step::Revoke => {
                // It may have been closed before, as a slow consumer or because something waited.
                assert!(node.realtime.revoke(&Principal("ann".into())) <= 1);
                revoked.all.get_or_insert(ann.written());
                break;
            }
        }
    }
    ann.read(None);
    node.settle().unwrap();
    let others = bob.take();
    if others.iter().all(|frame| frame.opcode == Opcode::Text) {
        let others = others.into_iter().map(|frame| String::from_utf8(frame.payload).unwrap());
        let others: Vec<_> = others.filter(|text| !is_kept(text)).collect();
        let expected: Vec<_> = published.iter().filter(|text| !is_kept(text)).collect();
        assert!(others.iter().eq(expected), "others have to do with it");
    }
    let mut at = 0;
    let frames = ann.take().into_iter().map(|frame| {
        let begins = at;
        at += sent_bytes(&frame);
        (begins, frame)
    });
    (frames.collect(), published, revoked)
}

/// The bytes of a frame of the server, which is not masked.
fn sent_bytes(frame: &TestFrame) -> usize {
    let payload = frame.payload.len();
    payload + if payload < 126 { 2 } else { 4 }
}

fn topic_of(text: &str) -> usize {
    text[..1].parse().unwrap()
}

/// It is of the topic whose publications may be held back, and dropped.
fn is_kept(text: &str) -> bool {
    topic_of(text) == 2
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_leaves_after_it_is_revoked(steps in proptest::collection::vec(step(), 1..40)) {
        let (frames, published, revoked) = play(&steps);
        let mut came = Vec::new();
        let mut closed = None;
        for (begins, frame) in frames {
            prop_assert!(closed.is_none(), "{:?} behind a close", frame);
            if let Some(close) = frame.as_close() {
                closed = Some(close);
            } else if frame.opcode == Opcode::Text {
                let text = String::from_utf8(frame.payload).unwrap();
                let topic = topic_of(&text);
                for left in [revoked.topics[topic], revoked.all].into_iter().flatten() {
                    prop_assert!(begins < left, "{:.9} left at {}, revoked at {}", text, begins, left);
                }
                came.push(text);
            }
        }
        match (revoked.all, closed) {
            // Unless it was closed as a slow consumer before.
            (Some(_), closed) => prop_assert!(closed.is_some_and(|(code, _)| code == 3000 || code == 1013)),
            // All that was not revoked has come, in its order, but for what was held back too long.
            (None, None) => {
                let counts = |text: &&String| !is_kept(text) && revoked.topics[topic_of(text)].is_none();
                let (came, published) = (came.iter().filter(counts), published.iter().filter(counts));
                prop_assert!(came.eq(published));
            }
            // What waited when a topic was revoked is dropped with the rest.
            (None, Some((3000, _))) => prop_assert!(revoked.topics.iter().any(Option::is_some)),
            (None, Some((code, _))) => prop_assert_eq!(code, 1013),
        }
    }
}

/// Of the close frame of a drain, or of an application, any part may have left when its client is revoked.
#[test]
fn a_close_that_has_begun_to_leave_is_the_only_one() {
    let close = 2 + 2 + "going away".len();
    for from_topic in [true, false] {
        for waiting in [0, 100] {
            for written in 0..=close + waiting {
                for ping in [false, true] {
                    close_and_revoke(from_topic, waiting, written, ping);
                }
            }
        }
    }
}

fn close_and_revoke(from_topic: bool, waiting: usize, written: usize, ping: bool) {
    let realtime = Realtime::builder().manual_time().middleware(login).handler("news", News.plain());
    let mut node = Node::new(realtime.build());
    let mut link = node.connect("news?ann");
    node.settle().unwrap();
    link.read(Some(written));
    if waiting > 0 {
        node.realtime.to(&TOPICS[0]).send(&Message::from("x".repeat(waiting - 2))).unwrap();
    }
    link.any.close(CloseCode::GOING_AWAY, "going away");
    node.settle().unwrap();
    if ping {
        link.send(&TestFrame::new(Opcode::Ping, ""));
        node.settle().unwrap();
    }
    match from_topic {
        true => node.realtime.revoke_from(&Principal("ann".into()), &TOPICS[0]),
        false => node.realtime.revoke(&Principal("ann".into())),
    };
    link.read(None);
    node.settle().unwrap();
    let frames = link.take();
    let closes: Vec<_> = frames.iter().filter_map(TestFrame::as_close).collect();
    assert_eq!(closes.len(), 1, "{written} of {waiting} bytes and a close had left: {frames:?}");
    assert!(frames.last().unwrap().as_close().is_some(), "{frames:?}");
    // One that has not begun says why.
    let code = if from_topic || written > waiting { 1001 } else { 3000 };
    assert_eq!(closes[0].0, code, "{written} of {waiting} bytes and a close had left");
}
