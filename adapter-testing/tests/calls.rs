//! Calls, subscriptions and events of the client in memory, in both forms of the protocol.

use adapter_testing::{Ended, TestCallOptions, TestClient, TestServer, TestSubscribeOptions, block_on};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, pending},
};
use realtime_core::{
    Call, Connection, Endpoint, Error, Event, Gap, Handler, Item, Overflow, Position, Procedure, Realtime, Result,
    Subscription, Topic,
};
use serde_json::json;
use std::time::Duration;

const ECHO: Procedure<Bytes, Bytes> = Procedure::new("echo");
const FAIL: Procedure<(), ()> = Procedure::new("fail");
const WORK: Procedure<u32, u32> = Procedure::new("work");
const HANG: Procedure<(), ()> = Procedure::new("hang");
const ASK: Procedure<String, bool> = Procedure::new("ask");
const CONFIRM: Procedure<String, bool> = Procedure::new("confirm").with_timeout(Duration::from_secs(5));
const SAY: Procedure<String, ()> = Procedure::new("say");
const COUNT: Subscription<u32, u32> = Subscription::new("count");
const NUMBERED: Subscription<(), u64> = Subscription::new("numbered");
const NEWEST: Subscription<u32, u32> = Subscription::new("newest").with_overflow(Overflow::drop_oldest(2));
const SAID: Event<String> = Event::new("said");
const ROOM: Topic<String> = Topic::fixed("room");

fn api() -> Endpoint<()> {
    Endpoint::new(())
        .on_open(|connected| async move { connected.subscribe(&ROOM.with_overflow(Overflow::drop_oldest(1))) })
        .procedure(ECHO, |_, bytes: Bytes| async move { Ok(bytes) })
        .procedure(FAIL, |_, ()| async move {
            let error = Error::new("OUT_OF_TEA", "come back later").with_details(json!({ "leaves": 0 }));
            Err::<(), _>(error.with_retry_after(Duration::from_millis(1500)))
        })
        .procedure(WORK, |call: Call<()>, steps: u32| async move {
            (1..=steps).try_for_each(|step| call.progress(&step))?;
            Ok(steps)
        })
        .procedure(HANG, |_, ()| async move { std::future::pending::<Result<()>>().await })
        .procedure(ASK, |call: Call<()>, question| async move { call.connection()?.call(CONFIRM, question).await })
        .procedure(SAY, |call: Call<()>, text| async move { call.to(&ROOM).others().emit(SAID, &text) })
        .on(SAID, |call: Call<()>, text| async move { call.to(&ROOM).others().emit(SAID, &text) })
        .subscription(COUNT, |_, to: u32| async move { Ok(stream::iter(0..to)) })
        .subscription(NUMBERED, |call: Call<()>, ()| async move {
            let from = call.after().map_or(0, |position| position.offset + 1);
            let item = move |offset| Item::new(offset * 10).with_position(Position::new("e", offset));
            let missing = Item::new(1000).with_gap(Gap::new(7, "lost").with_range(50, 56));
            Ok(stream::iter((from..5).map(item).chain([missing])))
        })
        .subscription(NEWEST, |_, to: u32| async move { Ok(stream::iter(0..to).chain(pending())) })
}

/// A handler whose messages are independent of the calls.
struct Shout;

impl Handler for Shout {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, connection: &Connection<Self>, text: String) -> Result {
        connection.send(text.to_uppercase())?;
        Ok(())
    }
}

/// Runs a test in each format, with a client of an endpoint and a handler.
fn in_both_forms<R: Future<Output = ()>>(test: impl Fn(TestServer, TestClient<Shout>) -> R) {
    for form in ["realtime.v1.json", "realtime.v1.msgpack"] {
        block_on(async {
            let realtime = Realtime::builder().endpoint("api", api()).handler("api", Shout).build();
            let server = TestServer::new(realtime);
            let client = server.request("api").subprotocol(form).connect().await.expect("it is let in");
            test(server, client).await;
        });
    }
}

