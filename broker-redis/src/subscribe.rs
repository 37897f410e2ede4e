use crate::{
    link::Link,
    master::Master,
    trouble::{self, Trouble},
};
use futures_util::future::join_all;
use realtime_core::{Result, broker::FollowChange};
use redis::{RedisResult, Value};
use std::collections::HashMap;
use tokio::time::Instant;

/// Channels that one request subscribes, so that a server is not held up for long.
const BATCH: usize = 512;

impl Link {
    /// Changes what the node is brought; returns once that is confirmed.
    pub(crate) async fn follow(&self, changes: &[FollowChange]) -> Result<(), Trouble> {
        let _subscribing = self.subscribing.lock().await;
        self.wanted.change(changes, &self.names);
        // Not waited for: finding masters needs the lock that is held here, and subscribes by itself what is wanted.
        let now = Instant::now();
        let mut by_master: HashMap<String, (_, [Vec<String>; 2])> = HashMap::new();
        for FollowChange { topic, of, wanted } in changes {
            let master = self.master(self.names.partition(topic), now).await?;
            let (_, channels) =
                by_master.entry(master.address.clone()).or_insert_with(|| (master, Default::default()));
            channels[usize::from(*wanted)].push(self.names.channel(*of, topic));
        }
        let sharded = self.redis.place.is_cluster();
        let done = by_master.values().map(|(master, [unwanted, wanted])| async move {
            subscribe(master, unwanted, false, sharded).await?;
            subscribe(master, wanted, true, sharded).await
        });
        join_all(done).await.into_iter().collect()
    }
}

/// Subscribes to channels, or ends that; returns once it is confirmed.
pub(crate) async fn subscribe(
    master: &Master,
    channels: &[String],
    wanted: bool,
    sharded: bool,
) -> Result<(), Trouble> {
    let command = match (wanted, sharded) {
        (true, false) => "SUBSCRIBE",
        (true, true) => "SSUBSCRIBE",
        (false, false) => "UNSUBSCRIBE",
        (false, true) => "SUNSUBSCRIBE",
    };
    for channels in channels.chunks(BATCH) {
        let mut pipe = redis::pipe();
        // One reply for each command: redis-rs would take the others of a list for those of the next requests.
        channels.iter().for_each(|channel| {
            pipe.cmd(command).arg(channel);
        });
        let replies: RedisResult<Vec<Value>> = pipe.query_async(&mut master.subscriber.clone()).await;
        trouble::read(replies, &master.address).map_err(|trouble| master.noted(trouble))?;
    }
    Ok(())
}
