//! Reading logs that a broker keeps: when a feed is first asked for, and whenever something may be missing.

use super::{
    FeedState,
    reader::Ask,
    replica::{Means, Replica, unix_time},
    state::Asked,
};
use crate::{
    hub::{
        Hub,
        link::{PAUSE, Shared, answered, caught},
        members::Effects,
    },
    seams::{Page, Record, Runtime, Source, check_top},
    util::sync::Mutex,
};
use realtime_protocol::{Error, Position, Result};
use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    mem,
    sync::{Arc, Weak},
};

/// Feeds that are read at a time: enough for a full pipeline, and no flood after a broker was away.
const READERS: usize = 32;

/// Bytes that are read at once.
const PAGE: usize = 64 * 1024;

/// The feeds that are to be read.
#[derive(Debug, Default)]
pub(super) struct Reads(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<FeedState>>,
    /// Those whose past waits for room, by name.
    parked: HashMap<Arc<str>, Arc<FeedState>>,
    readers: usize,
}

impl Reads {
    /// Returns true if a reader has to be started.
    fn add(&self, feed: Arc<FeedState>) -> bool {
        let mut queue = self.0.lock();
        queue.waiting.push_back(feed);
        queue.take_place()
    }

    fn take_place(&self) -> bool {
        let mut queue = self.0.lock();
        !queue.waiting.is_empty() && queue.take_place()
    }

    /// Returns the next feed; `None` if there is none, and the reader ends. A feed that has ended is dropped: nobody waits
    /// for it, and as long as the broker fails, those that clients have named would be ever more.
    fn next(&self) -> Option<Arc<FeedState>> {
        loop {
            let next = self.take();
            if next.as_ref().is_none_or(|feed| feed.is_alive()) {
                return next;
            }
        }
    }

    /// Has the rest of its past read once there may be room, and others meanwhile.
    fn park(&self, feed: Arc<FeedState>) {
        let is_parked = feed.replica.as_ref().is_some_and(|replica| replica.lock().park());
        let mut queue = self.0.lock();
        if is_parked {
            queue.parked.insert(Arc::clone(&feed.name), feed);
        } else {
            queue.waiting.push_back(feed);
        }
    }

    /// Returns those whose past has waited for room, and that nobody reads since.
    fn unpark(&self) -> impl Iterator<Item = Arc<FeedState>> {
        let parked = mem::take(&mut self.0.lock().parked);
        let must_read =
            |feed: &Arc<FeedState>| feed.replica.as_ref().is_some_and(|replica| replica.lock().unpark());
        parked.into_values().filter(must_read)
    }

    fn take(&self) -> Option<Arc<FeedState>> {
        let mut queue = self.0.lock();
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.readers -= 1;
        }
        next
    }
}

impl Queue {
    fn take_place(&mut self) -> bool {
        let is_free = self.readers < READERS;
        self.readers += usize::from(is_free);
        is_free
    }
}

impl Hub {
    /// Waits until a feed is loaded, and is up to date if `after` is not of what is known of it. Returns at once for a
    /// feed of this node alone.
    pub(super) async fn load(self: &Arc<Self>, asked: &Asked<'_>, after: Option<&Position>) -> Result {
        if self.link.is_none() {
            return Ok(());
        }
        let held = self.at_feed(asked, |feed| {
            // Held first: what is alive then stays so.
            let held = Replica::hold(feed);
            feed.is_alive().then_some(held)
        })?;
        let feed = &held.0;
        let Some(replica) = &feed.replica else { return Ok(()) };
        if replica.follow() {
            self.follow_log(feed);
        }
        if !replica.is_loaded() || replica.lacks_written() || !feed.knows(after) {
            let (number, is_new) = replica.ask();
            if is_new {
                self.read_soon(feed);
            }
            poll_fn(|cx| replica.poll_read(number, cx)).await;
        }
        self.load_past(feed, after).await;
        Ok(())
    }

    /// Has the broker bring the records of a feed.
    fn follow_log(self: &Arc<Self>, feed: &Arc<FeedState>) {
        let Some(link) = &self.link else { return };
        if link.look(Source::Log, &feed.name, self.clock.now(), || self.feeds.is_followed(&feed.name)) {
            self.begin_copy_of(feed);
        }
    }

    /// Reads a feed for the first time, once the broker brings its records.
    pub(in crate::hub) fn begin_copy(self: &Arc<Self>, name: &str) {
        if let Some(feed) = self.feeds.find(name) {
            self.begin_copy_of(&feed);
        }
    }

    fn begin_copy_of(self: &Arc<Self>, feed: &Arc<FeedState>) {
        if feed.replica.as_ref().is_some_and(|replica| replica.begin()) {
            self.read_soon(feed);
        }
    }

