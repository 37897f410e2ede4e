//! The thread is busy, or the process is stopped, while time goes on: data already in the socket counts before any
//! deadline.

use crate::support::{Network, Server, next_states, settle, soon};
use realtime_client::{CallOptions, State};
use realtime_core::Procedure;
use serde_json::json;
use std::time::Duration;
use tokio::time::advance;

const ADD: Procedure<(), u32> = Procedure::new("add");
const HOUR: Duration = Duration::from_secs(3600);

/// A `select!` starts with any of its branches: each case runs several times.
const ROUNDS: usize = 20;

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_ping_that_lies_in_the_socket_counts() {
    for pause in [Duration::from_secs(5), Duration::from_millis(5300), HOUR].repeat(ROUNDS) {
        let (mut network, builder) = Network::new();
        let client = builder.heartbeat(Duration::from_secs(20), Duration::from_secs(5)).connect();
        let mut server = network.accept("c1").await;
        server.pinged().await;
        server.send(json!({"type": "pong"})).await;
        client.send(1).unwrap();
        advance(pause).await;
        settle().await;
        assert!(matches!(client.state(), State::Open { .. }), "{:?} after {pause:?}", client.state());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_the_client_is_no_silence_of_the_server() {
    let (mut network, builder) = Network::new();
    let client = builder.heartbeat(Duration::from_secs(20), Duration::from_secs(5)).connect();
    let mut states = client.states();
    let mut server = network.accept("c1").await;
    server.pinged().await;
    advance(HOUR).await;
    // The client pings once more, and waits the full time for the answer.
    server.pinged().await;
    advance(Duration::from_secs(4)).await;
    server.send(json!({"type": "pong"})).await;
    settle().await;
    assert!(matches!(client.state(), State::Open { .. }));
    server.pinged().await;
    assert_eq!(next_states(&mut states, 3).await[2], "reconnecting 1: silent");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_lies_in_the_socket_counts_before_the_calls_deadline() {
    for pause in [Duration::from_secs(5), HOUR] {
        let (mut network, builder) = Network::new();
        let client = builder.connect();
        let mut server = network.accept("c1").await;
        let call = client.call_with(ADD, (), CallOptions::new().timeout(Duration::from_secs(5)));
        let id = server.recv().await["id"].clone();
        // More messages than one turn of a task may take from its socket.
        for _ in 0..1000 {
            server.send(json!({"type": "message", "value": 0})).await;
        }
        server.send(json!({"type": "result", "id": id, "data": 7})).await;
        advance(pause).await;
        assert_eq!(soon(call).await.unwrap(), 7, "after {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_answer_is_not_there_fails_also_after_a_pause() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    let call = client.call_with(ADD, (), CallOptions::new().timeout(Duration::from_secs(5)));
    server.recv().await;
    advance(HOUR).await;
    assert!(soon(call).await.unwrap_err().is_timeout());
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_that_lies_in_the_socket_counts_before_the_silence() {
    for _ in 0..ROUNDS {
        let (mut network, builder) = Network::new();
        let client = builder.heartbeat(Duration::from_secs(20), Duration::from_secs(5)).connect();
        let mut states = client.states();
        let mut server = network.accept("c1").await;
        server.pinged().await;
        server.say_close(4000).await;
        client.send(1).unwrap();
        advance(Duration::from_secs(5)).await;
        assert_eq!(next_states(&mut states, 3).await[2], "closed: 4000");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_while_connecting_does_not_end_the_attempt() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let io = network.dialed().await;
    advance(HOUR).await;
    let mut server = Server::upgrade(io).await;
    advance(HOUR).await;
    server.send(json!({"type": "welcome", "connection": "c1", "heartbeatMs": 25_000})).await;
    assert_eq!(next_states(&mut states, 2).await, ["connecting 1", "open c1"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_while_closing_leaves_the_server_its_time() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    let closing = tokio::spawn(async move { client.close().await });
    assert_eq!(server.closed().await, 1000);
    advance(HOUR).await;
    settle().await;
    assert!(!closing.is_finished());
    server.gone().await;
    soon(closing).await.unwrap();
}
