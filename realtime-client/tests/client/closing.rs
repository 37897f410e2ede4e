use crate::support::{Network, next_states, settle, soon};
use realtime_core::Event;
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

const TYPING: Event<bool> = Event::new("TYPING");

#[tokio::test(start_paused = true)]
async fn closing_sends_what_waits_and_then_a_close_frame() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    client.emit(TYPING, true).unwrap();
    let begin = Instant::now();
    let peer = async {
        assert_eq!(server.recv().await, json!({"type": "event", "name": "TYPING", "data": true}));
        assert_eq!(server.closed().await, 1000);
        // The server replies, and leaves closing the socket to the client.
        server.gone().await;
    };
    tokio::join!(client.close(), peer);
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(next_states(&mut states, 3).await, ["connecting 1", "open c1", "closed: local"]);
    assert!(soon(states.next()).await.is_none());
    assert!(client.emit(TYPING, true).unwrap_err().is_closed());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(network.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_takes_3_seconds_on_a_dead_network() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let _dead = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    // More than the network buffers, so that not even the close frame gets through.
    client.send("x".repeat(1 << 20)).unwrap();
    settle().await;
    let begin = Instant::now();
    soon(client.close()).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn closing_while_a_token_is_fetched_drops_it() {
    struct Flag(Arc<AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }

    let (network, builder) = Network::new();
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let token = move || {
        let flag = Flag(Arc::clone(&flag));
        async move {
            let _flag = flag;
            std::future::pending().await
        }
    };
    let client = builder.token(token).connect();
    settle().await;
    assert!(!dropped.load(Relaxed));
    let begin = Instant::now();
    soon(client.close()).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert!(dropped.load(Relaxed));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(network.attempts(), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_while_connecting_makes_no_other_attempt() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let _silent = network.dialed().await;
    soon(client.close()).await;
    assert_eq!(next_states(&mut states, 2).await, ["connecting 1", "closed: local"]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(network.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_while_waiting_makes_no_other_attempt() {
    let (network, builder) = Network::new();
    network.refuse(true);
    let client = builder.connect();
    let mut states = client.states();
    next_states(&mut states, 12).await;
    let attempts = network.attempts();
    soon(client.close()).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(network.attempts(), attempts);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let mut server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    let other = client.clone();
    drop(client);
    server.hears_nothing_for(Duration::from_secs(60)).await;
    drop(other);
    assert_eq!(server.closed().await, 1000);
    drop(server);
    assert_eq!(next_states(&mut states, 3).await[2], "closed: local");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_runtime_ends_the_client() {
    let (_network, builder) = Network::new();
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { builder.connect() })
    });
    let client = client.join().unwrap();
    assert!(soon(client.opened()).await.unwrap_err().is_closed());
    soon(client.close()).await;
}
