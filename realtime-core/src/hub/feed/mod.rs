//! Feeds: topics with a log. A follower is a cursor into the log, and has no queue.

mod begun;
mod entry;
mod follower;
mod followers;
mod log;
mod messages;
mod revoked;
mod state;
mod tail;

pub(crate) use begun::Begun;
pub(crate) use entry::Entry;
pub(crate) use follower::{Beginning, Follower, Following, To};
pub use log::Log;
pub(super) use revoked::Left;
pub(crate) use state::{FeedState, Newest};
pub(crate) use tail::Behind;

use super::{Hub, topics::Name};
use crate::{
    ledger::{Class, Ledger},
    outbox::Keeping,
    protocol::Encode,
    util::sync::{
        Mutex, RwLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use entry::Stored;
use realtime_protocol::{Code, Error, Position, Result};
use state::{Asked, Limits};
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};
use tail::Tail;

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
}

type Map = HashMap<Arc<str>, Arc<FeedState>>;

const SHARDS: usize = 64;

impl Feeds {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| RwLock::default()),
            count: AtomicUsize::new(0),
            ledger: Arc::clone(ledger),
            due: Mutex::default(),
            shrinking: Mutex::default(),
        }
    }
}

impl Hub {
    /// Appends an entry to the log of a feed, and sends it to those who follow it.
    ///
    /// # Errors
    ///
    /// The entry is certainly not in the log.
    pub(crate) fn append(
        &self,
        name: &str,
        log: Log,
        value: &dyn Encode,
        key: Option<String>,
    ) -> Result<Position> {
        let asked = self.asked(name, log)?;
        let key = key.map(Arc::from);
        let log_bytes = log.bytes.min(self.config.log_bytes);
        let limits = Limits { protocols: &self.protocols, outbox_bytes: self.config.outbox_bytes, log_bytes };
        let (position, effects) = loop {
            let feed = self.feeds.find_or_insert(&asked, self.config.feeds)?;
            if let Some(appended) = feed.append(&asked, Stored::of(value)?, Option::clone(&key), &limits)? {
                break appended;
            }
            self.feeds.remove(&feed);
        };
        self.run(effects);
        self.feeds.shrink(self.config.log_bytes);
        self.counters.appended.fetch_add(1, Relaxed);
        Ok(position)
    }

    /// Adds a follower of a feed, behind a position or at the end of the log. `since` is the number of revocations from
    /// feeds that its client had seen when it was asked for.
    pub(crate) fn follow(
        &self,
        name: &str,
        log: Log,
        keeping: Keeping,
        after: Option<&Position>,
        since: u64,
        to: impl Fn() -> To,
    ) -> Result<(Following, Beginning)> {
        let asked = self.asked(name, log)?;
        self.at_feed(&asked, |feed| feed.follow(to(), since, keeping, after, asked.now))
    }

    /// Returns the position of the newest entry of a feed.
    pub(crate) fn position_of(&self, name: &str, log: Log) -> Result<Position> {
        let asked = self.asked(name, log)?;
        self.at_feed(&asked, |feed| feed.position(asked.now))
    }

    /// Returns the newest entries of a feed.
    pub(crate) fn newest_of(&self, name: &str, log: Log, count: usize) -> Result<Newest> {
        let asked = self.asked(name, log)?;
        self.at_feed(&asked, |feed| feed.newest(count, asked.now))
    }

    /// Calls `with` until it finds the feed alive.
    fn at_feed<T>(&self, asked: &Asked<'_>, mut with: impl FnMut(&Arc<FeedState>) -> Option<T>) -> Result<T> {
        loop {
            let feed = self.feeds.find_or_insert(asked, self.config.feeds)?;
            if let Some(output) = with(&feed) {
                return Ok(output);
            }
            self.feeds.remove(&feed);
        }
    }

    fn asked<'a>(&self, name: &'a str, log: Log) -> Result<Asked<'a>> {
        Name::Topic(name).check()?;
        if self.link.is_some() {
            // Its entries would reach this node only, and nobody would know.
            let what = "a feed is of one node, and this one has a broker";
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

    /// Drops what is too old, and the feeds that have ended.
    pub(crate) fn expire(&self, now: u32) {
        while let Some(feeds) = self.take_due(now) {
            for feed in feeds {
                match feed.expire(now) {
                    // At the next tick at the earliest: this loop has to end.
                    Some(due) => self.schedule(feed, due.max(now + 1)),
                    None => self.remove(&feed),
                }
            }
        }
    }

    fn take_due(&self, now: u32) -> Option<Vec<Arc<FeedState>>> {
        let mut due = self.due.lock();
        let first = due.first_entry().filter(|first| *first.key() <= now)?;
        Some(first.remove())
    }

    fn schedule(&self, feed: Arc<FeedState>, due: u32) {
        self.due.lock().entry(due).or_default().push(feed);
    }

    fn find_or_insert(&self, asked: &Asked<'_>, limit: usize) -> Result<Arc<FeedState>> {
        let shard = self.shard(asked.name);
        if let Some(feed) = shard.read().get(asked.name) {
            return Ok(Arc::clone(feed));
        }
        if self.len() >= limit && !self.end_an_empty_one() {
            return Err(Error::resource_exhausted(format!("a node has at most {limit} feeds")).with_retry());
        }
        let mut shard = shard.write();
        if let Some(feed) = shard.get(asked.name) {
            return Ok(Arc::clone(feed));
        }
        // Another node or process must not have the same: a client would resume what never was.
        let epoch = getrandom::u64().map_err(Error::internal)?;
        let name: Arc<str> = asked.name.into();
        let tail = Tail::new(asked.log, asked.within, asked.now);
        let feed = Arc::new(FeedState::new(Arc::clone(&name), epoch, tail, &self.ledger));
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
    fn end_an_empty_one(&self) -> bool {
        let ended = self.take_empty();
        ended.map(|feed| self.remove(&feed)).is_some()
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
