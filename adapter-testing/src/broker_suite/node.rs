use bytes::Bytes;
use futures_util::{FutureExt, lock::Mutex};
use realtime_core::{
    Broker, Position,
    broker::{Arrival, Body, Draft, FollowChange, Logged, Publication, Record, Retention, Source, Writer},
};
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

/// A node of a cluster, as it uses its broker.
#[derive(Debug)]
pub struct BrokerNode<B> {
    /// The broker.
    pub broker: B,
    number: u64,
    appends: AtomicU64,
    arrived: Mutex<VecDeque<Arrival>>,
}

/// Whatever is made in this process differs by it.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl<B: Broker> BrokerNode<B> {
    /// Takes the broker of a node.
    pub fn new(broker: B) -> Self {
        Self { broker, number: unique(), appends: AtomicU64::new(0), arrived: Mutex::default() }
    }

    /// Follows a topic or feed.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub async fn follow(&self, topic: &str, of: Source) {
        self.change(topic, of, true).await;
    }

    /// Ends following a topic or feed.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub async fn unfollow(&self, topic: &str, of: Source) {
        self.change(topic, of, false).await;
    }

    async fn change(&self, topic: &str, of: Source, wanted: bool) {
        let change = FollowChange { topic: topic.to_owned(), of, wanted };
        self.broker.follow(&[change]).await.expect("following is confirmed");
    }

    /// Publishes texts to a topic.
    ///
    /// # Panics
    ///
    /// If one is not taken.
    pub async fn publish(&self, topic: &str, texts: &[&str]) {
        let batch: Vec<_> = texts.iter().map(|text| self.publication(topic, text)).collect();
        self.broker.publish(&batch).await.expect("the batch is taken");
    }

    /// Returns a publication of this node.
    pub fn publication(&self, topic: &str, text: &str) -> Publication {
        Publication::new(self.number, topic.to_owned(), json(text), None, Vec::new())
    }

    /// Waits for the next arrival.
    ///
    /// # Panics
    ///
    /// If the broker's link is down.
    pub async fn arrival(&self) -> Arrival {
        let mut arrived = self.arrived.lock().await;
        while arrived.is_empty() {
            let mut more = Vec::new();
            self.broker.receive(&mut more).await.expect("the link is up");
            arrived.extend(more);
        }
        arrived.pop_front().expect("it was waited for")
    }

    /// Returns all that has arrived by now.
    pub async fn arrivals(&self) -> Vec<Arrival> {
        let mut arrived = self.arrived.lock().await;
        let mut more = Vec::new();
        let _ = self.broker.receive(&mut more).now_or_never();
        arrived.drain(..).chain(more).collect()
    }

    /// Waits for the next arrival, which is a publication with a text; returns topic and text.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub async fn text(&self) -> (String, String) {
        match self.arrival().await {
            Arrival::Publication(publication) => (publication.topic, text(&publication.json)),
            other => panic!("expected a publication, not {other:?}"),
        }
    }

    /// Waits for the next arrival, which is a record.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub async fn record(&self) -> Record {
        match self.arrival().await {
            Arrival::Record(record) => record,
            other => panic!("expected a record, not {other:?}"),
        }
    }

    /// Returns a draft of a record with these texts as entries.
    pub fn draft(&self, topic: &str, texts: &[&str]) -> Draft {
        let entry = |text: &&str| Logged { json: json(text), whole: None, key: None };
        let number = self.appends.fetch_add(1, Relaxed);
        let body = Body {
            writer: Writer { node: self.number, number },
            time: now().as_millis() as u64,
            entries: texts.iter().map(entry).collect(),
        };
        let keep = Retention { entries: 10_000, within: Duration::from_secs(600) };
        Draft { topic: topic.to_owned(), tag: tag(), body, keep }
    }

    /// Appends a record with these texts as entries.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub async fn append(&self, topic: &str, texts: &[&str]) -> Position {
        self.broker.append(&self.draft(topic, texts), None).await.expect("the record is appended")
    }

    /// Returns the position of the newest entry of a log.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub async fn top(&self, topic: &str) -> Position {
        let mut tops = self.broker.tops(&[topic]).await.expect("the log is there");
        tops.remove(0)
    }
}

/// Returns a draft as it is tried once more.
pub(super) fn again(draft: &Draft) -> Draft {
    Draft { tag: tag(), ..draft.clone() }
}

/// Returns a name that nothing has.
pub(super) fn name(base: &str) -> String {
    format!("{base}-{:x}", unique())
}

/// Returns the texts of a record.
pub(super) fn texts(record: &Record) -> Vec<String> {
    record.body.entries.iter().map(|entry| text(&entry.json)).collect()
}

fn tag() -> u64 {
    // The bits of a counter, spread.
    unique().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn unique() -> u64 {
    (now().as_nanos() as u64) << 12 ^ NEXT.fetch_add(1, Relaxed)
}

fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

fn json(text: &str) -> Bytes {
    serde_json::to_vec(text).expect("a text serialises").into()
}

fn text(json: &[u8]) -> String {
    serde_json::from_slice(json).expect("a text")
}
