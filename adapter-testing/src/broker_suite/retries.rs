use super::node::{BrokerNode, again, name};
use realtime_core::{
    AppendError, Broker,
    broker::{Draft, Page, Retention, Source},
};
use realtime_protocol::Code;

pub(super) async fn a_retry_finds_what_the_first_attempt_appended<B: Broker>(
    first: &BrokerNode<B>,
    second: &BrokerNode<B>,
) {
    let feed = name("found");
    for before in 0..3 {
        let known = first.top(&feed).await;
        let draft = first.draft(&feed, &["a", "b"]);
        second.append(&feed, &vec!["other"; before + 1]).await;
        let position = first.broker.append(&draft, None).await.expect("the record is appended");
        second.append(&feed, &["other"]).await;
        let top = first.top(&feed).await;
        for _ in 0..2 {
            let found = first.broker.append(&again(&draft), Some(&known)).await.expect("the record is found");
            assert_eq!(found, position);
        }
        assert_eq!(first.top(&feed).await, top);
    }
}

pub(super) async fn a_retry_of_what_was_not_appended_appends_it<B: Broker>(
    first: &BrokerNode<B>,
    second: &BrokerNode<B>,
) {
    let feed = name("again");
    first.append(&feed, &["a"]).await;
    let known = first.top(&feed).await;
    let draft = first.draft(&feed, &["b"]);
    second.append(&feed, &["c", "d"]).await;
    second.follow(&feed, Source::Log).await;
    let draft = again(&draft);
    let position = first.broker.append(&draft, Some(&known)).await.expect("the record is appended");
    assert_eq!(position.offset, 4);
    let record = second.record().await;
    assert_eq!((record.first, record.body), (4, draft.body));
}

pub(super) async fn a_retry_on_a_log_that_is_not_there_appends<B: Broker>(node: &BrokerNode<B>) {
    let feed = name("new");
    let draft = node.draft(&feed, &["a"]);
    let nothing = Page::empty().top;
    let position = node.broker.append(&draft, Some(&nothing)).await.expect("the record is appended");
    assert_eq!(position.offset, 1);
    let found = node.broker.append(&again(&draft), Some(&nothing)).await.expect("the record is found");
    assert_eq!(found, position);
}

pub(super) async fn a_retry_is_unknown_where_the_log_was_trimmed<B: Broker>(node: &BrokerNode<B>) {
    let feed = name("unknown");
    node.append(&feed, &["a"]).await;
    let known = node.top(&feed).await;
    let lost = node.draft(&feed, &["lost"]);
    let keep = Retention { entries: 10, ..lost.keep };
    for _ in 0..500 {
        let draft = Draft { keep, ..node.draft(&feed, &["b"]) };
        node.broker.append(&draft, None).await.expect("the record is appended");
    }
    let top = node.top(&feed).await;
    match node.broker.append(&again(&lost), Some(&known)).await {
        Err(AppendError::Unknown(error)) => assert_eq!(error.code(), &Code::DEADLINE_EXCEEDED),
        other => panic!("expected an unknown outcome, not {other:?}"),
    }
    assert_eq!(node.top(&feed).await, top);
}
