use super::{
    Abilities, AppendError, Arrival, Broker, Draft, FollowChange, Missed, Page, Proof, Publication, Record,
    Source, Untaken, Writer,
};
use crate::util::{sync::Mutex, wake};
use async_trait::async_trait;
use bytes::Bytes;
use realtime_protocol::{Code, Error, Position, Result};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::poll_fn,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// A cluster within one process: for tests, and for several registries that share topics and feeds.
///
/// 65 536 arrivals and 64 MiB may wait for each node; a node that does not keep up misses what is over it, and is told
/// that it did. A log lasts as long as the cluster, and has no reign.
///
/// ```
/// use realtime_core::{MemoryBroker, Realtime};
///
/// let first = MemoryBroker::new();
/// let second = first.join();
/// let first = Realtime::builder().broker(first).build();
/// let second = Realtime::builder().broker(second).build();
/// ```
#[derive(Debug)]
pub struct MemoryBroker {
    own: Arc<Inbox>,
    cluster: Arc<Cluster>,
}

#[derive(Debug, Default)]
struct Cluster {
    nodes: Mutex<Vec<Weak<Inbox>>>,
    logs: Mutex<HashMap<String, Log>>,
    /// Claims are kept for as long as the cluster: there is no clock here.
    claims: Mutex<HashMap<String, Bytes>>,
}

#[derive(Debug)]
struct Log {
    epoch: String,
    records: VecDeque<Record>,
    /// The offset and the proof of the last entry.
    top: (u64, Proof),
}

#[derive(Debug, Default)]
struct Inbox(Mutex<Received>);

#[derive(Debug, Default)]
struct Received {
    follows: HashSet<(Source, String)>,
    arrivals: VecDeque<Arrival>,
    /// Bytes of all of them.
    bytes: usize,
    waker: Option<Waker>,
}

/// Arrivals that may wait for one node; over it the node is not keeping up.
const WAITING: usize = 65_536;

/// Bytes that may wait for one node.
const WAITING_BYTES: usize = 64 * 1024 * 1024;

impl MemoryBroker {
    /// Creates a cluster and returns its first node.
    #[expect(clippy::new_without_default, reason = "a default value is not expected to be a member of something")]
    pub fn new() -> Self {
        Self::join_to(Arc::default())
    }

    /// Adds a node to the same cluster.
    pub fn join(&self) -> Self {
        Self::join_to(Arc::clone(&self.cluster))
    }

    /// Goes on as another primary would that had not got the last records of each log: `lost` is asked how many of so many
    /// those are. For tests.
    #[doc(hidden)]
    pub fn fail_over(&self, mut lost: impl FnMut(&str, usize) -> usize) {
        for (topic, log) in &mut *self.cluster.logs.lock() {
            let kept = log.records.len() - lost(topic, log.records.len()).min(log.records.len());
            log.fail_over(kept);
        }
    }

    /// Drops the entries before this offset, in whole records. For tests.
    #[doc(hidden)]
    pub fn trim(&self, topic: &str, before: u64) {
        if let Some(log) = self.cluster.logs.lock().get_mut(topic) {
            log.trim(before);
        }
    }

    fn join_to(cluster: Arc<Cluster>) -> Self {
        let own = Arc::<Inbox>::default();
        cluster.nodes.lock().push(Arc::downgrade(&own));
        Self { own, cluster }
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    fn abilities(&self) -> Abilities {
        Abilities::default().with_logs().with_claims()
    }

    async fn follow(&self, changes: &[FollowChange]) -> Result {
        let mut own = self.own.0.lock();
        for FollowChange { topic, of, wanted } in changes {
            if *wanted {
                own.follows.insert((*of, topic.clone()));
            } else {
                own.follows.remove(&(*of, topic.clone()));
            }
        }
        Ok(())
    }

    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        for publication in batch {
            let arrival = Arrival::Publication(publication.clone());
            self.cluster.deliver(Source::Topic, &publication.topic, &arrival, publication.size());
        }
        Ok(())
    }

    async fn append(&self, draft: &Draft, again_since: Option<&Position>) -> Result<Position, AppendError> {
        self.cluster.append(draft, again_since)
    }

