use crate::support::{Network, settle, soon};
use realtime_client::{Appended, FollowedMessage, Gap, Position};
use realtime_core::{Code, Error, Event, Procedure};
use serde_json::json;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::sleep};

const CONFIRM: Procedure<String, bool> = Procedure::new("confirm");
const TYPING: Event<u32> = Event::new("TYPING");

#[tokio::test(start_paused = true)]
async fn the_server_calls_the_client() {
    let (mut network, builder) = Network::new();
    let _client = builder.on_call(CONFIRM, |text: String| async move { Ok(text == "sure?") }).connect();
    let mut server = network.accept("c1").await;
    server.send(json!({"type": "call", "id": "a", "path": "confirm", "input": "sure?", "timeoutMs": 1000})).await;
    assert_eq!(server.recv().await, json!({"type": "result", "id": "a", "data": true}));
    server.send(json!({"type": "call", "id": "a", "path": ["confirm"], "input": "no"})).await;
    assert_eq!(server.recv().await, json!({"type": "result", "id": "a", "data": false}));
}

#[tokio::test(start_paused = true)]
async fn calls_that_cannot_be_answered_get_an_error() {
    const PANICS: Procedure<(), ()> = Procedure::new("panics");
    const FAILS: Procedure<(), ()> = Procedure::new("fails");
    const HANGS: Procedure<(), ()> = Procedure::new("hangs");
    const SHORT: Procedure<String, ()> = Procedure::new("short").with_check(|text| match text.len() {
        0..=3 => Ok(()),
        _ => Err(Error::new("TOO_LONG", "more than 3 bytes")),
    });
    let (mut network, builder) = Network::new();
    let _client = builder
        .on_call(CONFIRM, |_| async { Ok(true) })
        .on_call(PANICS, |()| async { panic!("on purpose") })
        .on_call(FAILS, |()| async { Err(Error::internal("a secret")) })
        .on_call(HANGS, |()| std::future::pending())
        .on_call(SHORT, |_| async { Ok(()) })
        .connect();
    let mut server = network.accept("c1").await;
    let cases = [
        ("nothing", json!(null), "NOT_FOUND"),
        ("confirm", json!(1), "INVALID_ARGUMENT"),
        ("panics", json!(null), "INTERNAL"),
        ("fails", json!(null), "INTERNAL"),
        ("hangs", json!(null), "DEADLINE_EXCEEDED"),
        ("short", json!("long"), "TOO_LONG"),
    ];
    for (path, input, code) in cases {
        server.send(json!({"type": "call", "id": "1", "path": path, "input": input, "timeoutMs": 1000})).await;
        let answer = server.recv().await;
        assert_eq!(
            (&answer["type"], &answer["id"], &answer["error"]["code"]),
            (&json!("error"), &json!("1"), &json!(code))
        );
        assert!(!answer.to_string().contains("secret"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_is_dropped() {
    let (mut network, builder) = Network::new();
    let running = Arc::new(AtomicU32::new(0));
    let _client = builder.on_call(CONFIRM, hang(&running)).connect();
    let mut server = network.accept("c1").await;
    server.send(json!({"type": "call", "id": "a", "path": "confirm", "input": ""})).await;
    settle().await;
    assert_eq!(running.load(Relaxed), 1);
    server.send(json!({"type": "cancel", "id": "b"})).await;
    server.send(json!({"type": "cancel", "id": "a"})).await;
    let answer = server.recv().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("a"), &json!("CANCELLED")));
    assert_eq!(running.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_are_dropped_with_their_connection_and_never_answered_on_another() {
    let (mut network, builder) = Network::new();
    let running = Arc::new(AtomicU32::new(0));
    let _client = builder.on_call(CONFIRM, hang(&running)).connect();
    let mut server = network.accept("c1").await;
    server.send(json!({"type": "call", "id": "a", "path": "confirm", "input": "", "timeoutMs": 9000})).await;
    settle().await;
    assert_eq!(running.load(Relaxed), 1);
    drop(server);
    let mut server = network.accept("c2").await;
    assert_eq!(running.load(Relaxed), 0);
    server.hears_nothing_for(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn sixty_four_calls_run_at_once() {
    let (mut network, builder) = Network::new();
    let running = Arc::new(AtomicU32::new(0));
    let _client = builder.on_call(CONFIRM, hang(&running)).connect();
    let mut server = network.accept("c1").await;
    for id in 0..65 {
        server.send(json!({"type": "call", "id": id.to_string(), "path": "confirm", "input": ""})).await;
    }
    let answer = server.recv().await;
    let error = &answer["error"];
    assert_eq!(
        (&answer["id"], &error["code"], &error["retryable"]),
        (&json!("64"), &json!("RESOURCE_EXHAUSTED"), &json!(true))
    );
    settle().await;
    assert_eq!(running.load(Relaxed), 64);
    server.send(json!({"type": "call", "id": "3", "path": "confirm", "input": ""})).await;
    assert_eq!(server.recv().await["error"]["code"], "DUPLICATE_ID");
}

#[tokio::test(start_paused = true)]
async fn events_are_handled_one_after_the_other() {
    let (mut network, builder) = Network::new();
    let (sender, mut handled) = mpsc::unbounded_channel();
    let handler = move |number: u32| {
        let sender = sender.clone();
        async move {
            assert_ne!(number, 2, "on purpose");
            sleep(Duration::from_millis(u64::from(10 - number))).await;
            sender.send(number).unwrap();
        }
    };
    let client = builder.on(TYPING, handler).connect();
    let mut server = network.accept("c1").await;
    for data in [json!(1), json!("no number"), json!(2), json!(3)] {
        server.send(json!({"type": "event", "name": "TYPING", "data": data})).await;
        server.send(json!({"type": "event", "name": "OTHER", "data": data})).await;
    }
    assert_eq!((soon(handled.recv()).await, soon(handled.recv()).await), (Some(1), Some(3)));
    client.emit(TYPING, 4).unwrap();
    assert_eq!(server.recv().await, json!({"type": "event", "name": "TYPING", "data": 4}));
}

#[tokio::test(start_paused = true)]
async fn of_events_that_nobody_handles_the_newest_wait() {
    let (mut network, builder) = Network::new();
    let handled = Arc::new(Mutex::new(Vec::new()));
    let numbers = Arc::clone(&handled);
    let handler = move |number: u32| {
        numbers.lock().unwrap().push(number);
        sleep(Duration::from_secs(1))
    };
    let _client = builder.on(TYPING, handler).connect();
    let mut server = network.accept("c1").await;
    server.send(json!({"type": "event", "name": "TYPING", "data": 0})).await;
    settle().await;
    for number in 1..=300 {
        server.send(json!({"type": "event", "name": "TYPING", "data": number})).await;
    }
    server.hears_nothing_for(Duration::from_secs(600)).await;
    let handled = handled.lock().unwrap();
    assert_eq!((handled.len(), handled[1], handled[256]), (257, 45, 300));
}

#[tokio::test(start_paused = true)]
async fn messages_go_both_ways() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut messages = client.messages::<String>();
    client.send(json!({"text": "hi"})).unwrap();
    let mut server = network.accept("c1").await;
    assert_eq!(server.recv().await, json!({"type": "message", "value": {"text": "hi"}}));
    server.send(json!({"type": "message", "value": "one"})).await;
    server.send(json!({"type": "message", "value": 2})).await;
    server.send(json!({"type": "error", "error": {"code": "INVALID_ARGUMENT", "message": "no"}})).await;
    server.send(json!({"type": "message", "value": "three"})).await;
    assert_eq!(soon(messages.next()).await.unwrap().unwrap(), "one");
    assert_eq!(soon(messages.next()).await.unwrap().unwrap_err().code(), &Code::PARSE_ERROR);
    let complaint = soon(messages.next()).await.unwrap().unwrap_err();
    assert!(complaint.is_remote() && complaint.code() == &Code::INVALID_ARGUMENT);
    assert_eq!(soon(messages.next()).await.unwrap().unwrap(), "three");
    drop(server);
    soon(client.close()).await;
    assert!(soon(messages.next()).await.is_none());
    assert!(soon(client.messages::<String>().next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_feed_have_their_places_and_gaps() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let (mut followed, mut messages) = (client.followed::<String>(), client.messages::<String>());
    let mut server = network.accept("c1").await;
    let entry =
        json!({"type": "message", "value": "one", "topic": "news", "epoch": "e", "offset": 4, "proof": "p"});
    server.send(entry).await;
    let gap = json!({"type": "gap", "topic": "news", "count": 2, "from": 5, "to": 6, "cause": "retention"});
    server.send(gap).await;
    // Of a subscription that there is not.
    server.send(json!({"type": "gap", "id": "7", "count": 2, "cause": "overflow"})).await;
    server.send(json!({"type": "message", "value": "two"})).await;
    let mut position = Position::new("e", 4);
    position.proof = Some("p".into());
    let place = Some(Appended { topic: "news".into(), position });
    let mut next = async || soon(followed.next()).await.unwrap().unwrap();
    assert_eq!(next().await, FollowedMessage::Message { value: "one".to_owned(), place });
    let gap = Gap::new(2, "retention").with_range(5, 6);
    assert_eq!(next().await, FollowedMessage::Gap { topic: "news".into(), gap });
    assert_eq!(next().await, FollowedMessage::Message { value: "two".to_owned(), place: None });
    for value in ["one", "two"] {
        assert_eq!(soon(messages.next()).await.unwrap().unwrap(), value);
    }
    soon(client.close()).await;
    assert!(soon(followed.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn messages_that_were_dropped_are_told() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut messages = client.messages::<u32>();
    let mut server = network.accept("c1").await;
    for number in 0..300 {
        server.send(json!({"type": "message", "value": number})).await;
    }
    settle().await;
    let error = soon(messages.next()).await.unwrap().unwrap_err();
    assert!(error.code() == &Code::RESOURCE_EXHAUSTED && error.message().starts_with("44 "), "{error}");
    for number in 44..300 {
        assert_eq!(soon(messages.next()).await.unwrap().unwrap(), number);
    }
}

/// A handler that never ends, and counts the running calls.
fn hang(running: &Arc<AtomicU32>) -> impl Fn(String) -> Hanging + Send + Sync + 'static {
    let running = Arc::clone(running);
    move |_| {
        running.fetch_add(1, Relaxed);
        Hanging(Arc::clone(&running))
    }
}

struct Hanging(Arc<AtomicU32>);

impl Future for Hanging {
    type Output = realtime_core::Result<bool>;

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::task::Poll::Pending
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
