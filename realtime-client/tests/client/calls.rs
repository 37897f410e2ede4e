use crate::support::{Network, settle, soon};
use realtime_client::{CallOptions, OfflineQueue};
use realtime_core::{Code, Error, Procedure};
use serde_json::json;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};

const ADD: Procedure<(i64, i64), i64> = Procedure::new("math.add");
const SLOW: Procedure<(), ()> = Procedure::new("slow").with_timeout(Duration::from_secs(5));

#[tokio::test(start_paused = true)]
async fn a_call_is_answered() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    let peer = async {
        let call = json!({"type": "call", "id": "1", "path": "math.add", "input": [1, 2], "timeoutMs": 30_000});
        assert_eq!(server.recv().await, call);
        server.send(json!({"type": "result", "id": "1", "data": 3})).await;
    };
    let (sum, ()) = tokio::join!(client.call(ADD, (1, 2)), peer);
    assert_eq!(sum.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_servers_error_comes_as_it_is() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    let call = client.call(ADD, (1, 2));
    server.recv().await;
    let error = json!({"code": "TOO_MUCH", "message": "no", "details": {"limit": 2}, "retryAfterMs": 100});
    server.send(json!({"type": "error", "id": "1", "error": error})).await;
    let error = soon(call).await.unwrap_err();
    assert!(error.is_remote() && !error.is_timeout() && !error.is_closed());
    assert_eq!((error.code().as_str(), error.message()), ("TOO_MUCH", "no"));
    assert_eq!(error.as_error().details(), Some(&json!({"limit": 2})));
    assert_eq!(error.as_error().retry_after(), Some(Duration::from_millis(100)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_type_is_an_error() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    let call = client.call(ADD, (1, 2));
    server.recv().await;
    server.send(json!({"type": "result", "id": "1", "data": "three"})).await;
    let error = soon(call).await.unwrap_err();
    assert_eq!(error.code(), &Code::PARSE_ERROR);
    assert!(error.message().contains("math.add"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_input_that_fails_its_check_is_not_sent() {
    const EVEN: Procedure<i64, ()> = Procedure::new("even").with_check(|number| match number % 2 {
        0 => Ok(()),
        _ => Err(Error::invalid_argument("odd")),
    });
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    assert_eq!(client.call(EVEN, 1).await.unwrap_err().message(), "odd");
    let error = client.call_with(EVEN, 2, CallOptions::new().idempotency_key("")).await.unwrap_err();
    assert_eq!(error.code(), &Code::INVALID_ARGUMENT);
    server.hears_nothing_for(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn progress_settles_nothing() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let options = CallOptions::new().on_progress(move |percent: u32| tell.lock().unwrap().push(percent));
    let call = client.call_with(ADD, (1, 2), options);
    server.recv().await;
    for data in [json!(10), json!("no number"), json!(90)] {
        server.send(json!({"type": "progress", "id": "1", "data": data})).await;
    }
    server.send(json!({"type": "result", "id": "1", "data": 3})).await;
    assert_eq!(call.await.unwrap(), 3);
    assert_eq!(*told.lock().unwrap(), [10, 90]);
}

#[tokio::test(start_paused = true)]
async fn second_answers_and_answers_to_nobody_are_passed_over() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    let first = client.call(ADD, (1, 2));
    let second = client.call(ADD, (3, 4));
    server.recv().await;
    server.recv().await;
    for (id, data) in [("7", 0), ("01", 0), ("+1", 0), ("x", 0), ("1", 3), ("1", 4), ("2", 7)] {
        server.send(json!({"type": "result", "id": id, "data": data})).await;
    }
    server.send(json!({"type": "complete", "id": "2"})).await;
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (3, 7));
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends_at_its_deadline_and_is_cancelled() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    for (timeout, expected) in [(None, 5000), (Some(2000), 2000), (Some(60_000), 5000)] {
        let options = timeout
            .map_or_else(CallOptions::new, |timeout| CallOptions::new().timeout(Duration::from_millis(timeout)));
        let begin = Instant::now();
        let call = client.call_with(SLOW, (), options);
        let frame = server.recv().await;
        assert_eq!(frame["timeoutMs"], expected);
        assert!(call.await.unwrap_err().is_timeout());
        assert_eq!(begin.elapsed(), Duration::from_millis(expected));
        assert_eq!(server.recv().await, json!({"type": "cancel", "id": frame["id"]}));
        // A late answer is ignored.
        server.send(json!({"type": "result", "id": frame["id"], "data": null})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_cancels_it_if_it_was_sent() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    drop(client.call(ADD, (0, 0)));
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    let call = client.call(ADD, (1, 2));
    assert_eq!(server.recv().await["id"], "2");
    drop(call);
    assert_eq!(server.recv().await, json!({"type": "cancel", "id": "2"}));
    server.hears_nothing_for(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_a_connection_and_their_time_runs() {
    let (mut network, builder) = Network::new();
    network.refuse(true);
    let client = builder.connect();
    let late = client.call(SLOW, ());
    let add = client.call(ADD, (1, 2));
    assert!(late.await.unwrap_err().is_timeout());
    sleep(Duration::from_secs(5)).await;
    network.refuse(false);
    let mut server = network.accept("c1").await;
    let frame = server.recv().await;
    assert_eq!(frame["path"], "math.add", "what timed out is not sent");
    assert!(frame["timeoutMs"].as_u64().unwrap() <= 20_000, "{frame}");
    server.send(json!({"type": "result", "id": frame["id"], "data": 3})).await;
    assert_eq!(add.await.unwrap(), 3);
    server.hears_nothing_for(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_calls_time_runs_while_a_connection_is_made() {
    let (mut network, builder) = Network::new();
    let client = builder.connect_timeout(Duration::from_secs(60)).connect();
    let _silent = network.dialed().await;
    let begin = Instant::now();
    assert!(soon(client.call(SLOW, ())).await.unwrap_err().is_timeout());
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn the_newest_call_is_refused_where_the_queue_is_full() {
    let (mut network, builder) = Network::new();
    let client = builder.offline_queue(OfflineQueue::reject_newest(2, 1 << 20)).connect();
    let calls: Vec<_> = (0..2).map(|n| client.call(ADD, (n, 0))).collect();
    let error = client.call(ADD, (2, 0)).await.unwrap_err();
    assert_eq!(error.code(), &Code::RESOURCE_EXHAUSTED);
    assert!(client.send("x").is_err());
    let mut server = network.accept("c1").await;
    for n in 0..2 {
        assert_eq!(server.recv().await["input"], json!([n, 0]));
    }
    server.hears_nothing_for(Duration::from_secs(10)).await;
    drop(calls);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_call_makes_room_where_that_is_wanted() {
    let (mut network, builder) = Network::new();
    let client = builder.offline_queue(OfflineQueue::drop_oldest(2, 1 << 20)).connect();
    let mut calls: Vec<_> = (0..3).map(|n| client.call(ADD, (n, 0))).collect();
    assert_eq!(calls.remove(0).await.unwrap_err().code(), &Code::RESOURCE_EXHAUSTED);
    let mut server = network.accept("c1").await;
    for n in 1..3 {
        assert_eq!(server.recv().await["input"], json!([n, 0]));
    }
    server.hears_nothing_for(Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_where_that_is_wanted() {
    let (mut network, builder) = Network::new();
    let client = builder.offline_queue(OfflineQueue::off()).connect();
    let error = client.call(ADD, (1, 2)).await.unwrap_err();
    assert!(error.code() == &Code::UNAVAILABLE && error.is_retryable());
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    let call = client.call(ADD, (1, 2));
    server.recv().await;
    server.send(json!({"type": "result", "id": "1", "data": 3})).await;
    assert_eq!(call.await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_burst_on_an_open_connection_is_no_queue() {
    let (mut network, builder) = Network::new();
    let client = builder.offline_queue(OfflineQueue::off()).connect();
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    let calls: Vec<_> = (0..2000).map(|n| client.call(ADD, (n, 0))).collect();
    for n in 0..2000 {
        let frame = server.recv().await;
        server.send(json!({"type": "result", "id": frame["id"], "data": n})).await;
    }
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), n as i64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_fails_once_when_the_connection_is_lost() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    let call = client.call(ADD, (1, 2));
    server.recv().await;
    drop(server);
    let error = soon(call).await.unwrap_err();
    assert!(error.code() == &Code::UNAVAILABLE && error.is_retryable() && !error.is_remote());
    let mut server = network.accept("c2").await;
    server.hears_nothing_for(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_with_a_key_is_sent_again_until_its_deadline() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let call = client.call_with(ADD, (1, 2), CallOptions::new().idempotency_key("k"));
    for name in ["c1", "c2", "c3"] {
        let mut server = network.accept(name).await;
        let frame = server.recv().await;
        assert_eq!((&frame["id"], &frame["idempotencyKey"]), (&json!("1"), &json!("k")));
        assert!(frame["timeoutMs"].as_u64().unwrap() <= 30_000);
        if name == "c3" {
            server.send(json!({"type": "result", "id": "1", "data": 3})).await;
            settle().await;
        }
    }
    assert_eq!(call.await.unwrap(), 3);

    let call = client.call_with(SLOW, (), CallOptions::new().idempotency_key("k2"));
    let mut server = network.accept("c4").await;
    server.recv().await;
    network.refuse(true);
    drop(server);
    assert!(call.await.unwrap_err().is_timeout());
    network.refuse(false);
    network.accept("c5").await.hears_nothing_for(Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn calls_end_with_the_client() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    let call = client.call_with(ADD, (1, 2), CallOptions::new().idempotency_key("k"));
    server.recv().await;
    server.close(4000).await;
    let error = soon(call).await.unwrap_err();
    assert!(error.is_closed() && error.message().contains("4000: because"), "{error}");
    assert!(client.call(ADD, (1, 2)).await.unwrap_err().is_closed());
}
