//! An entry that cannot be written in the format of one who follows.

use adapter_testing::{TestServer, block_on};
use realtime_core::{Connection, Feed, Handler, Log, Realtime, Result, Topic};
use serde_json::{Value, json};

const FEED: Feed<Value> = Topic::fixed("deep").log(Log::last(10));

struct Follower;

impl Handler for Follower {
    type Input = ();
    type ClientMessage = Value;
    type ServerMessage = Value;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.follow(&FEED, None).await.map(|_| ())
    }

    async fn on_message(&self, _: &Connection<Self>, _: Value) -> Result {
        Ok(())
    }
}

#[test]
fn a_client_is_told_that_it_misses_the_entry() {
    block_on(async {
        let server = TestServer::new(Realtime::builder().handler("follower", Follower).build());
        let request = server.request("follower").subprotocol("realtime.v1.msgpack");
        let mut client = request.connect::<Follower>().await.unwrap();
        server.settle().await;
        let deep = (0..200).fold(json!(7), |inner, _| json!([inner]));
        server.realtime().append(&FEED, &deep).await.unwrap();
        server.realtime().append(&FEED, &json!("next")).await.unwrap();
        server.settle().await;
        let mut told = Vec::new();
        while let Ok(Some(frame)) = client.try_frame().await {
            told.push(frame.payload);
        }
        let has = |payload: &[u8], text: &str| payload.windows(text.len()).any(|part| part == text.as_bytes());
        let at = |text| told.iter().position(|payload| has(payload, text));
        let (gap, next) = (at("gap"), at("next"));
        assert!(next.is_some());
        assert!(gap.is_some() && gap < next, "{told:?}");
    });
}
