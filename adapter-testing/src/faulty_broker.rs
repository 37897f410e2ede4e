use crate::clock::ManualClock;
use realtime_core::{
    Code, Error, Position, Result,
    broker::{
        Abilities, AppendError, Arrival, Broker, Draft, FollowChange, MemoryBroker, Missed, Page, Proof,
        Publication, Record, Source, Untaken,
    },
};
use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// A broker in memory whose links fail as a test says, by a seed and on a clock that the test advances.
///
/// Each value is one node's link to the cluster; a clone is the same link, to change it once the broker is in a registry.
///
/// ```
/// use adapter_testing::FaultyBroker;
/// use realtime_core::Realtime;
///
/// let link = FaultyBroker::new(7);
/// let other = link.join();
/// let first = Realtime::builder().broker(link.clone()).build();
/// let second = Realtime::builder().broker(other).build();
/// link.cut(); // the first node does not reach the broker any more
/// ```
#[derive(Clone, Debug)]
pub struct FaultyBroker {
    node: Arc<Node>,
    cluster: Arc<Cluster>,
}

#[derive(Debug)]
struct Node {
    inner: MemoryBroker,
    link: Mutex<Link>,
}

#[derive(Debug, Default)]
struct Link {
    state: State,
    /// Arrivals are lost, and nobody knows.
    deaf: bool,
    /// Answers that are lost after the append was made.
    lost_answers: usize,
    /// It was cut, and the node is told once it is not.
    missed: bool,
    /// The node is told that it is cut.
    broken: bool,
    /// Arrivals that are late or come again, and when.
    late: Vec<(Instant, Arrival)>,
    /// Appends that the broker will find when it goes on, whether somebody still waits or not.
    frozen: Vec<Frozen>,
    wakers: Vec<Waker>,
    /// The logs whose records it is brought.
    followed: Vec<String>,
    /// The pages that it has read.
    reads: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Up,
    Cut,
    Frozen,
}

#[derive(Debug)]
struct Frozen {
    draft: Draft,
    again_since: Option<Position>,
    outcome: Arc<Mutex<Option<Result<Position, AppendError>>>>,
}

#[derive(Debug)]
struct Cluster {
    clock: ManualClock,
    state: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    random: u64,
    nodes: Vec<Arc<Node>>,
    /// One in so many arrivals is late, or comes again.
    unruly: Option<u64>,
    /// Answers take up to this long.
    delay: Duration,
    /// All proofs are one.
    without_proofs: bool,
    logs: HashMap<String, History>,
}

/// The entries that are in a log, those that it has dropped included.
#[derive(Debug, Default)]
struct History {
    /// The JSON of each entry, and the number of its record.
    entries: Vec<(String, u64)>,
    records: u64,
}

impl FaultyBroker {
    /// Creates a cluster without faults, and returns the link of its first node.
    pub fn new(seed: u64) -> Self {
        let shared = Shared {
            random: seed,
            nodes: Vec::new(),
            unruly: None,
            delay: Duration::ZERO,
            without_proofs: false,
            logs: HashMap::new(),
        };
        let cluster = Arc::new(Cluster { clock: ManualClock::new(), state: Mutex::new(shared) });
        Self::of(MemoryBroker::new(), cluster)
    }

    /// Adds a node.
    #[must_use = "the link of the node is returned"]
    pub fn join(&self) -> Self {
        Self::of(self.node.inner.join(), Arc::clone(&self.cluster))
    }

    fn of(inner: MemoryBroker, cluster: Arc<Cluster>) -> Self {
        let node = Arc::new(Node { inner, link: Mutex::default() });
        cluster.lock().nodes.push(Arc::clone(&node));
        Self { node, cluster }
    }

    /// Cuts the link: requests fail, and what arrives is lost.
    pub fn cut(&self) {
        self.node.change(|link| (link.state, link.broken) = (State::Cut, true));
    }

    /// Stops the broker for this node: nothing is answered and nothing arrives until it is mended.
    pub fn freeze(&self) {
        self.node.change(|link| link.state = State::Frozen);
    }

    /// Loses what arrives, while requests work; the node is not told.
    pub fn deafen(&self) {
        self.node.change(|link| link.deaf = true);
    }

    /// Loses the answers of the next appends after they were made.
    pub fn lose_answers(&self, count: usize) {
        self.node.change(|link| link.lost_answers += count);
    }

    /// Ends the faults of this link.
    pub fn mend(&self) {
        let frozen = self.node.change(|link| {
            link.missed |= link.state == State::Cut;
            (link.state, link.deaf, link.lost_answers) = (State::Up, false, 0);
            std::mem::take(&mut link.frozen)
        });
        for Frozen { draft, again_since, outcome } in frozen {
            let appended = self.append_now(&draft, again_since.as_ref());
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(appended);
        }
        self.node.change(|_| ());
    }

    /// Has one in `odds` arrivals come late, and others twice. Zero ends it.
    pub fn disorder(&self, odds: u64) {
        self.cluster.lock().unruly = (odds > 0).then_some(odds);
    }

