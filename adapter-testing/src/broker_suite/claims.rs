use super::node::{BrokerNode, name};
use bytes::Bytes;
use realtime_core::Broker;
use std::time::Duration;

const KEEP: Duration = Duration::from_secs(60);

pub(super) async fn a_claim_is_of_the_first<B: Broker>(first: &BrokerNode<B>, second: &BrokerNode<B>) {
    let key = name("claim");
    let value = Bytes::from_static(b"\0first\xff");
    assert_eq!(first.broker.claim(&key, &value, KEEP).await.expect("it is answered"), None);
    assert_eq!(second.broker.claim(&key, b"second", KEEP).await.expect("it is answered"), Some(value.clone()));
    assert_eq!(first.broker.claim(&key, b"third", KEEP).await.expect("it is answered"), Some(value));
}

pub(super) async fn a_claim_is_settled_by_its_value<B: Broker>(first: &BrokerNode<B>, second: &BrokerNode<B>) {
    let key = name("settled");
    assert!(!first.broker.settle(&key, b"running", b"done", KEEP).await.expect("it is answered"));
    assert_eq!(first.broker.claim(&key, b"running", KEEP).await.expect("it is answered"), None);
    assert!(!second.broker.settle(&key, b"other", b"stolen", KEEP).await.expect("it is answered"));
    assert!(second.broker.settle(&key, b"running", b"done", KEEP).await.expect("it is answered"));
    assert_eq!(
        first.broker.claim(&key, b"again", KEEP).await.expect("it is answered"),
        Some(Bytes::from_static(b"done"))
    );
}
