use crate::support::{Network, Server, next_states, settle, soon};
use realtime_client::{CallOptions, Client, Reconnect, Update};
use realtime_core::{Procedure, Subscription};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::net::TcpListener;

const ADD: Procedure<u64, u64> = Procedure::new("add");
const EVENTS: Subscription<(), u64> = Subscription::new("events");

/// In each of its lives the server gets three calls: it answers one, ignores one, and dies of the third. The one with a
/// key runs in the next life.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_killed_twenty_times_loses_nothing_that_was_promised() {
    const LIVES: u64 = 20;
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let mut updates = client.subscribe(EVENTS, ());
    let mut tasks = Vec::new();
    let mut executions: HashMap<u64, u32> = HashMap::new();
    let mut offset = 0;

    for life in 0..LIVES {
        let mut server = network.accept(&format!("c{life}")).await;
        let subscribe = server.recv().await;
        assert_eq!(subscribe["id"], "1");
        assert_eq!(subscribe["credit"], 64);
        match life {
            0 => assert_eq!(subscribe.get("after"), None),
            _ => assert_eq!(subscribe["after"], json!({"epoch": "e", "offset": offset})),
        }
        if life > 0 {
            let again = server.recv().await;
            assert_eq!(again["idempotencyKey"], json!((life - 1).to_string()));
            *executions.entry(again["input"].as_u64().unwrap()).or_default() += 1;
            server.send(json!({"type": "result", "id": again["id"], "data": again["input"]})).await;
        }
        for part in 0..3 {
            let options = match part {
                2 => CallOptions::new().idempotency_key(life.to_string()),
                _ => CallOptions::new(),
            };
            let call = client.call_with(ADD, life * 3 + part, options);
            tasks.push(tokio::spawn(call));
        }
        let answered = server.recv().await;
        *executions.entry(answered["input"].as_u64().unwrap()).or_default() += 1;
        let result = json!({"type": "result", "id": answered["id"], "data": answered["input"]});
        server.send(result.clone()).await;
        server.send(result).await;
        server.recv().await;
        server.recv().await;
        offset += 1;
        server.send(json!({"type": "data", "id": "1", "data": offset, "offset": offset, "epoch": "e"})).await;
        let update = soon(updates.next()).await.unwrap().unwrap();
        assert!(matches!(update, Update::Item { value, .. } if value == offset), "{update:?}");
        drop(server);
    }

    let mut last = network.accept("last").await;
    assert_eq!(last.recv().await["type"], "subscribe");
    let again = last.recv().await;
    *executions.entry(again["input"].as_u64().unwrap()).or_default() += 1;
    last.send(json!({"type": "result", "id": again["id"], "data": again["input"]})).await;
    last.hears_nothing_for(Duration::from_secs(60)).await;

    for (number, task) in tasks.into_iter().enumerate() {
        let number = number as u64;
        let result = soon(task).await.unwrap();
        let executed = executions.get(&number).copied().unwrap_or_default();
        match number % 3 {
            1 => assert!(result.unwrap_err().is_retryable() && executed == 0, "call {number}"),
            _ => assert!(result.unwrap() == number && executed == 1, "call {number}"),
        }
    }
    let told = next_states(&mut states, 2).await;
    assert_eq!(told, ["connecting 1", "open c0"]);
    for life in 1..LIVES {
        let attempt = life + 1;
        let expected =
            [format!("reconnecting {attempt}: lost"), format!("connecting {attempt}"), format!("open c{life}")];
        assert_eq!(next_states(&mut states, 3).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_while_offline_is_never_sent() {
    let (mut network, builder) = Network::new();
    network.refuse(true);
    let client = builder.connect();
    let calls: Vec<_> = (0..300).map(|n| client.call(ADD, n)).collect();
    settle().await;
    network.refuse(false);
    let mut server = network.accept("c1").await;
    let mut sent = Vec::new();
    for _ in 0..256 {
        let frame = server.recv().await;
        sent.push(frame["input"].as_u64().unwrap());
        server.send(json!({"type": "result", "id": frame["id"], "data": frame["input"]})).await;
    }
    server.hears_nothing_for(Duration::from_secs(60)).await;
    for (n, call) in calls.into_iter().enumerate() {
        let n = n as u64;
        assert_eq!(soon(call).await.is_ok(), sent.contains(&n), "call {n}");
    }
    assert_eq!(sent, (0..256).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_reading_is_noticed_and_left() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let _stuck = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    for _ in 0..16 {
        client.send("x".repeat(512 << 10)).unwrap();
    }
    assert_eq!(next_states(&mut states, 3).await[2], "reconnecting 1: silent");
    // Unsent calls may wait, as far as the queue has room.
    let mut server = network.accept("c2").await;
    assert_eq!(server.recv().await["value"].as_str().map(str::len), Some(512 << 10));
    server.hears_nothing_for(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn states_nobody_reads_are_bounded_and_the_last_is_true() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    for life in 0..100 {
        drop(network.accept(&format!("c{life}")).await);
        settle().await;
    }
    soon(client.close()).await;
    let mut all = Vec::new();
    while let Some(state) = soon(states.next()).await {
        all.push(state);
    }
    assert_eq!(all.len(), 64);
    assert_eq!(all.last(), Some(&client.state()));
}

/// Uses real sockets and threads: a lost wake-up would leave a call without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_of_many_tasks_survive_a_server_that_dies_again_and_again() {
    const TASKS: u64 = 8;
    const CALLS: u64 = 100;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/__realtime/api", listener.local_addr().unwrap());
    let lives = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&lives);
    let server = tokio::spawn(async move {
        loop {
            let (io, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Relaxed);
            let mut server = Server::upgrade(io).await;
            server.send(json!({"type": "welcome", "connection": "c", "heartbeatMs": 25_000})).await;
            for _ in 0..50 {
                let Some(frame) = server.next_frame().await else { break };
                let answer = json!({"type": "result", "id": frame["id"], "data": frame["input"]});
                server.try_send(answer).await.ok();
            }
        }
    });

    let reconnect = Reconnect::default().between(Duration::from_millis(1), Duration::from_millis(5));
    let client = Client::builder(url).reconnect(reconnect).connect();
    let callers: Vec<_> = (0..TASKS)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for number in 0..CALLS {
                    let number = task * CALLS + number;
                    let options = CallOptions::new().idempotency_key(number.to_string());
                    assert_eq!(client.call_with(ADD, number, options).await.unwrap(), number);
                }
            })
        })
        .collect();
    for caller in callers {
        soon(caller).await.unwrap();
    }
    soon(client.close()).await;
    assert!(lives.load(Relaxed) >= TASKS * CALLS / 50);
    server.abort();
}
