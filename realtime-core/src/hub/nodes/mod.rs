//! The nodes of a cluster as one of them sees them: it shows the others that it lives, finds out whether what it
//! publishes arrives, and keeps a copy of who is present on the others.
//!
//! Everything goes over topics of the library's own, by the same way as the publications of an application, and is sent by the
//! hub's tick: a node whose broker works and whose tasks do not run is not alive.

mod beat;
mod obeyed;
mod others;
mod own;
mod places;
mod principals;
mod readiness;
mod revoking;
mod telling;
mod wire;

pub(crate) use principals::Letter;
pub(super) use principals::is_letter;
pub use readiness::{Readiness, ShardReadiness, ShardState};
pub(crate) use wire::RevokedFrom;
pub(super) use wire::{check_principal, is_reserved};

use super::{Hub, link::Link, link::caught};
use crate::{
    seams::{Arrival, Body, Draft, Logged, Publication, Record, Retention, Runtime, Source, Writer},
    util::{
        TICK,
        panics::catch,
        sync::{
            Mutex,
            atomic::{
                AtomicBool, AtomicU32,
                Ordering::{AcqRel, Relaxed},
            },
        },
    },
};
use beat::Shard;
use others::Others;
use own::Own;
use realtime_protocol::Error;
use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};
use telling::Revoking;
use wire::{Beat, Message, Says};

/// What a hub knows of the nodes of its cluster. There is none without a broker.
#[derive(Debug)]
pub(super) struct Nodes {
    /// Random bits of this process.
    life: u64,
    /// The topic of what is for this node alone.
    inbox: Arc<str>,
    shards: Mutex<Vec<Shard>>,
    /// The number of the shard that carries the changes of this node.
    carrier: usize,
    pub(super) own: Own,
    others: Mutex<Others>,
    revoking: Revoking,
    /// The time at which the clock has begun to run.
    start: Mutex<Option<Instant>>,
    /// The ticks of the next beats.
    next: AtomicU32,
    next_log: AtomicU32,
    /// A beat through a log is on its way to the broker.
    appending: Arc<AtomicBool>,
    /// The node is drained.
    gone: AtomicBool,
}

/// The first character of the library's own topics and feeds: names of applications have no control characters.
const CONTROL: char = '\u{1}';

const TICKS_PER_SECOND: u32 = (1000 / TICK.as_millis()) as u32;

/// Beats are a second apart.
const INTERVAL: u32 = TICKS_PER_SECOND;

/// Beats through a log are five seconds apart: an append costs a broker ten times a publication.
const LOG_INTERVAL: u32 = 5 * TICKS_PER_SECOND;

/// The time after which an append without an answer is given up.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two warnings about the same.
const WARN_INTERVAL: u32 = 60 * TICKS_PER_SECOND;

/// The key by which a beat replaces one that still waits for the broker.
const BEAT: &str = "beat";

impl Nodes {
    pub(super) fn new(node: u64, link: &Link) -> Self {
        // Without randomness, two lives of a node that has a number of its own are one.
        let life = getrandom::u64().unwrap_or_default();
        let topics = topics(link);
        let has_logs = link.abilities().logs;
        let carrier = (node % topics.len().max(1) as u64) as usize;
        let shards = topics.into_iter().map(|topic| Shard::new(topic, has_logs)).collect();
        Self {
            life,
            inbox: inbox_of(node).into(),
            shards: Mutex::new(shards),
            carrier,
            own: Own::new(life),
            others: Mutex::default(),
            revoking: Revoking::default(),
            start: Mutex::default(),
            next: AtomicU32::new(0),
            next_log: AtomicU32::new(0),
            appending: Arc::default(),
            gone: AtomicBool::new(false),
        }
    }

    /// Returns true if `now` is the tick of the next beat; the one after it is `interval` later.
    fn is_due(next: &AtomicU32, now: u32, interval: u32) -> bool {
        let is_due = now >= next.load(Relaxed);
        if is_due {
            next.store(now + interval, Relaxed);
        }
        is_due
    }
}

/// Returns the topic of what is for one node alone.
fn inbox_of(node: u64) -> String {
    format!("{CONTROL}node:{node:016x}")
}