    async fn read(&self, topic: &str, after: u64, limit: usize) -> Result<Page> {
        Ok(self.cluster.logs.lock().get(topic).map_or_else(Page::empty, |log| log.page(after, limit)))
    }

    async fn tops(&self, topics: &[&str]) -> Result<Vec<Position>> {
        let logs = self.cluster.logs.lock();
        Ok(topics.iter().map(|topic| logs.get(*topic).map_or_else(|| Page::empty().top, Log::top)).collect())
    }

    async fn claim(&self, key: &str, value: &[u8], _: Duration) -> Result<Option<Bytes>> {
        let mut claims = self.cluster.claims.lock();
        if let Some(known) = claims.get(key) {
            return Ok(Some(known.clone()));
        }
        claims.insert(key.to_owned(), Bytes::copy_from_slice(value));
        Ok(None)
    }

    async fn settle(&self, key: &str, from: &[u8], to: &[u8], _: Duration) -> Result<bool> {
        let mut claims = self.cluster.claims.lock();
        let Some(known) = claims.get_mut(key).filter(|known| **known == from) else { return Ok(false) };
        *known = Bytes::copy_from_slice(to);
        Ok(true)
    }

    async fn receive(&self, into: &mut Vec<Arrival>) -> Result {
        poll_fn(|cx| self.own.poll(cx, into)).await;
        Ok(())
    }
}

impl Cluster {
    fn append(&self, draft: &Draft, again_since: Option<&Position>) -> Result<Position, AppendError> {
        // Held while the record is delivered, so that all nodes are brought records in the order of the log.
        let mut logs = self.logs.lock();
        if !logs.contains_key(&draft.topic) {
            let birth = getrandom::u32().map_err(|error| AppendError::Refused(Error::internal(error)))?;
            let log = Log { epoch: format!("{birth:08x}.0"), records: VecDeque::new(), top: (0, Proof::NONE) };
            logs.insert(draft.topic.clone(), log);
        }
        let Some(log) = logs.get_mut(&draft.topic) else { unreachable!("it was inserted") };
        if let Some(since) = again_since
            && let Some(position) = log.find(since, draft.body.writer)?
        {
            return Ok(position);
        }
        let record = log.push(draft);
        let position = record.position(record.last());
        let bytes = record.size();
        self.deliver(Source::Log, &draft.topic, &Arrival::Record(record), bytes);
        Ok(position)
    }

    fn deliver(&self, of: Source, topic: &str, arrival: &Arrival, bytes: usize) {
        let nodes: Vec<_> = {
            let mut nodes = self.nodes.lock();
            nodes.retain(|node| node.strong_count() > 0);
            nodes.iter().filter_map(Weak::upgrade).collect()
        };
        for node in nodes {
            wake(node.add(of, topic, arrival, bytes));
        }
    }
}

impl Log {
    fn top(&self) -> Position {
        Position::new(&*self.epoch, self.top.0).with_proof(self.top.1.to_string())
    }

    /// Returns the position of an append that was made behind `since`, if it is there.
    fn find(&self, since: &Position, writer: Writer) -> Result<Option<Position>, AppendError> {
        let found = self.records.iter().find(|record| record.body.writer == writer);
        if let Some(record) = found {
            return Ok(Some(record.position(record.last())));
        }
        if self.first() > 1 && !self.sees_behind(since) {
            let text = format!("not all entries behind {since} are there, and the append may be among them");
            return Err(AppendError::Unknown(Error::new(Code::DEADLINE_EXCEEDED, text)));
        }
        Ok(None)
    }

    /// Returns true if the position is of this log, and everything behind it is kept. If it is of one that was lost, what was
    /// appended since may be before it.
    fn sees_behind(&self, since: &Position) -> bool {
        let known = match self.records.iter().find(|record| record.last() >= since.offset) {
            Some(record) if record.first <= since.offset => Some(record.proof),
            Some(record) if record.first == since.offset + 1 => Some(record.base),
            None if self.top.0 == since.offset => Some(self.top.1),
            _ => None,
        };
        known.is_some_and(|known| since.proof.as_ref().is_none_or(|proof| *proof == known.to_string()))
    }

