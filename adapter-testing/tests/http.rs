//! Calls by HTTP and server-sent events in memory.

use adapter_testing::{Ended, TestServer, block_on, conformance::Gate};
use futures_util::{FutureExt, StreamExt, stream};
use realtime_core::{
    Call, Config, Endpoint, Error, Event, FnConnection, Gap, Item, Position, Procedure, Realtime, Subscription,
    Topic, handler_fn,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

const AT_GATE: Procedure<(), u8> = Procedure::new("at_gate");
const TICKS: Subscription<u64, u64> = Subscription::new("ticks");
const FAILING: Subscription<(), u8> = Subscription::new("failing");
const NEWS: Topic<String> = Topic::fixed("news");

#[derive(Clone, Default)]
struct State {
    gate: Gate,
    dropped: Arc<AtomicBool>,
}

/// A value that records its drop.
struct Held(Arc<AtomicBool>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn server() -> (TestServer, State) {
    let state = State::default();
    let endpoint = Endpoint::new(state.clone())
        .procedure(AT_GATE, |call: Call<State>, ()| async move {
            let _held = Held(Arc::clone(&call.state().dropped));
            call.state().gate.wait().await;
            Ok(7)
        })
        .subscription(TICKS, |call: Call<State>, count| async move {
            let held = Held(Arc::clone(&call.state().dropped));
            let first = call.after().map_or(1, |after| after.offset + 1);
            let item = |number| Item::new(number).with_position(Position::new("t", number)).with_event("tick");
            let items = stream::iter(first..=count).map(item).map(move |item| {
                let _ = &held;
                item
            });
            Ok(items.chain(stream::pending()))
        })
        .subscription(FAILING, |_, ()| async move {
            let items = [Ok(Item::new(1).with_gap(Gap::new(3, "cut"))), Err(Error::unavailable("later"))];
            Ok(stream::iter(items))
        });
    let news = handler_fn(|connection: FnConnection<(), String>| async move {
        connection.subscribe(&NEWS)?;
        connection.closed().await;
        Ok(())
    });
    let realtime = Realtime::builder().endpoint("api", endpoint).handler("news", news).build();
    (TestServer::new(realtime), state)
}

#[test]
fn a_call_is_answered_when_it_is_done() {
    let (server, state) = server();
    block_on(async {
        let http = server.http("api");
        let mut call = Box::pin(http.mutate(AT_GATE, ()));
        assert!((&mut call).now_or_never().is_none());
        state.gate.open();
        assert_eq!(call.await.unwrap(), 7);
    });
}

#[test]
fn dropping_the_future_of_a_call_drops_the_call() {
    let (server, state) = server();
    let http = server.http("api");
    let mut call = Box::pin(http.mutate(AT_GATE, ()));
    assert!((&mut call).now_or_never().is_none());
    assert!(!state.dropped.load(SeqCst));
    drop(call);
    assert!(state.dropped.load(SeqCst));
}

#[test]
fn an_error_comes_with_its_status_code_and_message() {
    let (server, _) = server();
    block_on(async {
        let refused = server.http("api").query(AT_GATE, ()).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), &*refused.code()), (405, "METHOD_MISMATCH"));
        assert!(refused.message().contains("at_gate"), "{refused}");
        assert_eq!(server.http("nobody").mutate(AT_GATE, ()).await.unwrap_err().status(), 404);
    });
}

