//! Feeds: topics with a log. A follower is a cursor into the log, and has no queue.

mod appending;
mod begun;
mod comparing;
mod copying;
mod drafts;
mod entry;
mod follower;
mod followers;
mod log;
mod messages;
mod past;
mod past_reading;
mod reader;
mod reading;
mod replica;
mod revoked;
mod state;
mod tail;
mod wants;

pub(crate) use begun::Begun;
pub(crate) use comparing::MissedHere;
pub(super) use comparing::watch;
pub(crate) use entry::Entry;
pub(crate) use follower::{Beginning, Follower, Following, To};
pub use log::Log;
pub(super) use revoked::Left;
pub(crate) use state::{FeedState, Newest};
pub(crate) use tail::Behind;

use super::{Hub, link::unanswered, topics::Name};
use crate::{
    ledger::{Class, Ledger},
    outbox::Keeping,
    protocol::Encode,
    seams::{AppendError, Source},
    util::sync::{
        Mutex, RwLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use entry::Stored;
use past_reading::PastReads;
use reading::Reads;
use realtime_protocol::{Code, Error, Position, Result};
use state::{Asked, Limits};
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// The feeds of a node.
///
/// A feed exists while it has followers or entries, and for as long after its last use as entries are kept: a position
/// in it keeps its meaning that long.
#[derive(Debug)]
pub(crate) struct Feeds {
    hasher: RandomState,
    shards: [RwLock<Map>; SHARDS],
    count: AtomicUsize,
    /// Counts the bytes of all logs.
    ledger: Arc<Ledger>,
    /// The feeds by the tick at which something of them may be too old. Each is in here once.
    due: Mutex<BTreeMap<u32, Vec<Arc<FeedState>>>>,
    /// Held by the one that makes room.
    shrinking: Mutex<()>,
    /// They are copies of logs that a broker keeps.
    are_copies: bool,
    reads: Reads,
    past_reads: PastReads,
}

type Map = HashMap<Arc<str>, Arc<FeedState>>;

const SHARDS: usize = 64;

impl Feeds {
    pub(crate) fn new(ledger: &Arc<Ledger>, are_copies: bool) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| RwLock::default()),
            count: AtomicUsize::new(0),
            ledger: Arc::clone(ledger),
            due: Mutex::default(),
            shrinking: Mutex::default(),
            are_copies,
            reads: Reads::default(),
            past_reads: PastReads::default(),
        }
    }
}

impl Hub {
    /// Appends an entry to the log of a feed, and sends it to those who follow it.
    pub(crate) async fn append(
        self: &Arc<Self>,
        name: &str,
        log: Log,
        value: &(dyn Encode + Sync),
        key: Option<String>,
    ) -> Result<Position, AppendError> {
        let asked = self.asked(name, log).map_err(AppendError::Refused)?;
        match &self.link {
            None => self.append_here(&asked, value, key).map_err(AppendError::Refused),
            Some(link) => self.append_to_shared(link.shared(), &asked, value, key).await,
        }
    }

    fn append_here(&self, asked: &Asked<'_>, value: &dyn Encode, key: Option<String>) -> Result<Position> {
        let key = key.map(Arc::from);
        let log_bytes = asked.log.bytes.min(self.config.log_bytes);
        let limits = Limits { protocols: &self.protocols, outbox_bytes: self.config.outbox_bytes, log_bytes };
        let (position, effects) = loop {
            let feed = self.feeds.find_or_insert(asked, self.config.feeds, |_| {})?;
            if let Some(appended) = feed.append(asked, Stored::of(value)?, Option::clone(&key), &limits)? {
                break appended;
            }
            self.feeds.remove(&feed);
        };
        self.run(effects);
        self.feeds.shrink(self.config.log_bytes);
        self.counters.appended.fetch_add(1, Relaxed);
        Ok(position)
    }

    /// # Errors
    ///
    /// If there can be no feed of this name here.
    pub(crate) fn check_feed(&self, name: &str) -> Result {
        self.asked(name, Log::default()).map(|_| ())
    }

    /// Returns true if a feed has to be [prepared](Self::prepare) before it is followed.
    pub(crate) fn needs_preparing(&self) -> bool {
        self.link.is_some()
    }

    /// Waits until the log of a feed is known here, and what became of `after` in it.
    pub(crate) async fn prepare(self: &Arc<Self>, name: &str, log: Log, after: Option<&Position>) -> Result {
        self.load(&self.asked(name, log)?, after).await
    }

    /// Adds a follower of a feed as soon as its log is known here.
    pub(crate) async fn follow_prepared(
        self: &Arc<Self>,
        name: &str,
        log: Log,
        keeping: Keeping,
        after: Option<&Position>,
        since: u64,
        to: impl Fn() -> To,
    ) -> Result<(Following, Beginning)> {
        loop {
            if self.needs_preparing() {
                self.prepare(name, log, after).await?;
            }
            if let Some(follow) = self.follow(name, log, keeping, after, since, &to)? {
                return Ok(follow);
            }
        }
    }

