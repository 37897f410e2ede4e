//! Time in handlers: one clock, which the test turns.

use adapter_testing::{Ended, TestServer, block_on};
use futures_util::StreamExt;
use realtime_core::{Call, Endpoint, FnConnection, Function, Procedure, Realtime, Subscription};
use std::time::Duration;

const SLEEP: Procedure<u64, ()> = Procedure::new("sleep");
const WITHIN: Procedure<u64, ()> = Procedure::new("within");
const TOKIO: Procedure<(), ()> = Procedure::new("tokio");
const EVERY: Subscription<u64, u64> = Subscription::new("every");

fn server() -> TestServer {
    let api = Endpoint::new(())
        .procedure(SLEEP, |call: Call<()>, millis| async move {
            call.sleep(Duration::from_millis(millis)).await;
            Ok(())
        })
        .procedure(WITHIN, |call: Call<()>, millis| async move {
            call.timeout(Duration::from_millis(millis), call.sleep(Duration::from_secs(1))).await
        })
        .procedure(TOKIO, |_, ()| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        })
        .subscription(EVERY, |call: Call<()>, millis| async move {
            Ok(call.interval(Duration::from_millis(millis)).enumerate().map(|(at, ())| at as u64))
        });
    TestServer::new(Realtime::builder().endpoint("api", api).build())
}

#[test]
fn a_call_sleeps_as_long_as_it_says() {
    block_on(async {
        let server = server();
        let mut ann = server.open("api").await.unwrap();
        for millis in [0, 1, 250, 1001] {
            let mut sleeping = ann.begin(SLEEP, millis).await;
            if let Some(before) = millis.checked_sub(1) {
                server.advance(Duration::from_millis(before)).await;
                assert!(!sleeping.is_over().await, "{millis}");
                server.advance(Duration::from_millis(1)).await;
            }
            assert!(sleeping.is_over().await, "{millis}");
        }
    });
}

#[test]
fn a_timeout_drops_what_is_late() {
    block_on(async {
        let server = server();
        let mut ann = server.open("api").await.unwrap();
        let [late, soon] = [ann.begin(WITHIN, 999).await, ann.begin(WITHIN, 1001).await];
        server.advance(Duration::from_secs(1)).await;
        let Err(Ended::Error(error)) = late.result().await else { panic!("it is late") };
        assert_eq!((&*error.code, &*error.message), ("DEADLINE_EXCEEDED", "this took longer than 999ms"));
        assert_eq!(soon.result().await, Ok(()));
    });
}

#[test]
fn an_interval_keeps_its_pace() {
    block_on(async {
        let server = server();
        let mut ann = server.open("api").await.unwrap();
        let mut every = ann.subscribe(EVERY, 40).await;
        assert_eq!(every.next().await, Ok(0));
        for item in 1..4 {
            server.advance(Duration::from_millis(39)).await;
            assert_eq!(every.try_next().await, Ok(None));
            server.advance(Duration::from_millis(1)).await;
            assert_eq!(every.try_next().await, Ok(Some(item)));
        }
        // Periods that nobody has waited for are skipped, and the next one is in time.
        server.pause(Duration::from_millis(90));
        assert_eq!(every.next().await, Ok(4));
        server.advance(Duration::from_millis(30)).await;
        assert_eq!(every.next().await, Ok(5));
        assert_eq!(every.try_next().await, Ok(None));
    });
}

#[test]
fn a_handler_and_a_background_task_have_the_same_clock() {
    block_on(async {
        let slow = |connection: FnConnection<String, String>| async move {
            connection.sleep(Duration::from_secs(60)).await;
            connection.send("a minute later".into())?;
            Ok(())
        };
        let server = TestServer::new(Realtime::builder().handler_fn("slow", slow).build());
        let start = server.realtime().now();
        let background = server.realtime().sleep(Duration::from_secs(60));
        let mut ann = server.connect::<Function<String, String, ()>>("slow", ()).await.unwrap();
        server.advance(Duration::from_secs(60)).await;
        background.await;
        assert_eq!(ann.recv().await.unwrap(), "a minute later");
        assert_eq!(server.realtime().now() - start, Duration::from_secs(60));
    });
}

#[test]
#[should_panic(
    expected = "`sleep`, `interval` and `timeout` of `Call`, `Connection` and `Realtime` work everywhere"
)]
fn tokio_in_a_handler_that_is_not_on_it_fails_the_test() {
    block_on(async {
        let mut ann = server().open("api").await.unwrap();
        let _ = ann.call(TOKIO, ()).await;
    });
}

#[test]
#[should_panic(expected = "the period of an interval is 0")]
fn an_interval_of_nothing_is_refused() {
    let _ = server().realtime().interval(Duration::ZERO);
}