/// Returns a topic for each shard of the broker that carries it.
fn topics(link: &Link) -> Vec<Arc<str>> {
    let count = link.abilities().shards;
    let mut topics = vec![None; count];
    let mut left = count;
    for suffix in 0..TRIES * count {
        let topic: Arc<str> = format!("{CONTROL}beat:{suffix}").into();
        let Some(slot @ None) = topics.get_mut(link.shard_of(&topic)) else { continue };
        *slot = Some(topic);
        left -= 1;
        if left == 0 {
            break;
        }
    }
    if left > 0 {
        tracing::warn!(
            left,
            count,
            "no name was found that these shards of the broker carry: they are not watched"
        );
    }
    topics.into_iter().flatten().collect()
}

/// Names that are tried for each shard: enough for a hash that is even, many times over.
const TRIES: usize = 256;

impl Hub {
    /// Has the broker bring what the nodes tell each other, and sends the first beats.
    pub(super) fn start_nodes(&self) {
        let (Some(nodes), Some(link)) = (&self.nodes, &self.link) else { return };
        let now = self.clock.now();
        nodes.start.lock().get_or_insert_with(|| self.instant());
        link.look(Source::Topic, &nodes.inbox, now, || true);
        let topics: Vec<_> = nodes.shards.lock().iter().map(|shard| Arc::clone(&shard.topic)).collect();
        for topic in &topics {
            link.look(Source::Topic, topic, now, || true);
            if link.abilities().logs {
                link.look(Source::Log, topic, now, || true);
            }
        }
        self.tick_nodes();
    }

    /// Tells the other nodes what has changed and that this one lives, and looks who does not.
    pub(super) fn tick_nodes(&self) {
        let Some(nodes) = &self.nodes else { return };
        if nodes.gone.load(Relaxed) {
            return;
        }
        let (now, instant) = (self.clock.now(), self.instant());
        self.publish_changes(nodes);
        nodes.revoking.note_broker(nodes.works(instant), now);
        let is_new = nodes.is_new(instant);
        // At the start, the broker may not bring the first ones yet.
        if Nodes::is_due(&nodes.next, now, if is_new { 1 } else { INTERVAL }) {
            self.beat(nodes, instant);
            self.tell_revoked(nodes);
        } else if nodes.revoking.is_due(now) {
            self.tell_revoked(nodes);
        }
        if Nodes::is_due(&nodes.next_log, now, if is_new { INTERVAL } else { LOG_INTERVAL }) {
            self.beat_through_logs(nodes, instant);
        }
        self.answer_questions(nodes);
        self.watch_others(nodes);
    }

    /// Takes what the broker brings of the nodes' own. Returns false if it is not of them.
    pub(super) fn take_for_nodes(&self, arrival: &Arrival) -> bool {
        let handled = match arrival {
            Arrival::Publication(publication) if is_reserved(&publication.topic) => {
                catch(|| self.hear(publication))
            }
            Arrival::Record(record) if is_reserved(&record.topic) => catch(|| self.hear_record(record)),
            _ => return false,
        };
        if let Err(panic) = handled {
            tracing::error!(panic = panic.0, "a message of a node was not handled");
        }
        true
    }

    /// Tells the others that this node has ended, and waits until the broker has that, but not after the tick `end`.
    pub(super) async fn leave_nodes(&self, end: u32) {
        let (Some(nodes), Some(link)) = (&self.nodes, &self.link) else { return };
        if !self.ticking.load(Relaxed) || nodes.gone.swap(true, Relaxed) {
            return;
        }
        self.publish_changes(nodes);
        self.say_on_carrier(nodes, &Message { life: nodes.life, says: Says::Gone }, None);
        let mut late = std::pin::pin!(self.wheel.sleep_until(end));
        poll_fn(|cx| match link.poll_idle(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => late.as_mut().poll(cx),
        })
        .await;
    }

    /// Returns whether new clients should be sent to this node, and why.
    pub(crate) fn readiness(&self) -> Readiness {
        let draining = self.draining.load(Relaxed);
        let Some(nodes) = &self.nodes else {
            return Readiness { ready: !draining, shards: Vec::new(), alone: false, draining };
        };
        let (now, start) = (self.instant(), *nodes.start.lock());
        let shards: Vec<_> = nodes.shards.lock().iter().map(|shard| shard.readiness(start, now)).collect();
        let works = shards.iter().all(|shard| shard.state == ShardState::Up);
        let alone = works && nodes.others.lock().vanished;
        // Nobody would be sent to a node that is not ready, and the first client starts the clock.
        let works = works || !self.ticking.load(Relaxed);
        Readiness { ready: works && !draining, shards, alone, draining }
    }

