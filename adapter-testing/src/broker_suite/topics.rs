use super::node::{BrokerNode, name};
use bytes::Bytes;
use realtime_core::{
    Broker, ConnectionId,
    broker::{Arrival, Publication, Source},
};
use realtime_protocol::Kind;

pub(super) async fn publications_arrive_in_order_and_unchanged<B: Broker>(
    first: &BrokerNode<B>,
    second: &BrokerNode<B>,
) {
    let topic = name("order");
    second.follow(&topic, Source::Topic).await;
    let whole = Some((Kind::Binary, Bytes::from_static(b"\0\xff\r\n")));
    let except = vec![ConnectionId { node: 1, number: u64::MAX }, ConnectionId { node: u64::MAX, number: 0 }];
    let full = Publication::new(7, topic.clone(), Bytes::from_static(b"{\"a\":1}"), whole, except)
        .with_msgpack(Bytes::from_static(&[0x81, 0xa1, 0x61, 0x01]))
        .with_event("moved".to_owned())
        .with_key("k".to_owned());
    let mut batch = vec![full];
    batch.extend((0..1000).map(|number| first.publication(&topic, &number.to_string())));
    first.broker.publish(&batch).await.expect("the batch is taken");
    for publication in batch {
        assert_eq!(second.arrival().await, Arrival::Publication(publication));
    }
}

pub(super) async fn a_node_is_brought_its_own_publications<B: Broker>(node: &BrokerNode<B>) {
    let topic = name("own");
    node.follow(&topic, Source::Topic).await;
    node.publish(&topic, &["hello"]).await;
    assert_eq!(node.text().await, (topic, "hello".to_owned()));
}

pub(super) async fn what_is_not_followed_any_more_does_not_come<B: Broker>(
    first: &BrokerNode<B>,
    second: &BrokerNode<B>,
) {
    let topic = name("ended");
    second.follow(&topic, Source::Topic).await;
    first.publish(&topic, &["before"]).await;
    assert_eq!(second.text().await.1, "before");
    second.unfollow(&topic, Source::Topic).await;
    first.publish(&topic, &["without"]).await;
    second.follow(&topic, Source::Topic).await;
    first.publish(&topic, &["after"]).await;
    assert_eq!(second.text().await.1, "after");
}

pub(super) async fn any_name_and_any_size_arrive<B: Broker>(first: &BrokerNode<B>, second: &BrokerNode<B>) {
    let long = "x".repeat(1024 * 1024);
    for base in ["a b", "*?[x]", "{tag}:t:l", "\r\n\0", "日本.>", &"n".repeat(200)] {
        let topic = name(base);
        second.follow(&topic, Source::Topic).await;
        first.publish(&topic, &["", &long, "end"]).await;
        for expected in ["", &long, "end"] {
            let (from, text) = second.text().await;
            assert!(from == topic && text == expected, "{from:?}: {} bytes", text.len());
        }
    }
}

pub(super) async fn a_topic_and_a_feed_of_one_name_are_two<B: Broker>(
    first: &BrokerNode<B>,
    second: &BrokerNode<B>,
) {
    let both = name("both");
    first.follow(&both, Source::Topic).await;
    second.follow(&both, Source::Log).await;
    first.append(&both, &["entry"]).await;
    first.publish(&both, &["publication"]).await;
    first.append(&both, &["entry"]).await;
    assert_eq!(first.text().await.1, "publication");
    assert_eq!((second.record().await.first, second.record().await.first), (1, 2));
}

pub(super) fn shards_are_stable_and_below_their_number<B: Broker>(node: &BrokerNode<B>) {
    let shards = node.broker.abilities().shards;
    assert!(shards >= 1);
    for number in 0..100 {
        let topic = format!("topic {number}");
        let shard = node.broker.shard_of(&topic);
        assert!(shard < shards && shard == node.broker.shard_of(&topic), "{shard} of {shards}");
    }
}