#[test]
fn a_body_that_never_ends_is_timed_out() {
    let (server, _) = server();
    block_on(async {
        let request = server.http("api").post().chunks([r#"{"path":"#]).unfinished();
        let advance = server.advance(Duration::from_secs(60));
        let (response, ()) = futures_util::future::join(request.send(), advance).await;
        assert_eq!(response.status(), 408);
    });
}

#[test]
fn a_source_comes_back_behind_the_last_event_that_it_took() {
    let (server, _) = server();
    block_on(async {
        let mut events = server.events("api").path("ticks").input(&3).open().await.unwrap();
        assert_eq!(events.headers()["content-type"], "text/event-stream");
        let first = events.next().await.unwrap();
        assert_eq!((first.id.as_deref(), &*first.event, &*first.data), (Some("t:1"), "tick", "1"));
        assert_eq!(events.last_event_id(), "t:1");
        let mut events = events.reconnect().await.unwrap();
        assert_eq!(events.next().await.unwrap().json::<u64>(), 2);
        let mut items = server.http("api").subscribe_events(TICKS, 2).await.unwrap();
        assert_eq!((items.next().await, items.next().await), (Ok(1), Ok(2)));
        assert_eq!(items.last_event_id(), "t:2");
        assert_eq!(items.reconnect().await.unwrap().into_events().try_next().await, Ok(None));
    });
}

#[test]
fn a_subscription_tells_of_gaps_and_of_its_error() {
    let (server, _) = server();
    block_on(async {
        let mut items = server.http("api").subscribe_events(FAILING, ()).await.unwrap();
        assert_eq!(items.next().await, Ok(1));
        assert_eq!(items.gaps(), [Gap::new(3, "cut")]);
        let Err(Ended::Error(error)) = items.next().await else { panic!("the error is told") };
        assert_eq!((&*error.code, error.retryable), ("UNAVAILABLE", true));
        assert_eq!(items.next().await, Err(Ended::Lost));
    });
}

#[test]
fn a_source_that_leaves_takes_its_stream_with_it() {
    let (server, state) = server();
    block_on(async {
        let items = server.http("api").subscribe_events(TICKS, 1).await.unwrap();
        assert_eq!(server.realtime().connections(), 1);
        drop(items);
        server.settle().await;
        assert!(state.dropped.load(SeqCst));
        assert_eq!(server.realtime().connections(), 0);
    });
}

#[test]
fn a_quiet_stream_is_kept_alive_by_comments() {
    let (server, _) = server();
    block_on(async {
        let mut events = server.events("news").open().await.unwrap();
        assert_eq!((events.comments(), events.try_next().await), (1, Ok(None)));
        server.advance(Duration::from_secs(31)).await;
        assert_eq!((events.comments(), events.is_ended()), (3, false));
        server.realtime().to(&NEWS).send(&"late".into()).unwrap();
        assert_eq!(events.next().await.unwrap().json::<String>(), "late");
    });
}

#[test]
fn a_source_that_reads_nothing_is_closed_and_the_others_go_on() {
    let (server, _) = server();
    block_on(async {
        let mut slow = server.events("news").open().await.unwrap();
        let mut quick = server.events("news").open().await.unwrap();
        slow.stall();
        let text = "x".repeat(64 * 1024);
        for _ in 0..64 {
            server.realtime().to(&NEWS).send(&text).unwrap();
            assert_eq!(quick.next().await.unwrap().json::<String>().len(), text.len());
        }
        assert_eq!(server.realtime().stats().slow_consumers, 1);
        // Like a framework that never pulls the body again, and does not drop it.
        server.advance(Duration::from_secs(6)).await;
        assert_eq!(server.realtime().connections(), 1);
        assert!(!slow.is_ended() && !quick.is_ended());
    });
}

/// Less than the limit waits, so the source is not a slow consumer.
#[test]
fn a_source_that_takes_nothing_is_given_up_when_its_time_is_over() {
    let (server, _) = server();
    block_on(async {
        let mut stalled = server.events("news").open().await.unwrap();
        stalled.stall();
        for _ in 0..12 {
            server.realtime().to(&NEWS).send(&"x".repeat(64 * 1024)).unwrap();
        }
        server.advance(Duration::from_secs(59)).await;
        assert_eq!(server.realtime().connections(), 1);
        server.advance(Duration::from_secs(7)).await;
        let stats = server.realtime().stats();
        assert_eq!((stats.connections, stats.topics, stats.slow_consumers), (0, 0, 0));
        drop(stalled);
    });
}

/// A source that reads stays open even if comments are rarer than the idle timeout.
#[test]
fn a_source_that_reads_is_not_given_up() {
    let mut config = Config::default();
    config.idle_timeout = Duration::from_secs(10);
    let news = handler_fn(|connection: FnConnection<(), String>| async move {
        connection.closed().await;
        Ok(())
    });
    let server = TestServer::new(Realtime::builder().config(config).handler("news", news).build());
    block_on(async {
        let events = server.events("news").open().await.unwrap();
        server.advance(Duration::from_secs(600)).await;
        assert!(!events.is_ended());
        assert!(events.comments() >= 100);
    });
}

#[test]
fn an_event_is_posted() {
    const TYPING: Event<String> = Event::new("typing");
    let (gate, seen) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let noted = Arc::clone(&seen);
    let endpoint = Endpoint::new(gate).on(TYPING, move |_, text| {
        noted.store(text == "a", SeqCst);
        async move { if text.is_empty() { Err(Error::not_found("nothing is typed")) } else { Ok(()) } }
    });
    let server = TestServer::new(Realtime::builder().endpoint("api", endpoint).build());
    block_on(async {
        server.http("api").emit(TYPING, "a".to_owned()).await.unwrap();
        assert!(seen.load(SeqCst));
        assert_eq!(server.http("api").emit(TYPING, String::new()).await.unwrap_err().status(), 404);
    });
}
