use adapter_testing::BrokerNode;
use broker_redis::RedisBroker;
use realtime_core::{AppendError, Broker, Position, broker::Draft};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Appends as a node does: tries the same draft again until it is certain that it is in the log, once.
///
/// # Panics
///
/// If that takes longer than 20 s.
pub(crate) async fn append_surely(node: &BrokerNode<RedisBroker>, draft: &Draft, known: &Position) -> Position {
    let until = Instant::now() + Duration::from_secs(20);
    let mut may_be_there = false;
    loop {
        let attempt = Draft { tag: fastrand::u64(..), ..draft.clone() };
        let outcome = node.broker.append(&attempt, may_be_there.then_some(known)).await;
        match outcome {
            Ok(position) => return position,
            Err(error) => {
                assert!(Instant::now() < until, "not appended: {error}");
                may_be_there |= matches!(error, AppendError::Unknown(_));
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the texts in the log of a feed from its begin, as its records tell them.
pub(crate) async fn texts(node: &BrokerNode<RedisBroker>, feed: &str) -> Vec<String> {
    let page = node.broker.read(feed, 0, usize::MAX).await.unwrap();
    let entries = page.records.iter().flat_map(|record| &record.body.entries);
    entries.map(|entry| String::from_utf8_lossy(&entry.json).trim_matches('"').to_owned()).collect()
}