    pub(in crate::hub) fn take_record(self: &Arc<Self>, record: Record) {
        if let Err(error) = record.check() {
            self.counters.broker_failure();
            return tracing::error!(feed = record.topic, ?error, "a record is none that a node has written");
        }
        let Some(feed) = self.feeds.find(&record.topic) else { return };
        let mut effects = Effects::take();
        let is_behind = feed.take_record(record, &self.means(), &mut effects);
        self.run(effects);
        self.feeds.shrink(self.config.log_bytes);
        if is_behind {
            self.read_soon(&feed);
        }
    }

    pub(super) fn means(&self) -> Means<'_> {
        let may_wait = self.link.as_ref().is_some_and(|link| link.shared().has_room(&self.ledger));
        Means { protocols: &self.protocols, now: self.clock.now(), time: unix_time(), may_wait }
    }

    pub(super) fn read_soon(self: &Arc<Self>, feed: &Arc<FeedState>) {
        if self.feeds.reads.add(Arc::clone(feed)) {
            self.spawn_reader();
        }
    }

    /// Starts readers if feeds wait for that: a runtime that has ended has dropped those that were there.
    pub(in crate::hub) fn read_feeds(self: &Arc<Self>) {
        while self.feeds.reads.take_place() {
            self.spawn_reader();
        }
    }

    /// Reads the past of feeds for which there was no room.
    pub(super) fn read_parked(self: &Arc<Self>) {
        self.feeds.reads.unpark().for_each(|feed| self.read_soon(&feed));
    }

    fn spawn_reader(self: &Arc<Self>) {
        let (Some(link), Some(runtime)) = (&self.link, self.runtime()) else {
            return self.feeds.reads.0.lock().readers -= 1;
        };
        let place = Place { hub: Arc::downgrade(self), feed: None };
        let shared = Arc::clone(link.shared());
        let reader = read(place, shared, Arc::clone(&runtime));
        runtime.spawn(Box::pin(reader));
    }
}

/// The place of a reader, and the feed that it reads. Dropped before its end, or before it has run at all, it gives both
/// back.
struct Place {
    hub: Weak<Hub>,
    feed: Option<Arc<FeedState>>,
}

impl Place {
    /// Takes the next feed to read; `None` if there is none, and then the place is given back.
    fn next(&mut self) -> Option<Arc<FeedState>> {
        let next = self.hub.upgrade().and_then(|hub| hub.feeds.reads.next());
        if next.is_none() {
            self.hub = Weak::new();
        }
        self.feed.clone_from(&next);
        next
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            let mut queue = hub.feeds.reads.0.lock();
            queue.readers -= 1;
            queue.waiting.extend(self.feed.take());
        }
    }
}

/// Reads feeds, one after the other, until none waits.
async fn read(mut place: Place, shared: Arc<Shared>, runtime: Arc<dyn Runtime>) {
    while let Some(feed) = place.next() {
        let read = read_one(&place.hub, &shared, &feed, &runtime).await;
        if let Some(replica) = &feed.replica {
            replica.note_read(read.as_ref().err());
        }
        if let Err(error) = &read {
            tracing::warn!(feed = &*feed.name, ?error, "a log cannot be read");
            runtime.sleep(PAUSE).await;
        }
        place.feed = None;
        let Some(reads) = place.hub.upgrade() else { continue };
        let reads = &reads.feeds.reads;
        match read {
            // Others first: what this one needs may be down, or be much.
            Err(_) | Ok(Left::More) => reads.0.lock().waiting.push_back(feed),
            Ok(Left::WithoutRoom) => reads.park(feed),
            Ok(Left::Nothing) => {}
        }
    }
}

/// The rest that is to be read of a feed.
enum Left {
    Nothing,
    /// There may be more of its past.
    More,
    /// There is no room for its past.
    WithoutRoom,
}

/// Reads a feed until it is up to date, and then a page of its past.
async fn read_one(
    hub: &Weak<Hub>,
    shared: &Shared,
    feed: &Arc<FeedState>,
    runtime: &Arc<dyn Runtime>,
) -> Result<Left> {
    let mut copies = 0;
    while let Some(ask) = feed.next_read() {
        match ask {
            Ask::Top if copies == COPIES => return Err(Error::unavailable("the log changes while it is read")),
            Ask::Top => {
                copies += 1;
                read_top(shared, feed, runtime).await?;
            }
            Ask::Page(after) => read_page(hub, shared, feed, after, runtime).await?,
            Ask::Past(_) if !has_room(hub, feed) => return Ok(Left::WithoutRoom),
            Ask::Past(after) => {
                read_past(hub, shared, feed, after, runtime).await?;
                return Ok(Left::More);
            }
        }
    }
    Ok(Left::Nothing)
}

