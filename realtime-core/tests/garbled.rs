//! A broker that brings what no node has written.

use adapter_testing::{TestServer, block_on};
use futures_util::FutureExt;
use realtime_core::{
    Feed, Log, Position, Realtime, Result, Topic,
    broker::{
        Abilities, AppendError, Arrival, Body, Broker, Draft, FollowChange, Logged, Page, Proof, Publication,
        Record, Untaken, Writer,
    },
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// A log whose first pages are garbled.
#[derive(Clone, Debug, Default)]
struct Garbled {
    pages: Arc<Mutex<Vec<Page>>>,
    reads: Arc<AtomicUsize>,
}

fn record(epoch: &str, first: u64, count: usize) -> Record {
    let entries = vec![Logged { json: "7".into(), whole: None, key: None }; count];
    let body = Body { writer: Writer { node: 1, number: 1 }, time: 0, entries };
    Record { topic: "t".into(), epoch: epoch.into(), first, base: Proof::NONE, proof: Proof::new(9), body }
}

fn page(record: Record) -> Page {
    let top = Position::new(&*record.epoch, record.first).with_proof(record.proof.to_string());
    Page { records: vec![record], top, first: 1 }
}

#[realtime_core::async_trait]
impl Broker for Garbled {
    fn abilities(&self) -> Abilities {
        Abilities::default().with_logs()
    }

    async fn follow(&self, _: &[FollowChange]) -> Result {
        Ok(())
    }

    async fn publish(&self, _: &[Publication]) -> Result<(), Untaken> {
        Ok(())
    }

    async fn read(&self, _: &str, _: u64, _: usize) -> Result<Page> {
        self.reads.fetch_add(1, SeqCst);
        Ok(self.pages.lock().unwrap().last().cloned().unwrap_or_else(Page::empty))
    }

    async fn append(&self, _: &Draft, _: Option<&Position>) -> Result<Position, AppendError> {
        let page = self.read("", 0, 0).await.map_err(AppendError::Unknown)?;
        Ok(page.top)
    }

    async fn tops(&self, topics: &[&str]) -> Result<Vec<Position>> {
        let top = self.pages.lock().unwrap().last().map_or(Page::empty().top, |page| page.top.clone());
        Ok(vec![top; topics.len()])
    }

    async fn receive(&self, _: &mut Vec<Arrival>) -> Result {
        std::future::pending().await
    }
}

/// The log is read again after a pause, until what is there can be understood.
#[test]
fn a_garbled_log_is_refused_and_read_again() {
    const FEED: Feed<u32> = Topic::fixed("t").log(Log::last(10));
    let long = "e".repeat(65);
    let garbled = [
        page(record("a.1", u64::MAX, 1)),
        page(record("a.1", u64::MAX - 1, 1)),
        page(record("a.1", 0, 1)),
        page(record("a.1", 1, 0)),
        page(record("", 1, 1)),
        page(record(&long, 1, 1)),
    ];
    for garbled in garbled {
        block_on(async {
            let broker = Garbled::default();
            broker.pages.lock().unwrap().push(garbled.clone());
            let server = TestServer::new(Realtime::builder().broker(broker.clone()).build());
            let realtime = server.realtime().clone();
            let mut position = Box::pin(async move { realtime.position(&FEED).await });
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(position.as_mut().poll(&mut cx).is_pending());
            server.advance(Duration::from_secs(3)).await;
            let reads = broker.reads.load(SeqCst);
            assert!(reads <= 10, "{garbled:?} was read {reads} times");
            assert!(position.as_mut().poll(&mut cx).is_pending(), "{garbled:?}");
            broker.pages.lock().unwrap()[0] = page(record("a.1", 1, 1));
            server.advance(Duration::from_secs(3)).await;
            assert_eq!(position.await.unwrap().offset, 1, "{garbled:?}");
        });
    }
}

/// The outcome is unknown, and the node does not wait for an entry there before it shows the log again.
#[test]
fn an_append_at_a_place_that_no_log_has_is_unknown() {
    const FEED: Feed<u32> = Topic::fixed("t").log(Log::last(10));
    block_on(async {
        let broker = Garbled::default();
        broker.pages.lock().unwrap().push(page(record("a.1", 1, 1)));
        let server = TestServer::new(Realtime::builder().broker(broker.clone()).build());
        let realtime = server.realtime().clone();
        let mut position = Box::pin(async move { realtime.position(&FEED).await });
        assert!(position.as_mut().now_or_never().is_none());
        server.settle().await;
        assert_eq!(position.await.unwrap().offset, 1);

        let known = page(record("a.1", 1, 1));
        broker.pages.lock().unwrap()[0] = Page { top: Position { offset: u64::MAX, ..known.top }, ..known };
        let mut appends: Vec<_> = (0..2)
            .map(|_| {
                let realtime = server.realtime().clone();
                Box::pin(async move { realtime.append(&FEED, &7).await })
            })
            .collect();
        assert!(appends.iter_mut().all(|append| append.as_mut().now_or_never().is_none()));
        server.advance(Duration::from_secs(3)).await;
        for append in appends {
            assert!(matches!(append.await, Err(AppendError::Unknown(_))));
        }
        broker.pages.lock().unwrap()[0] = page(record("a.1", 1, 1));
        assert_eq!(server.realtime().position(&FEED).await.unwrap().offset, 1);
    });
}