    fn push(&mut self, draft: &Draft) -> Record {
        let (offset, base) = self.top;
        let record = Record {
            topic: draft.topic.clone(),
            epoch: self.epoch.clone(),
            first: offset + 1,
            base,
            proof: base.after(draft.tag),
            body: draft.body.clone(),
        };
        self.top = (record.last(), record.proof);
        self.records.push_back(record.clone());
        self.trim(record.last().saturating_sub(draft.keep.entries) + 1);
        record
    }

    fn trim(&mut self, before: u64) {
        while self.records.front().is_some_and(|oldest| oldest.last() < before) {
            self.records.pop_front();
        }
    }

    /// Keeps so many records, and begins another reign.
    fn fail_over(&mut self, kept: usize) {
        if let Some(lost) = self.records.get(kept) {
            self.top = (lost.first - 1, lost.base);
        }
        self.records.truncate(kept);
        let (birth, reign) = self.epoch.split_once('.').unwrap_or((&self.epoch, "0"));
        let reign = reign.parse::<u64>().unwrap_or_default() + 1;
        self.epoch = format!("{birth}.{reign}");
    }

    fn first(&self) -> u64 {
        self.records.front().map_or(self.top.0 + 1, |record| record.first)
    }

    fn page(&self, after: u64, limit: usize) -> Page {
        let begin = self.records.partition_point(|record| record.last() <= after);
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let is_first = bytes == 0;
            bytes += record.size();
            is_first || bytes <= limit
        };
        let records = self.records.range(begin..).take_while(fits).cloned().collect();
        Page { records, top: self.top(), first: self.first() }
    }
}

impl Inbox {
    fn add(&self, of: Source, topic: &str, arrival: &Arrival, bytes: usize) -> Option<Waker> {
        let mut received = self.0.lock();
        // No allocation would be needed with a map of maps, but this is not a broker for load.
        if !received.follows.contains(&(of, topic.to_owned())) {
            return None;
        }
        if received.is_full(bytes) {
            if received.arrivals.back() != Some(&Arrival::Missed(Missed::All)) {
                received.arrivals.push_back(Arrival::Missed(Missed::All));
            }
        } else {
            received.bytes += bytes;
            received.arrivals.push_back(arrival.clone());
        }
        received.waker.take()
    }

    fn poll(&self, cx: &Context<'_>, into: &mut Vec<Arrival>) -> Poll<()> {
        let mut received = self.0.lock();
        if received.arrivals.is_empty() {
            received.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        received.bytes = 0;
        into.extend(received.arrivals.drain(..));
        Poll::Ready(())
    }
}

impl Received {
    fn is_full(&self, bytes: usize) -> bool {
        self.arrivals.len() >= WAITING || (self.bytes > 0 && self.bytes + bytes > WAITING_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::{Body, Logged, Retention};

    fn draft(number: u64) -> Draft {
        let entries = vec![Logged { json: "7".into(), whole: None, key: None }];
        let body = Body { writer: Writer { node: 1, number }, time: 0, entries };
        let keep = Retention { entries: 1000, within: Duration::from_secs(1) };
        Draft { topic: "t".into(), tag: number, body, keep }
    }

    /// An earlier attempt may be among what is dropped, and before the position that was lost.
    #[test]
    fn an_append_behind_a_position_that_was_lost_is_unknown() {
        let broker = MemoryBroker::new();
        let append = |number, since: Option<&Position>| broker.cluster.append(&draft(number), since);
        for number in 1..=9 {
            append(number, None).unwrap();
        }
        let since = append(10, None).unwrap();
        broker.fail_over(|_, _| 8);
        let first = append(11, None).unwrap();
        assert_eq!(first.offset, 3);
        // Everything is there to see.
        assert_eq!(append(11, Some(&since)).unwrap(), first);
        assert_eq!(append(12, Some(&since)).unwrap().offset, 4);
        broker.trim("t", 4);
        assert!(matches!(append(11, Some(&since)), Err(AppendError::Unknown(_))));
        // Behind one that is still there, nothing is dropped.
        assert_eq!(append(13, Some(&first)).unwrap().offset, 5);
    }
}