/// Attempts to copy a log without a pause.
const COPIES: usize = 3;

async fn read_top(shared: &Shared, feed: &FeedState, runtime: &Arc<dyn Runtime>) -> Result {
    let topics = [&*feed.name];
    let tops = caught(|| shared.broker.tops(&topics));
    let mut tops = answered(runtime, shared.append_timeout, "tops", topics.into_iter(), tops).await??;
    let top = tops.pop().ok_or_else(|| Error::unavailable("the broker did not say where the log ends"))?;
    check_top(&top)?;
    feed.begin_part(&top);
    Ok(())
}

async fn read_page(
    hub: &Weak<Hub>,
    shared: &Shared,
    feed: &FeedState,
    after: u64,
    runtime: &Arc<dyn Runtime>,
) -> Result {
    let page = page(shared, feed, after, runtime).await?;
    let Some(hub) = hub.upgrade() else { return Ok(()) };
    let mut effects = Effects::take();
    feed.take_page(page, &hub.means(), &mut effects);
    hub.run(effects);
    hub.feeds.shrink(hub.config.log_bytes);
    Ok(())
}

/// Returns true if a page of the past may be read. Where it may not, that is looked at again with the next tick.
fn has_room(hub: &Weak<Hub>, feed: &FeedState) -> bool {
    hub.upgrade().is_none_or(|hub| hub.means().may_wait && !feed.is_full_of_past(hub.clock.now()))
}

async fn read_past(
    hub: &Weak<Hub>,
    shared: &Shared,
    feed: &Arc<FeedState>,
    after: u64,
    runtime: &Arc<dyn Runtime>,
) -> Result {
    let page = page(shared, feed, after, runtime).await?;
    let Some(hub) = hub.upgrade() else { return Ok(()) };
    let mut effects = Effects::take();
    hub.feeds.past_reads.note(feed, hub.clock.now());
    let taken = feed.take_past(after, page, &hub.means(), &mut effects);
    hub.run(effects);
    taken
}

async fn page(shared: &Shared, feed: &FeedState, after: u64, runtime: &Arc<dyn Runtime>) -> Result<Page> {
    let page = caught(|| shared.broker.read(&feed.name, after, PAGE));
    let name = [&*feed.name].into_iter();
    let page = answered(runtime, shared.append_timeout, "read", name, page).await??;
    page.check()?;
    Ok(page)
}

impl FeedState {
    /// Returns true if the copy says what became of a position.
    fn knows(&self, after: Option<&Position>) -> bool {
        after.is_none_or(|after| self.tail.lock().standing(after) != super::tail::Standing::Unproven)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Realtime,
        hub::{Log, feed::reader::Stage},
        ledger::Ledger,
        seams::{BoxFuture, MemoryBroker},
    };
    use std::time::Duration;

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

    #[test]
    fn a_reader_that_never_ran_gives_its_place_back() {
        let hub = Realtime::builder().manual_time().broker(MemoryBroker::new()).build().0;
        hub.start(|| Arc::new(Ended));
        let asked = Asked { name: "t", log: Log::last(10), within: 100, now: 1 };
        hub.read_soon(&Arc::new(FeedState::copy("t".into(), &asked, &hub.ledger)));
        let queued = || {
            let queue = hub.feeds.reads.0.lock();
            (queue.readers, queue.waiting.len(), queue.parked.len())
        };
        assert_eq!(queued(), (0, 1, 0));
        let parked = Arc::new(FeedState::copy("p".into(), &asked, &hub.ledger));
        let replica = parked.replica.as_ref().unwrap();
        replica.lock().stage = Stage::Live;
        hub.feeds.reads.park(Arc::clone(&parked));
        hub.feeds.reads.park(parked);
        assert_eq!(queued(), (0, 1, 1));
        hub.tick();
        assert_eq!(queued(), (0, 2, 0));
    }

    #[test]
    fn a_feed_that_has_ended_is_not_read() {
        let asked = Asked { name: "t", log: Log::last(10), within: 100, now: 1 };
        let feed = || Arc::new(FeedState::copy("t".into(), &asked, &Arc::new(Ledger::new(1 << 30))));
        let (reads, ended, alive) = (Reads::default(), feed(), feed());
        assert!(ended.end_if_empty());
        assert!(reads.add(Arc::clone(&ended)));
        reads.add(Arc::clone(&alive));
        assert!(Arc::ptr_eq(&reads.next().unwrap(), &alive));
        assert_eq!(Arc::strong_count(&ended), 1);
    }
}