#[test]
fn a_call_gives_its_output_or_its_error() {
    in_both_forms(|_, mut ann| async move {
        let bytes = Bytes::from_static(b"\xff\0");
        assert_eq!(ann.call(ECHO, bytes.clone()).await, Ok(bytes));
        let Err(Ended::Error(error)) = ann.call(FAIL, ()).await else { panic!("it fails") };
        assert_eq!((&*error.code, &*error.message), ("OUT_OF_TEA", "come back later"));
        assert_eq!(error.details, json!({ "leaves": 0 }));
        assert_eq!((error.retryable, error.retry_after), (true, Some(Duration::from_millis(1500))));
        let unknown: Procedure<(), ()> = Procedure::new("unknown");
        assert_eq!(ann.call(unknown, ()).await.unwrap_err().code(), "NOT_FOUND");
    });
}

#[test]
fn calls_are_awaited_in_any_order_and_nothing_of_others_is_lost() {
    in_both_forms(|_, mut ann| async move {
        let mut slow = ann.begin(WORK, 2).await;
        let quick = ann.begin(ECHO, Bytes::new()).await;
        let mut count = ann.subscribe(COUNT, 2).await;
        ann.send("hello".into()).await;
        ann.emit(Event::<()>::new("nobody handles it"), ()).await;
        assert_eq!(count.next().await, Ok(0));
        assert_eq!(ann.expect_error().await.code, "NOT_FOUND");
        assert_eq!(ann.recv().await.as_deref(), Ok("HELLO"));
        assert_eq!(quick.result().await, Ok(Bytes::new()));
        assert_eq!(count.next().await, Ok(1));
        assert!(slow.is_over().await);
        assert_eq!(slow.progress().await, Some(1));
        assert_eq!(slow.progress().await, Some(2));
        assert_eq!(slow.progress::<u32>().await, None);
        assert_eq!(slow.result().await, Ok(2));
        assert_eq!(count.next().await, Err(Ended::Complete));
        assert_eq!(ann.try_frame().await, Ok(None));
    });
}

#[test]
fn a_call_is_cancelled_or_timed_out() {
    in_both_forms(|server, mut ann| async move {
        let mut call = ann.begin(HANG, ()).await;
        assert!(!call.is_over().await);
        call.cancel().await;
        assert_eq!(call.result().await.unwrap_err().code(), "CANCELLED");
        let options = TestCallOptions::default().timeout(Duration::from_secs(2)).idempotency_key("k");
        let mut call = ann.begin_with(HANG, (), options).await;
        server.advance(Duration::from_millis(1900)).await;
        assert!(!call.is_over().await);
        server.advance(Duration::from_secs(1)).await;
        assert_eq!(call.result().await.unwrap_err().code(), "DEADLINE_EXCEEDED");
    });
}

#[test]
fn a_subscription_tells_positions_and_gaps() {
    in_both_forms(|_, mut ann| async move {
        let after = TestSubscribeOptions::default().after(Position::new("e", 3));
        let mut numbers = ann.subscribe_with(NUMBERED, (), after).await;
        assert_eq!((numbers.next().await, numbers.gap()), (Ok(40), None));
        assert_eq!(numbers.position(), Some(&Position::new("e", 4)));
        assert_eq!(numbers.next().await, Ok(1000));
        assert_eq!(numbers.gap(), Some(&Gap::new(7, "lost").with_range(50, 56)));
        assert_eq!(numbers.position(), Some(&Position::new("e", 4)));
        assert_eq!(numbers.next().await, Err(Ended::Complete));
        assert_eq!(numbers.gap(), None);
    });
}

#[test]
fn credit_is_granted_and_a_subscription_ended() {
    in_both_forms(|_, mut ann| async move {
        let mut newest = ann.subscribe_with(NEWEST, 6, TestSubscribeOptions::default().credit(1)).await;
        assert_eq!(newest.next().await, Ok(0));
        assert_eq!(newest.try_next().await, Ok(None));
        newest.grant(1).await;
        assert_eq!(newest.try_next().await, Ok(Some(4)));
        assert_eq!(newest.gap().map(|gap| (gap.count, &*gap.cause)), Some((3, "overflow")));
        newest.grant(8).await;
        assert_eq!(newest.unsubscribe().await, Ok(()));
        let mut count = ann.subscribe(COUNT, 1).await;
        count.next().await.unwrap();
        assert_eq!(count.unsubscribe().await, Ok(()));
    });
}