    /// Returns the number of other nodes that live.
    pub(crate) fn other_nodes(&self) -> usize {
        self.nodes.as_ref().map_or(0, |nodes| nodes.others.lock().len())
    }

    fn publish_changes(&self, nodes: &Nodes) {
        for message in nodes.own.take_changes(self) {
            self.say_on_carrier(nodes, &message, None);
        }
    }

    fn beat(&self, nodes: &Nodes, now: Instant) {
        let list = nodes.own.list();
        let due: Vec<_> = {
            let mut shards = nodes.shards.lock();
            let send = |shard: &mut Shard| (Arc::clone(&shard.topic), shard.beats.send(now));
            shards.iter_mut().map(send).collect()
        };
        for (place, (topic, number)) in due.into_iter().enumerate() {
            let says = Says::Beat(Beat { number, list, carries: place == nodes.carrier });
            match (Message { life: nodes.life, says }).to(self.node, &topic, Some(BEAT)) {
                Ok(publication) => self.say(publication),
                Err(error) => tracing::error!(?error, "a beat was not encoded"),
            }
        }
    }

    fn beat_through_logs(&self, nodes: &Nodes, now: Instant) {
        let Some(link) = &self.link else { return };
        let Some(runtime) = self.runtime() else { return };
        if !link.abilities().logs || nodes.appending.swap(true, AcqRel) {
            return;
        }
        // A part of the task before that runs: its runtime may have ended.
        let appending = Appending(Arc::clone(&nodes.appending));
        let drafts: Vec<_> = {
            let mut shards = nodes.shards.lock();
            let logs = shards.iter_mut().filter_map(|shard| Some((&shard.topic, shard.log.as_mut()?)));
            logs.filter_map(|(topic, log)| self.log_beat(nodes.life, topic, log.send(now))).collect()
        };
        let (broker, sleeps) = (Arc::clone(link.broker()), Arc::clone(&runtime));
        runtime.spawn(Box::pin(async move {
            let _appending = appending;
            let mut late = sleeps.sleep(APPEND_TIMEOUT);
            for draft in drafts {
                let append = async { Ok::<_, Error>(broker.append(&draft, None).await?) };
                let mut append = caught(|| Box::pin(append));
                let appended = poll_fn(|cx| match Pin::new(&mut append).poll(cx) {
                    Poll::Ready(appended) => Poll::Ready(Some(appended)),
                    Poll::Pending => late.as_mut().poll(cx).map(|()| None),
                });
                match appended.await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => tracing::error!(?error, "the broker did not append a beat to a log"),
                    None => return,
                }
            }
        }));
    }

    fn log_beat(&self, life: u64, topic: &Arc<str>, number: u64) -> Option<Draft> {
        let beat = Beat { number, list: wire::Summary::default(), carries: false };
        let json = Message { life, says: Says::Beat(beat) }.encode().ok()?;
        // It is never appended again, so that its number is of no use.
        let writer = Writer { node: self.node, number: life.wrapping_add(number) };
        let body = Body { writer, time: 0, entries: vec![Logged { json, whole: None, key: None }] };
        let keep = Retention { entries: 1, within: Duration::from_secs(60) };
        let tag = getrandom::u64().unwrap_or(writer.number);
        Some(Draft { topic: topic.to_string(), tag, body, keep })
    }

    /// Sends the whole list to those who have asked, as long as that leaves room for publications.
    fn answer_questions(&self, nodes: &Nodes) {
        let Some(link) = &self.link else { return };
        let mut list = None;
        while link.has_room()
            && let Some(asked) = nodes.own.take_asked()
        {
            let topic = inbox_of(asked);
            for part in list.get_or_insert_with(|| nodes.own.whole(self)) {
                let said = part.to(self.node, &topic, None).and_then(|publication| link.publish(publication));
                if let Err(error) = said {
                    // It asks again.
                    tracing::debug!(node = asked, ?error, "the list of clients was not sent to another node");
                    break;
                }
            }
        }
    }

    fn say_on_carrier(&self, nodes: &Nodes, message: &Message, key: Option<&str>) {
        let topic = nodes.shards.lock().get(nodes.carrier).map(|shard| Arc::clone(&shard.topic));
        let Some(topic) = topic else { return };
        match message.to(self.node, &topic, key) {
            Ok(publication) => self.say(publication),
            Err(error) => tracing::error!(?error, "a message to the other nodes was not encoded"),
        }
    }

    /// Publishes a message to the other nodes. One that is lost is noticed by its number.
    fn say(&self, publication: Publication) {
        let Some(link) = &self.link else { return };
        let said =
            if publication.key.is_some() { link.publish_newest(publication) } else { link.publish(publication) };
        if let Err(error) = said {
            tracing::debug!(?error, "a message to the other nodes was not queued");
        }
    }

    fn hear(&self, publication: &Publication) {
        if self.hear_letter(publication) {
            return;
        }
        let Some(nodes) = &self.nodes else { return };
        let node = publication.node;
        let message = match Message::decode(&publication.json) {
            Ok(message) => message,
            Err(error) => return self.warn_of(node, &format!("a message is not understood: {error:?}")),
        };
        if node != self.node {
            return self.hear_other(nodes, node, message, publication.size());
        }
        if message.life != nodes.life {
            return self.warn_of(node, "another process has the number of this node");
        }
        if let Says::Beat(beat) = message.says {
            nodes.hear_own(&publication.topic, self.instant(), |shard| Some(&mut shard.beats), beat.number);
        }
    }

    fn hear_record(&self, record: &Record) {
        let Some(nodes) = &self.nodes else { return };
        if record.body.writer.node != self.node {
            return;
        }
        let Some(entry) = record.body.entries.first() else { return };
        let Ok(Message { life, says: Says::Beat(beat) }) = Message::decode(&entry.json) else { return };
        if life == nodes.life {
            nodes.hear_own(&record.topic, self.instant(), |shard| shard.log.as_mut(), beat.number);
        }
    }

    /// Logs what is wrong with a node, once a minute.
    fn warn_of(&self, node: u64, text: &str) {
        if self.warnings.is_due(&format!("node {node:x}: {text}"), self.clock.now(), WARN_INTERVAL) {
            tracing::warn!(node, "{text}");
        }
    }
}

