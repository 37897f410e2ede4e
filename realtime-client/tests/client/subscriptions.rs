use crate::support::{Network, Server, settle, soon};
use realtime_client::{Update, Updates};
use realtime_core::{Code, Gap, Position, Procedure, Subscription};
use serde_json::{Value, json};
use std::time::Duration;

const EVENTS: Subscription<u64, u64> = Subscription::new("room.events");
const ADD: Procedure<(i64, i64), i64> = Procedure::new("add");

#[tokio::test(start_paused = true)]
async fn items_and_gaps_come_in_order_until_it_is_complete() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut updates = client.subscribe(EVENTS, 7);
    let mut server = network.accept("c1").await;
    let subscribe =
        json!({"type": "subscribe", "id": "1", "path": "room.events", "input": 7, "credit": 64, "shared": true});
    assert_eq!(server.recv().await, subscribe);
    server.send(json!({"type": "data", "id": "1", "data": 10, "offset": 4, "epoch": "e"})).await;
    server.send(json!({"type": "gap", "id": "1", "count": 3, "from": 5, "to": 7, "cause": "overflow"})).await;
    server.send(json!({"type": "gap", "topic": "prices", "count": 9})).await;
    server.send(json!({"type": "data", "id": "1", "data": 20})).await;
    server.send(json!({"type": "complete", "id": "1"})).await;

    let first = soon(updates.next()).await.unwrap().unwrap();
    let position = Position::new("e", 4);
    assert!(matches!(first, Update::Item { value: 10, position: Some(at), .. } if at == position));
    assert_eq!(updates.position(), Some(&position));
    let gap = soon(updates.next()).await.unwrap().unwrap();
    assert_eq!(gap, Update::Gap(Gap::new(3, "overflow").with_range(5, 7)));
    assert_eq!(value(&mut updates).await, 20);
    assert!(soon(updates.next()).await.is_none());
    assert!(soon(updates.next()).await.is_none());
    drop(updates);
    server.hears_nothing_for(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_ends_it_for_good() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut updates = client.subscribe(EVENTS, 7);
    let mut server = network.accept("c1").await;
    server.recv().await;
    let error = json!({"code": "PERMISSION_DENIED", "message": "no"});
    server.send(json!({"type": "error", "id": "1", "error": error})).await;
    let error = soon(updates.next()).await.unwrap().unwrap_err();
    assert!(error.is_remote() && error.code() == &Code::PERMISSION_DENIED);
    assert!(soon(updates.next()).await.is_none());
    drop(server);
    network.accept("c2").await.hears_nothing_for(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_after_the_last_position_with_fresh_credit() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut updates = client.subscribe_after(EVENTS, 7, Position::new("e", 1));
    let mut server = network.accept("c1").await;
    assert_eq!(server.recv().await["after"], json!({"epoch": "e", "offset": 1}));
    for offset in 2..=4 {
        send_item(&mut server, offset).await;
    }
    settle().await;
    drop(server);

    let mut server = network.accept("c2").await;
    let subscribe = server.recv().await;
    assert_eq!((&subscribe["id"], &subscribe["after"]), (&json!("1"), &json!({"epoch": "e", "offset": 4})));
    assert_eq!(subscribe["credit"], 61, "three items wait for the reader");
    send_item(&mut server, 5).await;
    for expected in 2..=5 {
        assert_eq!(value(&mut updates).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_position_a_gap_tells_of_the_reconnect() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut updates = client.subscribe(EVENTS, 7);
    for name in ["c1", "c2"] {
        let mut server = network.accept(name).await;
        assert_eq!(server.recv().await.get("after"), None);
        server.send(json!({"type": "data", "id": "1", "data": 1})).await;
        settle().await;
    }
    assert_eq!(value(&mut updates).await, 1);
    assert_eq!(soon(updates.next()).await.unwrap().unwrap(), Update::Gap(Gap::new(0, "reconnect")));
    assert_eq!(value(&mut updates).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_64_items_and_blocks_nobody() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut updates = client.subscribe(EVENTS, 7);
    let mut server = network.accept("c1").await;
    assert_eq!(server.recv().await["credit"], 64);
    for offset in 0..64 {
        send_item(&mut server, offset).await;
    }
    server.hears_nothing_for(Duration::from_secs(60)).await;

    let call = client.call(ADD, (1, 2));
    let frame = server.recv().await;
    assert_eq!(frame["type"], "call");
    server.send(json!({"type": "result", "id": frame["id"], "data": 3})).await;
    assert_eq!(call.await.unwrap(), 3);

    for offset in 0..31 {
        assert_eq!(value(&mut updates).await, offset);
    }
    server.hears_nothing_for(Duration::from_secs(60)).await;
    assert_eq!(value(&mut updates).await, 31);
    assert_eq!(server.recv().await, json!({"type": "credit", "id": "1", "more": 32}));
}

#[tokio::test(start_paused = true)]
async fn gaps_that_nobody_takes_become_one() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut updates = client.subscribe(EVENTS, 7);
    let mut server = network.accept("c1").await;
    server.recv().await;
    for n in 0..1000 {
        server.send(json!({"type": "gap", "id": "1", "count": 2, "from": 2 * n, "to": 2 * n + 1})).await;
    }
    send_item(&mut server, 2000).await;
    settle().await;
    assert_eq!(soon(updates.next()).await.unwrap().unwrap(), Update::Gap(Gap::new(2000, "").with_range(0, 1999)));
    assert_eq!(value(&mut updates).await, 2000);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_the_credit_loses_the_subscription() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut updates = client.subscribe(EVENTS, 7);
    let mut server = network.accept("c1").await;
    server.recv().await;
    for offset in 0..65 {
        send_item(&mut server, offset).await;
    }
    assert_eq!(server.recv().await, json!({"type": "unsubscribe", "id": "1"}));
    for offset in 0..64 {
        assert_eq!(value(&mut updates).await, offset);
    }
    assert_eq!(soon(updates.next()).await.unwrap().unwrap_err().code(), &Code::RESOURCE_EXHAUSTED);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_unsubscribes_and_its_id_is_not_used_again() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    drop(client.subscribe(EVENTS, 0));
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    let first = client.subscribe(EVENTS, 1);
    let id = server.recv().await["id"].clone();
    drop(first);
    assert_eq!(server.recv().await, json!({"type": "unsubscribe", "id": id}));

    let mut second = client.subscribe(EVENTS, 2);
    let subscribe = server.recv().await;
    assert_eq!(subscribe["input"], 2);
    assert_ne!(subscribe["id"], id);
    // Data for the first is ignored.
    server.send(json!({"type": "data", "id": id, "data": 1})).await;
    server.send(json!({"type": "complete", "id": id})).await;
    server.send(json!({"type": "data", "id": subscribe["id"], "data": 2})).await;
    assert_eq!(value(&mut second).await, 2);
    drop(server);
    let mut server = network.accept("c2").await;
    assert_eq!(server.recv().await["input"], 2, "only what runs is sent again");
    server.hears_nothing_for(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn an_item_of_another_type_ends_it() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut updates = client.subscribe(EVENTS, 7);
    let mut server = network.accept("c1").await;
    server.recv().await;
    server.send(json!({"type": "data", "id": "1", "data": "text"})).await;
    let error = soon(updates.next()).await.unwrap().unwrap_err();
    assert!(error.message().contains("room.events"), "{error}");
    assert!(soon(updates.next()).await.is_none());
    assert_eq!(server.recv().await, json!({"type": "unsubscribe", "id": "1"}));
}

#[tokio::test(start_paused = true)]
async fn subscriptions_and_calls_keep_their_order_over_a_reconnect() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let _first = client.subscribe(EVENTS, 1);
    let mut server = network.accept("c1").await;
    server.recv().await;
    network.refuse(true);
    drop(server);
    settle().await;
    let _call = client.call(ADD, (1, 2));
    let _second = client.subscribe(EVENTS, 2);
    network.refuse(false);
    let mut server = network.accept("c2").await;
    let frames: [Value; 3] = [server.recv().await, server.recv().await, server.recv().await];
    let told = frames.map(|frame| (frame["type"].as_str().unwrap().to_owned(), frame["id"].clone()));
    let order = [("subscribe", "1"), ("call", "2"), ("subscribe", "3")];
    assert_eq!(told, order.map(|(kind, id)| (kind.to_owned(), json!(id))));
}

#[tokio::test(start_paused = true)]
async fn what_an_old_connection_still_says_reaches_nobody() {
    let (mut network, builder) = Network::new();
    let client = builder.heartbeat(Duration::from_secs(1), Duration::from_secs(1)).connect();
    let mut updates = client.subscribe(EVENTS, 7);
    let mut old = network.accept("c1").await;
    // The server is silent until the client disconnects.
    let mut server = network.accept("c2").await;
    server.recv().await;
    assert!(old.try_send(json!({"type": "data", "id": "1", "data": 1, "offset": 1, "epoch": "e"})).await.is_err());
    send_item(&mut server, 2).await;
    assert_eq!(soon(updates.next()).await.unwrap().unwrap(), Update::Gap(Gap::new(0, "reconnect")));
    assert_eq!(value(&mut updates).await, 2);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_client() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut updates = client.subscribe(EVENTS, 7);
    let mut server = network.accept("c1").await;
    send_item(&mut server, 1).await;
    settle().await;
    drop(server);
    soon(client.close()).await;
    assert_eq!(value(&mut updates).await, 1, "what was received is not lost");
    assert!(soon(updates.next()).await.unwrap().unwrap_err().is_closed());
    assert!(soon(updates.next()).await.is_none());
    let mut late = client.subscribe(EVENTS, 7);
    assert!(soon(late.next()).await.unwrap().unwrap_err().is_closed());
    assert!(soon(late.next()).await.is_none());
}

async fn send_item(server: &mut Server, offset: u64) {
    server.send(json!({"type": "data", "id": "1", "data": offset, "offset": offset, "epoch": "e"})).await;
}

async fn value(updates: &mut Updates<u64>) -> u64 {
    match soon(updates.next()).await.expect("it ended").unwrap() {
        Update::Item { value, .. } => value,
        update => panic!("{update:?} is no item"),
    }
}