#[test]
fn the_server_calls_and_the_client_answers() {
    in_both_forms(|server, mut ann| async move {
        let asking = ann.begin(ASK, "sure?".into()).await;
        let (question, answer) = ann.expect_call(CONFIRM).await;
        assert_eq!((&*question, answer.timeout()), ("sure?", Duration::from_secs(5)));
        assert!(!answer.is_cancelled().await);
        answer.answer(true).await;
        assert_eq!(asking.result().await, Ok(true));

        let asking = ann.begin(ASK, "really?".into()).await;
        let (_, answer) = ann.expect_call(CONFIRM).await;
        answer.fail("BUSY", "ask later").await;
        assert_eq!(asking.result().await.unwrap_err().to_string(), "BUSY: ask later");

        let asking = ann.begin(ASK, "hello?".into()).await;
        let (_, answer) = ann.expect_call(CONFIRM).await;
        server.advance(Duration::from_secs(6)).await;
        assert!(answer.is_cancelled().await);
        assert_eq!(asking.result().await.unwrap_err().code(), "DEADLINE_EXCEEDED");
    });
}

#[test]
fn events_go_to_the_others() {
    in_both_forms(|server, mut ann| async move {
        let mut bob = server.open("api").await.unwrap();
        ann.emit(SAID, "hi".into()).await;
        assert_eq!(bob.expect_event(SAID).await, "hi");
        assert_eq!(bob.call(SAY, "hello".into()).await, Ok(()));
        assert_eq!(ann.try_event(SAID).await.as_deref(), Some("hello"));
        assert_eq!((ann.try_event(SAID).await, bob.try_event(SAID).await), (None, None));
    });
}

#[test]
fn a_call_by_http_has_no_connection_to_leave_out() {
    in_both_forms(|server, mut ann| async move {
        let mut bob = server.open("api").await.unwrap();
        let hello = || "hello".to_owned();
        server.http("api").mutate(SAY, hello()).await.unwrap();
        assert_eq!((ann.expect_event(SAID).await, bob.expect_event(SAID).await), (hello(), hello()));
    });
}

#[test]
fn a_gap_of_a_topic_names_it() {
    in_both_forms(|server, mut ann| async move {
        ann.stall();
        let text = "x".repeat(10_000);
        for _ in 0..200 {
            server.realtime().to(&ROOM).emit(SAID, &text).unwrap();
            server.settle().await;
        }
        ann.resume();
        let (topic, gap) = ann.expect_gap().await;
        assert_eq!((&*topic, &*gap.cause), ("room", "overflow"));
        let mut received = 0;
        while ann.try_event(SAID).await.is_some() {
            received += 1;
        }
        assert_eq!(received + gap.count, 200);
    });
}

#[test]
fn what_is_awaited_ends_with_the_connection() {
    in_both_forms(|server, mut ann| async move {
        let call = ann.begin(HANG, ()).await;
        let mut count = ann.subscribe_with(COUNT, 7, TestSubscribeOptions::default().credit(0)).await;
        for connection in server.realtime().filter(|_| true) {
            connection.close(realtime_core::CloseCode::GOING_AWAY, "enough");
        }
        let closed = Ended::Closed { code: 1001, reason: "enough".into() };
        assert_eq!(call.result().await, Err(closed.clone()));
        assert_eq!(count.next().await, Err(closed.clone()));
        assert_eq!(ann.recv().await, Err(closed));
    });
    in_both_forms(|_, mut ann| async move {
        let call = ann.begin(HANG, ()).await;
        drop(ann);
        assert_eq!(call.result().await, Err(Ended::Lost));
    });
}
