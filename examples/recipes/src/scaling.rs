use broker_redis::{Redis, RedisBroker};
use realtime_core::{Endpoint, Feed, Log, Procedure, Realtime, RealtimeBuilder, Result, Subscription, Topic};

pub const SAY: Procedure<String, ()> = Procedure::new("say");
pub const SAID: Subscription<(), String> = Subscription::new("said");
const LOG: Feed<String> = Topic::fixed("said").log(Log::last(100));

/// A node without its broker: nothing in it says how many there are.
pub fn app() -> RealtimeBuilder {
    let api = Endpoint::new(())
        .procedure(SAY, |call, text| async move { Ok(call.append(&LOG, &text).await.map(drop)?) })
        .feed(SAID, |_, ()| async { Ok(LOG.follow()) });
    Realtime::builder().endpoint("api", api)
}

/// Builds a node: alone, or one of several on this Redis.
pub async fn node(redis: Option<&str>) -> Result<Realtime> {
    let Some(url) = redis else { return Ok(app().build()) };
    let broker = RedisBroker::connect(Redis::url(url)).await?;
    Ok(app().broker(broker).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use adapter_testing::{TestServer, block_on};
    use realtime_core::MemoryBroker;

    #[test]
    fn nodes_share_a_feed() {
        block_on(async {
            let broker = MemoryBroker::new();
            let second = TestServer::new(app().broker(broker.join()).build());
            let first = TestServer::new(app().broker(broker).build());
            let (mut ann, mut bob) = (first.open("api").await.unwrap(), second.open("api").await.unwrap());
            let mut heard = bob.subscribe(SAID, ()).await;
            second.settle().await;
            ann.call(SAY, "hello".into()).await.unwrap();
            assert_eq!(heard.next().await.unwrap(), "hello");
        });
    }

    #[test]
    fn a_node_without_a_broker_is_alone() {
        assert!(block_on(node(None)).is_ok());
    }
}