    /// Has answers take up to this long.
    pub fn delay(&self, most: Duration) {
        self.cluster.lock().delay = most;
    }

    /// Makes another node the primary, which has lost up to `records` of the newest records of each log. All links were
    /// broken meanwhile. Returns the names of the logs that have lost some.
    pub fn fail_over(&self, records: usize) -> Vec<String> {
        let mut lossy = Vec::new();
        self.node.inner.fail_over(|topic, count| {
            let mut shared = self.cluster.lock();
            let lost = (shared.below(records as u64 + 1) as usize).min(count);
            let history = shared.logs.entry(topic.to_owned()).or_default();
            history.records -= lost as u64;
            let kept = history.records;
            history.entries.retain(|(_, record)| *record < kept);
            if lost > 0 {
                lossy.push(topic.to_owned());
            }
            lost
        });
        let nodes = self.cluster.lock().nodes.clone();
        nodes.iter().for_each(|node| node.change(|link| link.missed = true));
        lossy
    }

    /// Has a log drop the entries before this offset.
    pub fn trim(&self, topic: &str, before: u64) {
        self.node.inner.trim(topic, before);
    }

    /// Makes all proofs one, as if there were none.
    #[doc(hidden)]
    pub fn without_proofs(&self) {
        self.cluster.lock().without_proofs = true;
    }

    /// Advances the clock.
    pub fn advance(&self, duration: Duration) {
        self.cluster.clock.jump(duration);
        let nodes = self.cluster.lock().nodes.clone();
        nodes.iter().for_each(|node| node.change(|_| ()));
    }

    /// Returns the names of the feeds whose records the node is brought.
    pub fn followed(&self) -> Vec<String> {
        self.node.lock().followed.clone()
    }

    /// Returns all entries of a log from its first on, as JSON, those that it has dropped included.
    pub fn entries(&self, topic: &str) -> Vec<String> {
        let shared = self.cluster.lock();
        let history = shared.logs.get(topic).map_or(&[][..], |log| &log.entries);
        history.iter().map(|(json, _)| json.clone()).collect()
    }