    /// Returns the error of a log that does not become known here: the one with which the last read of it has failed, or
    /// that the broker has not answered.
    fn too_late(&self, name: &str) -> Error {
        let problem = self.feeds.find(name).and_then(|feed| feed.replica.as_ref()?.problem());
        problem.unwrap_or_else(|| unanswered("follow or read", [name].into_iter(), self.config.append_timeout))
    }

    /// Adds a follower of a feed, behind a position or at the end of the log. `since` is the number of revocations from
    /// feeds that its client had seen when it was asked for. Returns `None` if it has to be prepared first.
    pub(crate) fn follow(
        &self,
        name: &str,
        log: Log,
        keeping: Keeping,
        after: Option<&Position>,
        since: u64,
        to: impl Fn() -> To,
    ) -> Result<Option<(Following, Beginning)>> {
        let asked = self.asked(name, log)?;
        self.at_loaded(&asked, |feed| feed.follow(to(), since, keeping, after, asked.now))
    }

    /// Returns the position of the newest entry of a feed.
    pub(crate) async fn position_of(self: &Arc<Self>, name: &str, log: Log) -> Result<Position> {
        self.when_loaded(name, log, |feed, now| feed.position(now)).await
    }

    /// Returns the newest entries of a feed.
    pub(crate) async fn newest_of(self: &Arc<Self>, name: &str, log: Log, count: usize) -> Result<Newest> {
        self.when_loaded(name, log, |feed, now| feed.newest(count, now)).await
    }

    /// Calls `with` once the feed is loaded. The wait ends as an append's does.
    async fn when_loaded<T>(
        self: &Arc<Self>,
        name: &str,
        log: Log,
        with: impl Fn(&Arc<FeedState>, u32) -> Option<T>,
    ) -> Result<T> {
        loop {
            let asked = self.asked(name, log)?;
            if self.needs_preparing() {
                let loaded = self.before(self.config.append_timeout, self.load(&asked, None)).await;
                loaded.unwrap_or_else(|| Err(self.too_late(name)))?;
            }
            if let Some(output) = self.at_loaded(&asked, |feed| with(feed, asked.now))? {
                return Ok(output);
            }
        }
    }

    /// Calls `with` until it finds the feed alive. Returns `None` if it was alive and not loaded.
    fn at_loaded<T>(
        &self,
        asked: &Asked<'_>,
        mut with: impl FnMut(&Arc<FeedState>) -> Option<T>,
    ) -> Result<Option<T>> {
        self.at_feed(asked, |feed| match with(feed) {
            // Also if it was loaded in between: only one that has ended may be removed.
            None if feed.is_alive() => Some(None),
            output => output.map(Some),
        })
    }

    /// Calls `with` until it finds the feed alive.
    fn at_feed<T>(&self, asked: &Asked<'_>, mut with: impl FnMut(&Arc<FeedState>) -> Option<T>) -> Result<T> {
        loop {
            let feed = self.feeds.find_or_insert(asked, self.config.feeds, |ended| self.unfollow_log(ended))?;
            if let Some(output) = with(&feed) {
                return Ok(output);
            }
            self.remove_feed(&feed);
        }
    }

    fn remove_feed(&self, feed: &Arc<FeedState>) {
        self.feeds.remove(feed);
        self.unfollow_log(feed);
    }

    /// Has the broker bring no more records of a feed that was removed.
    fn unfollow_log(&self, feed: &FeedState) {
        if let Some(link) = self.link.as_ref().filter(|_| feed.is_followed()) {
            let _ = link.look(Source::Log, &feed.name, self.clock.now(), || self.feeds.is_followed(&feed.name));
        }
    }

    /// Drops what is too old in feeds, and the feeds that have ended.
    pub(super) fn expire_feeds(self: &Arc<Self>, now: u32) {
        self.feeds.past_reads.expire(now);
        self.read_parked();
        self.feeds.expire(now).iter().for_each(|ended| self.unfollow_log(ended));
    }

    fn asked<'a>(&self, name: &'a str, log: Log) -> Result<Asked<'a>> {
        Name::Topic(name).check()?;
        if self.link.as_ref().is_some_and(|link| !link.has_logs()) {
            // Its entries would reach this node only, and nobody would know.
            let what = "this node's broker keeps no logs: feeds need one that does";
            return Err(Error::new(Code::UNIMPLEMENTED, what));
        }
        Ok(Asked { name, log, within: self.clock.ticks(log.within), now: self.clock.now() })
    }
}