impl Nodes {
    fn hear_own(
        &self,
        topic: &str,
        now: Instant,
        beats: impl Fn(&mut Shard) -> Option<&mut beat::Beats>,
        number: u64,
    ) {
        let mut shards = self.shards.lock();
        let shard = shards.iter_mut().find(|shard| *shard.topic == *topic);
        if let Some(beats) = shard.and_then(beats) {
            beats.hear(number, now);
        }
    }

    /// Returns true while all shards bring what this node publishes.
    fn works(&self, now: Instant) -> bool {
        let start = *self.start.lock();
        self.shards.lock().iter().all(|shard| shard.state(start, now) == ShardState::Up)
    }

    /// Returns true while a shard has brought nothing yet, and may be about to.
    fn is_new(&self, now: Instant) -> bool {
        let start = *self.start.lock();
        let shards = self.shards.lock();
        shards.iter().any(|shard| shard.state(start, now) == ShardState::Starting)
    }
}

/// Marks appends as under way until it is dropped.
struct Appending(Arc<AtomicBool>);

impl Drop for Appending {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Realtime,
        seams::{BoxFuture, MemoryBroker},
    };

    /// A runtime that has ended.
    struct Ended;

    impl Runtime for Ended {
        fn sleep(&self, _: Duration) -> BoxFuture<'static> {
            Box::pin(std::future::pending())
        }

        fn spawn(&self, task: BoxFuture<'static>) {
            drop(task);
        }
    }

    /// Otherwise a node that is started again on another runtime would never be ready.
    #[test]
    fn beats_that_were_never_sent_are_not_under_way() {
        let hub = Realtime::builder().manual_time().broker(MemoryBroker::new()).build().0;
        hub.tick();
        hub.start(|| Arc::new(Ended));
        assert!(!hub.nodes.as_ref().unwrap().appending.load(Relaxed));
    }
}