    /// Returns the offset of the oldest entry that a log still has; that behind the newest if it has none.
    pub fn first(&self, topic: &str) -> u64 {
        let mut reading = pin!(self.node.inner.read(topic, 0, 0));
        match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(page)) => page.first,
            _ => unreachable!("a log in memory is there at once"),
        }
    }

    /// Returns the number of pages of logs that the node has read.
    pub fn reads(&self) -> usize {
        self.node.lock().reads
    }

    fn append_now(&self, draft: &Draft, again_since: Option<&Position>) -> Result<Position, AppendError> {
        let mut appending = pin!(self.node.inner.append(draft, again_since));
        let polled = appending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(appended) = polled else { unreachable!("a log in memory is there at once") };
        let position = appended?;
        let mut shared = self.cluster.lock();
        let history = shared.logs.entry(draft.topic.clone()).or_default();
        // Otherwise it was found.
        if position.offset == (history.entries.len() + draft.body.entries.len()) as u64 {
            let record = history.records;
            history.records += 1;
            let text = |json: &[u8]| String::from_utf8_lossy(json).into_owned();
            history.entries.extend(draft.body.entries.iter().map(|entry| (text(&entry.json), record)));
        }
        Ok(shared.disguise(position))
    }

    /// Waits for the link, and for as long as an answer takes.
    async fn pass(&self) -> Result {
        let delay = {
            let mut shared = self.cluster.lock();
            let most = shared.delay.as_millis() as u64;
            Duration::from_millis(shared.below(most + 1))
        };
        if !delay.is_zero() {
            self.cluster.clock.sleep(delay).await;
        }
        poll_fn(|cx| {
            let mut link = self.node.lock();
            match link.state {
                State::Up => Poll::Ready(Ok(())),
                State::Cut => Poll::Ready(Err(down())),
                State::Frozen => {
                    link.wakers.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Waits for the answer of an append that the broker finds when it goes on; `None` if it is not frozen.
    async fn wait_frozen(
        &self,
        draft: &Draft,
        again_since: Option<&Position>,
    ) -> Option<Result<Position, AppendError>> {
        let outcome = Arc::default();
        {
            let mut link = self.node.lock();
            if link.state != State::Frozen {
                return None;
            }
            let (draft, again_since) = (draft.clone(), again_since.cloned());
            link.frozen.push(Frozen { draft, again_since, outcome: Arc::clone(&outcome) });
        }
        let appended = poll_fn(|cx| {
            if let Some(appended) = outcome.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Poll::Ready(appended);
            }
            self.node.lock().wakers.push(cx.waker().clone());
            Poll::Pending
        });
        Some(appended.await)
    }

    /// Takes what the cluster brings, late and twice where it is so.
    fn take(&self, arrivals: Vec<Arrival>) {
        let now = self.cluster.clock.now();
        let mut shared = self.cluster.lock();
        let mut link = self.node.lock();
        if link.deaf || link.state == State::Cut {
            return;
        }
        for arrival in arrivals {
            let arrival = shared.disguise_arrival(arrival);
            let Some(odds) = shared.unruly.filter(|_| matches!(arrival, Arrival::Record(_))) else {
                link.late.push((now, arrival));
                continue;
            };
            let wait = |shared: &mut Shared| Duration::from_millis(shared.below(4) * 700);
            if shared.below(odds) == 0 {
                let again = now + wait(&mut shared);
                link.late.push((again, arrival.clone()));
            }
            let due = if shared.below(odds) == 0 { now + wait(&mut shared) } else { now };
            link.late.push((due, arrival));
        }
    }

    fn poll_receive(&self, cx: &mut Context<'_>, into: &mut Vec<Arrival>) -> Poll<Result> {
        self.node.lock().wakers.push(cx.waker().clone());
        if self.node.lock().state == State::Frozen {
            return Poll::Pending;
        }
        let mut arrivals = Vec::new();
        let polled = pin!(self.node.inner.receive(&mut arrivals)).as_mut().poll(cx);
        if polled.is_ready() {
            self.take(arrivals);
            cx.waker().wake_by_ref();
        }
        let now = self.cluster.clock.now();
        let mut link = self.node.lock();
        if std::mem::take(&mut link.broken) {
            link.late.clear();
            return Poll::Ready(Err(down()));
        }
        into.extend(link.late.extract_if(.., |(due, _)| *due <= now).map(|(_, arrival)| arrival));
        if link.state == State::Up && std::mem::take(&mut link.missed) {
            into.push(Arrival::Missed(Missed::All));
        }
        if into.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

#[realtime_core::async_trait]
impl Broker for FaultyBroker {
    fn abilities(&self) -> Abilities {
        self.node.inner.abilities()
    }

    async fn follow(&self, changes: &[FollowChange]) -> Result {
        self.pass().await?;
        self.node.change(|link| {
            for FollowChange { topic, wanted, .. } in changes.iter().filter(|change| change.of == Source::Log) {
                link.followed.retain(|known| known != topic);
                link.followed.extend(wanted.then(|| topic.clone()));
            }
        });
        self.node.inner.follow(changes).await
    }

    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        self.pass().await.map_err(Untaken::all)?;
        self.node.inner.publish(batch).await
    }

    async fn append(&self, draft: &Draft, again_since: Option<&Position>) -> Result<Position, AppendError> {
        if let Some(appended) = self.wait_frozen(draft, again_since).await {
            return appended;
        }
        self.pass().await.map_err(AppendError::Refused)?;
        let appended = self.append_now(draft, again_since)?;
        let is_lost = self.node.change(|link| {
            let is_lost = link.lost_answers > 0;
            link.lost_answers -= usize::from(is_lost);
            is_lost
        });
        // Its answer may be lost on the way.
        match self.pass().await {
            Ok(()) if !is_lost => Ok(appended),
            _ => Err(AppendError::Unknown(Error::new(Code::DEADLINE_EXCEEDED, "no answer").with_retry())),
        }
    }

    async fn read(&self, topic: &str, after: u64, limit: usize) -> Result<Page> {
        self.node.lock().reads += 1;
        self.pass().await?;
        let page = self.node.inner.read(topic, after, limit).await?;
        self.pass().await?;
        let shared = self.cluster.lock();
        let records = page.records.into_iter().map(|record| shared.disguise_record(record)).collect();
        Ok(Page { records, top: shared.disguise(page.top), first: page.first })
    }

    async fn tops(&self, topics: &[&str]) -> Result<Vec<Position>> {
        self.pass().await?;
        let tops = self.node.inner.tops(topics).await?;
        self.pass().await?;
        let shared = self.cluster.lock();
        Ok(tops.into_iter().map(|top| shared.disguise(top)).collect())
    }

    async fn receive(&self, into: &mut Vec<Arrival>) -> Result {
        poll_fn(|cx| self.poll_receive(cx, into)).await
    }
}

impl Node {
    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the link, and wakes those that wait for that.
    fn change<T>(&self, change: impl FnOnce(&mut Link) -> T) -> T {
        let (changed, wakers) = {
            let mut link = self.lock();
            let changed = change(&mut link);
            (changed, std::mem::take(&mut link.wakers))
        };
        wakers.into_iter().for_each(Waker::wake);
        changed
    }
}

impl Cluster {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Returns a random number below `end` (SplitMix64).
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    fn disguise_arrival(&self, arrival: Arrival) -> Arrival {
        match arrival {
            Arrival::Record(record) => Arrival::Record(self.disguise_record(record)),
            other => other,
        }
    }

    fn disguise_record(&self, record: Record) -> Record {
        if self.without_proofs { Record { base: Proof::NONE, proof: Proof::NONE, ..record } } else { record }
    }

    fn disguise(&self, position: Position) -> Position {
        if self.without_proofs { position.with_proof(Proof::NONE.to_string()) } else { position }
    }
}

fn down() -> Error {
    Error::unavailable("the broker cannot be reached")
}
