use crate::support::{Network, next_states, settle, soon};
use realtime_client::State;
use realtime_core::Procedure;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, advance, sleep};

#[tokio::test(start_paused = true)]
async fn close_codes_say_whether_to_come_back() {
    for code in [1001, 1011, 1012, 1013] {
        let (mut network, builder) = Network::new();
        let client = builder.connect();
        let mut states = client.states();
        network.accept("c1").await.close(code).await;
        let _server = network.accept("c2").await;
        let told = ["connecting 1", "open c1", &format!("reconnecting 2: {code}"), "connecting 2", "open c2"];
        assert_eq!(next_states(&mut states, 5).await, told);
    }
    for code in [1000, 1002, 1003, 1007, 1008, 1009, 4000, 4999] {
        let (mut network, builder) = Network::new();
        let client = builder.connect();
        let mut states = client.states();
        network.accept("c1").await.close(code).await;
        assert_eq!(next_states(&mut states, 3).await, ["connecting 1", "open c1", &format!("closed: {code}")]);
        assert!(soon(states.next()).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_application_may_say_which_close_codes_are_final() {
    let (mut network, builder) = Network::new();
    let client = builder.reconnect_on(|code| code == 4001).connect();
    let mut states = client.states();
    network.accept("c1").await.close(4001).await;
    network.accept("c2").await.close(1012).await;
    let told = next_states(&mut states, 6).await;
    assert_eq!(told[2..], ["reconnecting 2: 4001", "connecting 2", "open c2", "closed: 1012"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_made_again() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    drop(network.accept("c1").await);
    let _server = network.accept("c2").await;
    let told = ["connecting 1", "open c1", "reconnecting 2: lost", "connecting 2", "open c2"];
    assert_eq!(next_states(&mut states, 5).await, told);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stayed_open_begins_the_count_anew() {
    let (mut network, builder) = Network::new();
    network.refuse(true);
    let client = builder.connect();
    let mut states = client.states();
    next_states(&mut states, 20).await;
    network.refuse(false);
    let server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    drop(server);
    let _server = network.accept("c2").await;
    while !matches!(soon(states.next()).await, Some(State::Open { .. })) {}
    let Some(State::Reconnecting { attempt, after, .. }) = soon(states.next()).await else {
        panic!("it is not lost");
    };
    assert_eq!(attempt, 1);
    assert!(after <= Duration::from_millis(300), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_asked_about_and_then_is_a_lost_connection() {
    let (mut network, builder) = Network::new();
    let client = builder.heartbeat(Duration::from_secs(20), Duration::from_secs(5)).connect();
    let mut states = client.states();
    // A server that reads nothing answers no ping.
    let _silent = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    let begin = Instant::now();
    assert_eq!(next_states(&mut states, 3).await[2], "reconnecting 1: silent");
    assert_eq!(begin.elapsed(), Duration::from_secs(25));
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_is_answered_keeps_the_connection() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    server.hears_nothing_for(Duration::from_secs(3600)).await;
    assert!(matches!(client.state(), State::Open { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_long_message_on_a_slow_line_is_no_silence() {
    let (mut network, builder) = Network::new();
    let client = builder.heartbeat(Duration::from_secs(2), Duration::from_secs(2)).connect();
    let mut messages = client.messages::<String>();
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    let text = json!({"type": "message", "value": "x".repeat(60_000)}).to_string();
    // The header of a text frame with a 16-bit length.
    let mut bytes = vec![0x81, 126];
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend(text.into_bytes());
    for part in bytes.chunks(1000) {
        server.send_raw(part).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(soon(messages.next()).await.unwrap().unwrap().len(), 60_000);
    assert!(matches!(client.state(), State::Open { .. }));
}

#[tokio::test(start_paused = true)]
async fn the_silence_is_as_long_as_the_welcome_says() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let mut server = network.upgraded().await;
    server.send(json!({"type": "welcome", "connection": "c1", "heartbeatMs": 2000})).await;
    soon(client.opened()).await.unwrap();
    let begin = Instant::now();
    assert_eq!(next_states(&mut states, 3).await[2], "reconnecting 1: silent");
    assert_eq!(begin.elapsed(), Duration::from_secs(12));
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_counts_also_where_nothing_can_be_written_any_more() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    client.send("x".repeat(1 << 20)).unwrap();
    settle().await;
    server.say_close(4000).await;
    drop(server);
    assert_eq!(next_states(&mut states, 3).await[2], "closed: 4000");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_cannot_be_read_ends_the_connection_and_not_the_client() {
    for text in ["[", r#"{"type":"result"}"#, r#"{"type":"data","id":"1","id":"1"}"#] {
        let (mut network, builder) = Network::new();
        let client = builder.connect();
        let mut states = client.states();
        let mut server = network.accept("c1").await;
        server.send_text(text).await;
        assert_eq!(next_states(&mut states, 3).await[2], "reconnecting 2: lost");
        advance(Duration::from_secs(1)).await;
        let _server = network.accept("c2").await;
        soon(client.opened()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn frames_and_fields_of_a_later_version_cost_no_connection() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let mut messages = client.messages::<u32>();
    let mut server = network.upgraded().await;
    let later = json!({"type": "laterType", "id": 7, "count": null, "error": 1});
    server.send(later.clone()).await;
    server.send(json!({"type": "welcome", "connection": "c1", "heartbeatMs": 25000.0, "id": 7})).await;
    server.send(later).await;
    server.send(json!({"type": "message", "value": 1, "id": 7, "count": null, "path": {}})).await;
    assert_eq!(soon(messages.next()).await.unwrap().unwrap(), 1);
    assert_eq!(next_states(&mut states, 2).await, ["connecting 1", "open c1"]);
    assert!(matches!(client.state(), State::Open { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_cannot_be_read_ends_its_call_and_nothing_else() {
    const ADD: Procedure<(), ()> = Procedure::new("add");
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut server = network.accept("c1").await;
    let call = client.call(ADD, ());
    let id = server.recv().await["id"].clone();
    server.send(json!({"type": "error", "id": id, "error": "no"})).await;
    let error = soon(call).await.unwrap_err();
    assert!(error.is_remote());
    assert_eq!(error.message(), "the server's error cannot be read");
    assert!(matches!(client.state(), State::Open { .. }));
}