impl Feeds {
    pub(crate) fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.ledger.of(Class::Logs)
    }

    /// Returns the feed of this name, if there is one.
    fn find(&self, name: &str) -> Option<Arc<FeedState>> {
        self.shard(name).read().get(name).cloned()
    }

    /// Returns true if the broker is to bring the records of this feed.
    fn is_followed(&self, name: &str) -> bool {
        self.find(name).is_some_and(|feed| feed.is_followed())
    }

    fn matching(&self, filter: impl Fn(&FeedState) -> bool) -> Vec<Arc<FeedState>> {
        let of =
            |shard: &RwLock<Map>| shard.read().values().filter(|feed| filter(feed)).cloned().collect::<Vec<_>>();
        self.shards.iter().flat_map(of).collect()
    }

    /// Drops what is too old. Returns the feeds that have ended, which are removed.
    fn expire(&self, now: u32) -> Vec<Arc<FeedState>> {
        let mut ended = Vec::new();
        while let Some(feeds) = self.take_due(now) {
            for feed in feeds {
                match feed.expire(now) {
                    // At the next tick at the earliest: this loop has to end.
                    Some(due) => self.schedule(feed, due.max(now + 1)),
                    None => {
                        self.remove(&feed);
                        ended.push(feed);
                    }
                }
            }
        }
        ended
    }

    fn take_due(&self, now: u32) -> Option<Vec<Arc<FeedState>>> {
        let mut due = self.due.lock();
        let first = due.first_entry().filter(|first| *first.key() <= now)?;
        Some(first.remove())
    }

    fn schedule(&self, feed: Arc<FeedState>, due: u32) {
        self.due.lock().entry(due).or_default().push(feed);
    }

    /// Returns the feed. `ended` is called with one that makes place for it.
    fn find_or_insert(
        &self,
        asked: &Asked<'_>,
        limit: usize,
        ended: impl FnOnce(&FeedState),
    ) -> Result<Arc<FeedState>> {
        let shard = self.shard(asked.name);
        if let Some(feed) = shard.read().get(asked.name) {
            return Ok(Arc::clone(feed));
        }
        if self.len() >= limit {
            let full = || Error::resource_exhausted(format!("a node has at most {limit} feeds")).with_retry();
            ended(&*self.end_an_empty_one().ok_or_else(full)?);
        }
        let mut shard = shard.write();
        if let Some(feed) = shard.get(asked.name) {
            return Ok(Arc::clone(feed));
        }
        let name: Arc<str> = asked.name.into();
        let feed = match self.are_copies {
            true => FeedState::copy(Arc::clone(&name), asked, &self.ledger),
            false => FeedState::new(Arc::clone(&name), asked, &self.ledger)?,
        };
        let feed = Arc::new(feed);
        shard.insert(name, Arc::clone(&feed));
        self.count.fetch_add(1, Relaxed);
        drop(shard);
        self.schedule(Arc::clone(&feed), asked.now + 1);
        Ok(feed)
    }

    /// Removes a feed that has ended, unless a new one of its name has replaced it.
    fn remove(&self, feed: &Arc<FeedState>) {
        let mut shard = self.shard(&feed.name).write();
        if shard.get(&feed.name).is_some_and(|found| Arc::ptr_eq(found, feed)) {
            shard.remove(&feed.name);
            self.count.fetch_sub(1, Relaxed);
            if shard.is_empty() {
                shard.shrink_to(0);
            }
        }
    }

    /// Ends one of the feeds whose turn is next, if nobody follows it and it keeps nothing: names may come from
    /// clients, and what one of them has only looked at makes place for others.
    fn end_an_empty_one(&self) -> Option<Arc<FeedState>> {
        let ended = self.take_empty()?;
        self.remove(&ended);
        Some(ended)
    }

    fn take_empty(&self) -> Option<Arc<FeedState>> {
        let mut due = self.due.lock();
        let mut looked_at =
            due.iter().flat_map(|(tick, feeds)| feeds.iter().enumerate().map(move |at| (*tick, at)));
        let found = looked_at.by_ref().take(LOOKED_AT).find(|(_, (_, feed))| feed.end_if_empty());
        let (tick, at) = found.map(|(tick, (at, _))| (tick, at))?;
        drop(looked_at);
        let feeds = due.get_mut(&tick)?;
        let ended = feeds.swap_remove(at);
        if feeds.is_empty() {
            due.remove(&tick);
        }
        Some(ended)
    }

    /// Drops the oldest entries of the largest logs, while all logs together are over the limit; returns how many.
    pub(super) fn shrink(&self, limit: usize) -> usize {
        let mut dropped = 0;
        if self.bytes() <= limit {
            return dropped;
        }
        let _shrinking = self.shrinking.lock();
        let mut feeds: Vec<_> =
            self.shards.iter().flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>()).collect();
        feeds.sort_unstable_by_key(|feed| feed.bytes());
        // Some more than is needed: looking at all feeds is not for each append.
        let enough = limit - limit / 16;
        while self.bytes() > enough {
            let Some(largest) = feeds.pop().filter(|largest| largest.bytes() > 0) else { break };
            let next = feeds.last().map_or(0, |next| next.bytes());
            while self.bytes() > enough && largest.bytes() > 0 && largest.bytes() >= next {
                largest.drop_oldest();
                dropped += 1;
            }
            let place = feeds.partition_point(|feed| feed.bytes() <= largest.bytes());
            feeds.insert(place, largest);
        }
        dropped
    }

    fn shard(&self, name: &str) -> &RwLock<Map> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

/// Feeds that are looked at for one that can end.
const LOOKED_AT: usize = 64;
