use super::node::{BrokerNode, name, texts};
use futures_util::future::{join, join_all};
use realtime_core::{
    Broker, Position,
    broker::{Draft, Page, Proof, Record, Retention, Source},
};

pub(super) async fn positions_follow_each_other_and_their_proofs_chain<B: Broker>(
    first: &BrokerNode<B>,
    second: &BrokerNode<B>,
) {
    let feed = name("chain");
    second.follow(&feed, Source::Log).await;
    let (mut offset, mut proof) = (0, Proof::NONE);
    let mut epochs = Vec::new();
    for count in [1, 3, 64, 2] {
        let draft = first.draft(&feed, &vec!["entry"; count]);
        let position = first.broker.append(&draft, None).await.expect("the record is appended");
        let base = proof;
        proof = proof.after(draft.tag);
        assert_eq!((position.offset, position.proof.clone()), (offset + count as u64, Some(proof.to_string())));
        let record = second.record().await;
        assert_eq!((&record.topic, record.first, record.base, record.proof), (&feed, offset + 1, base, proof));
        assert_eq!(record.body, draft.body);
        assert_eq!(record.position(record.last()), position);
        offset = position.offset;
        epochs.push(position.epoch);
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0] && epoch.contains('.')), "{epochs:?}");
}

pub(super) async fn a_log_is_read_from_each_offset<B: Broker>(node: &BrokerNode<B>) {
    let feed = name("read");
    let long = "x".repeat(70_000);
    let mut all = Vec::new();
    for count in 1..30 {
        let mut entries = vec!["entry"; count % 5 + 1];
        if count == 7 {
            entries.push(&long);
        }
        node.append(&feed, &entries).await;
        all.extend(entries);
    }
    let top = node.top(&feed).await;
    assert_eq!(top.offset, all.len() as u64);
    for after in 0..=top.offset {
        let page = node.broker.read(&feed, after, usize::MAX).await.expect("the log is read");
        assert_eq!((&page.top, page.first), (&top, 1));
        check_chain(&page);
        let begin = page.records.first().map_or(after + 1, |record| record.first);
        assert!(begin <= after + 1 && page.records.iter().all(|record| record.last() > after));
        let read: Vec<_> = page.records.iter().flat_map(texts).collect();
        assert_eq!(read, all[begin as usize - 1..], "behind {after}");
    }
    let beyond = node.broker.read(&feed, top.offset + 10, 1000).await.expect("the log is read");
    assert_eq!((beyond.records.len(), beyond.top), (0, top));
}

pub(super) async fn a_page_keeps_to_its_limit<B: Broker>(node: &BrokerNode<B>) {
    let feed = name("page");
    let entry = "x".repeat(1000);
    for _ in 0..50 {
        node.append(&feed, &[&entry]).await;
    }
    let page = async |after, limit| node.broker.read(&feed, after, limit).await.expect("the log is read");
    assert_eq!(page(0, 1).await.records.len(), 1);
    let records = page(0, 20_000).await.records.len();
    assert!((10..=20).contains(&records), "{records}");
    let (mut after, mut read) = (0, 0);
    while after < 50 {
        let page = page(after, 7000).await;
        read += page.records.len();
        after = page.records.last().expect("there is more").last();
    }
    assert_eq!(read, 50);
}

pub(super) async fn a_log_that_was_never_appended_to_is_empty<B: Broker>(node: &BrokerNode<B>) {
    let feed = name("nothing");
    assert_eq!(node.broker.read(&feed, 0, 1000).await.expect("it is answered"), Page::empty());
    assert_eq!(node.broker.read(&feed, 9, 1000).await.expect("it is answered"), Page::empty());
    assert_eq!(node.top(&feed).await, Page::empty().top);
}

pub(super) async fn tops_are_those_of_the_logs_asked_for<B: Broker>(node: &BrokerNode<B>) {
    let feeds: Vec<_> = (0..700).map(|_| name("top")).collect();
    let mut expected = vec![Page::empty().top; feeds.len()];
    for at in (0..feeds.len()).step_by(70) {
        expected[at] = node.append(&feeds[at], &["a", "b"]).await;
    }
    let names: Vec<_> = feeds.iter().map(|feed| &**feed).collect();
    assert_eq!(node.broker.tops(&names).await.expect("it is answered"), expected);
    assert_eq!(node.broker.tops(&[]).await.expect("it is answered"), Vec::new());
}

pub(super) async fn appends_of_two_nodes_have_one_order<B: Broker>(first: &BrokerNode<B>, second: &BrokerNode<B>) {
    let feed = name("two");
    first.follow(&feed, Source::Log).await;
    second.follow(&feed, Source::Log).await;
    let append = async |node: &BrokerNode<B>| join_all((0..100).map(|_| node.append(&feed, &["a", "b"]))).await;
    let (of_first, of_second) = join(append(first), append(second)).await;
    let mut offsets: Vec<_> = of_first.iter().chain(&of_second).map(|position| position.offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=200).map(|record| record * 2).collect::<Vec<_>>());
    let (mut by_first, mut by_second) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        by_first.push(first.record().await);
        by_second.push(second.record().await);
    }
    assert_eq!(by_first, by_second);
    check_records(&by_first);
    assert_eq!(by_first[0].first, 1);
}

pub(super) async fn entries_over_the_retention_are_dropped<B: Broker>(node: &BrokerNode<B>) {
    let feed = name("kept");
    let keep = Retention { entries: 10, ..node.draft(&feed, &["x"]).keep };
    let top = append_many(node, &feed, |draft| Draft { keep, ..draft }).await;
    check_dropped(node, &feed, &top).await;
}

/// Appends 1000 entries; returns the last position.
async fn append_many<B: Broker>(node: &BrokerNode<B>, feed: &str, change: impl Fn(Draft) -> Draft) -> Position {
    let mut top = None;
    for _ in 0..500 {
        let draft = change(node.draft(feed, &["a", "b"]));
        top = Some(node.broker.append(&draft, None).await.expect("the record is appended"));
    }
    top.expect("it was appended to")
}

/// Checks that the last ten entries are there, and most of the others are not: a broker may keep more.
async fn check_dropped<B: Broker>(node: &BrokerNode<B>, feed: &str, top: &Position) {
    let page = node.broker.read(feed, 0, usize::MAX).await.expect("the log is read");
    assert_eq!(&page.top, top);
    assert!((500..=991).contains(&page.first), "{}", page.first);
    assert_eq!(page.records.first().map(|record| record.first), Some(page.first));
    assert_eq!(page.records.last().map(Record::last), Some(1000));
    check_chain(&page);
}

fn check_chain(page: &Page) {
    check_records(&page.records);
    if let Some(last) = page.records.last() {
        assert_eq!(last.position(last.last()), page.top);
    }
}

fn check_records(records: &[Record]) {
    for pair in records.windows(2) {
        assert_eq!((pair[1].first, pair[1].base), (pair[0].last() + 1, pair[0].proof));
    }
}
