//! A client that leaves while its handler waits for room.

use adapter_testing::{TestFrame, TestServer, block_on};
use realtime_core::{Config, Connection, Feed, Handler, Log, Realtime, Result, Topic};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

const FEED: Feed<String> = Topic::fixed("states").log(Log::last(10));

/// Fills the outbox, and then sends a state, for which there is no room.
#[derive(Default)]
struct Full {
    begun: Arc<AtomicUsize>,
    done: Arc<AtomicUsize>,
}

impl Handler for Full {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, connection: &Connection<Self>, text: String) -> Result {
        self.begun.fetch_add(1, SeqCst);
        connection.sleep(Duration::from_secs(1)).await;
        for _ in 0..100 {
            let _ = connection.send(text.clone());
        }
        let _ = connection.follow_or_begin_with(&FEED, None, || async { Ok(text) }).await;
        self.done.fetch_add(1, SeqCst);
        Ok(())
    }
}

/// Its thread would have no other turn.
#[test]
fn a_state_is_dropped_when_its_client_leaves_without_reading() {
    block_on(async {
        let (begun, done) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let handler = Full { begun: Arc::clone(&begun), done: Arc::clone(&done) };
        let mut config = Config::default();
        config.outbox_bytes = 4096;
        let server = TestServer::new(Realtime::builder().config(config).handler("full", handler).build());
        let mut client = server.connect::<Full>("full", ()).await.unwrap();
        client.stall();
        client.send("x".repeat(500)).await;
        server.settle().await;
        client.send_frame(&TestFrame::close(1000, "")).await;
        server.settle().await;
        assert_eq!((begun.load(SeqCst), done.load(SeqCst)), (1, 0));
        server.advance(Duration::from_secs(1)).await;
        assert_eq!(done.load(SeqCst), 1);
    });
}
