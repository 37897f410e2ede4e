//! The copy of a log that a broker keeps, and those who wait for it.

use super::{
    FeedState,
    drafts::{Drafts, again},
    reader::{End, Reader, Stage},
};
use crate::{
    protocol::Protocols,
    util::{
        TICK, Wakers,
        sync::{
            Mutex, MutexGuard,
            atomic::{
                AtomicBool, AtomicUsize,
                Ordering::{Acquire, Relaxed, Release},
            },
        },
    },
};
use realtime_protocol::{Error, Position};
use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A feed's link to the log of which it holds a copy.
#[derive(Debug, Default)]
pub(super) struct Replica {
    /// Changed under the order lock of the feed.
    reader: Mutex<Reader>,
    pub(super) drafts: Mutex<Drafts>,
    /// The broker is to bring its records.
    is_followed: AtomicBool,
    is_loaded: AtomicBool,
    /// Those that need it to last.
    holders: AtomicUsize,
}

/// The things that a copy needs of its node.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) protocols: &'a Protocols,
    pub(super) now: u32,
    /// Milliseconds since 1970.
    pub(super) time: u64,
    /// False if nothing more may wait, for its bytes.
    pub(super) may_wait: bool,
}

/// Wakers that are kept beside those of twice as many tasks as wait: a broker may not answer for long, and clients come and
/// go.
const SPARE_WAKERS: usize = 16;

impl Replica {
    pub(super) fn is_loaded(&self) -> bool {
        self.is_loaded.load(Acquire)
    }

    pub(super) fn set_loaded(&self, is_loaded: bool) {
        self.is_loaded.store(is_loaded, Release);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.holders.load(Relaxed) > 0
    }

    pub(super) fn is_followed(&self) -> bool {
        self.is_followed.load(Acquire)
    }

    /// Has the broker bring its records from now on; returns false if it was to before.
    pub(super) fn follow(&self) -> bool {
        !self.is_followed.swap(true, Release)
    }

    /// Keeps the feed until the returned value is dropped.
    pub(super) fn hold(feed: &Arc<FeedState>) -> Held {
        if let Some(replica) = &feed.replica {
            replica.holders.fetch_add(1, Relaxed);
        }
        Held(Arc::clone(feed))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock()
    }

    /// Notes that the broker brings its records now. Returns true if it is to be read for the first time.
    pub(super) fn begin(&self) -> bool {
        let mut reader = self.lock();
        if reader.stage != Stage::New {
            return false;
        }
        reader.stage = Stage::Loading;
        reader.asked += 1;
        reader.queue()
    }

    /// Asks for a read that begins from now on. Returns its number, and true if somebody has to do it.
    pub(super) fn ask(&self) -> (u64, bool) {
        let mut reader = self.lock();
        let is_open = reader.under_way.map_or(reader.done, |number| number) < reader.asked;
        if !is_open {
            reader.asked += 1;
        }
        // Before it is followed nothing is read.
        let must_read = reader.stage != Stage::New && reader.queue();
        (reader.asked, must_read)
    }

    /// Ready when the read is done.
    pub(super) fn poll_read(&self, number: u64, cx: &Context<'_>) -> Poll<()> {
        let reader = self.lock();
        if reader.done >= number && reader.stage != Stage::Loading {
            return Poll::Ready(());
        }
        self.wait(reader, cx);
        Poll::Pending
    }

    /// Has the task woken when something was read.
    pub(super) fn wait(&self, mut reader: MutexGuard<'_, Reader>, cx: &Context<'_>) {
        // Most are of tasks that are gone. The others come back.
        let most = 2 * self.holders.load(Relaxed) + SPARE_WAKERS;
        let stale = (reader.wakers.len() >= most).then(|| std::mem::take(&mut reader.wakers));
        reader.wakers.add(cx.waker());
        drop(reader);
        stale.into_iter().for_each(Wakers::wake);
    }

    /// Returns true if an entry that this node has appended has not come back yet.
    pub(super) fn lacks_written(&self) -> bool {
        let reader = self.lock();
        reader.written > reader.end.offset
    }

    pub(super) fn note_written(&self, offset: u64) {
        let mut reader = self.lock();
        reader.written = reader.written.max(offset);
    }

    /// Returns the newest position that is known to be in the log: of what is copied and what this node has appended.
    pub(super) fn known_end(&self) -> Option<Position> {
        let appended = self.drafts.lock().known_end().cloned();
        match (self.copied_end(), appended) {
            (Some(copied), Some(appended)) if copied.epoch == appended.epoch => {
                Some(if appended.offset > copied.offset { appended } else { copied })
            }
            // The copy is not yet of the reign that the append was made in.
            (copied, appended) => appended.or(copied),
        }
    }

    /// Returns the position up to which the log is copied.
    fn copied_end(&self) -> Option<Position> {
        let reader = self.lock();
        let End { epoch, offset, proof } = &reader.end;
        Some(Position::new(&**epoch, *offset).with_proof((*proof)?.to_string()))
    }

    /// Notes why a read has failed, if it has. Those that wait then look again: some may be gone.
    pub(super) fn note_read(&self, failed: Option<&Error>) {
        let problem = failed.filter(|_| self.is_busy()).map(again);
        let wakers = {
            let mut reader = self.lock();
            reader.problem = problem;
            failed.map(|_| std::mem::take(&mut reader.wakers))
        };
        wakers.into_iter().for_each(Wakers::wake);
    }

    /// Returns the reason why the last read has failed, if it has.
    pub(super) fn problem(&self) -> Option<Error> {
        self.lock().problem.as_ref().map(again)
    }

    /// Returns true if nothing was heard of it since this tick.
    pub(super) fn is_idle_since(&self, tick: u32) -> bool {
        let reader = self.lock();
        reader.stage != Stage::New && reader.heard <= tick
    }
}

/// A feed that lasts.
pub(super) struct Held(pub(super) Arc<FeedState>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(replica) = &self.0.replica {
            replica.holders.fetch_sub(1, Relaxed);
        }
    }
}

impl Means<'_> {
    /// Returns the tick of a time by the clocks of nodes, which may differ: none is later than now.
    pub(super) fn tick_of(&self, time: u64) -> i64 {
        let age = self.time.saturating_sub(time) / TICK.as_millis() as u64;
        i64::from(self.now) - i64::try_from(age).unwrap_or(i64::MAX)
    }
}

/// Returns the time in milliseconds since 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hub::{
            Behind, Log, To,
            feed::{reader::Ask, state::Asked},
            members::Effects,
        },
        ledger::{Class, Ledger},
        outbox::Keeping,
        seams::{Body, Logged, Page, Proof, Record, Writer},
    };

    fn record(epoch: &str, first: u64, base: Proof, count: usize) -> Record {
        let entries = vec![Logged { json: "7".into(), whole: None, key: None }; count];
        let body = Body { writer: Writer { node: 1, number: 1 }, time: 0, entries };
        Record { topic: "t".into(), epoch: epoch.into(), first, base, proof: base.after(count as u64), body }
    }

    fn read(feed: &FeedState, means: &Means<'_>, effects: &mut Effects, log: &Record) {
        let top = log.position(log.last());
        while let Some(ask) = feed.next_read() {
            match ask {
                Ask::Top => feed.begin_part(&top),
                Ask::Page(after) | Ask::Past(after) => {
                    let records = if after < log.last() { vec![log.clone()] } else { Vec::new() };
                    feed.take_page(Page { records, top: top.clone(), first: 1 }, means, effects);
                }
            }
        }
    }

    fn copy() -> (Arc<Ledger>, Arc<FeedState>) {
        let ledger = Arc::new(Ledger::new(1 << 30));
        let asked = Asked { name: "t", log: Log::last(10), within: 100, now: 1 };
        let feed = Arc::new(FeedState::copy("t".into(), &asked, &ledger));
        (ledger, feed)
    }

    /// Its followers would hear nothing more.
    #[test]
    fn a_feed_that_is_loaded_while_it_is_looked_at_stays() {
        let hub = crate::Realtime::builder().manual_time().broker(crate::MemoryBroker::new()).build().0;
        let asked = Asked { name: "t", log: Log::last(10), within: 100, now: 1 };
        let feed = hub.at_feed(&asked, |feed| Some(Arc::clone(feed))).unwrap();
        let is_loaded = &feed.replica.as_ref().unwrap().is_loaded;
        let mut looks = 0;
        let looked = hub.at_loaded(&asked, |feed| {
            looks += 1;
            let found = feed.position(1);
            is_loaded.store(true, Release);
            found
        });
        assert!(looked.unwrap().is_none() && looks == 1);
        let found = hub.at_feed(&asked, |feed| Some(Arc::clone(feed))).unwrap();
        assert!(Arc::ptr_eq(&found, &feed));
    }

    #[test]
    fn a_client_may_ask_for_any_offset() {
        let (_, feed) = copy();
        let (protocols, mut effects) = (Protocols::new(None), Effects::take());
        let means = Means { protocols: &protocols, now: 1, time: 0, may_wait: true };
        assert!(feed.replica.as_ref().unwrap().begin());
        let log = record("a.1", 1, Proof::NONE, 3);
        read(&feed, &means, &mut effects, &log);
        let highest = Position::new("a.1", u64::MAX);
        for after in [highest.clone(), highest.with_proof(log.proof.to_string())] {
            let (_, beginning) = feed.follow(To::task(None), 0, Keeping::Block, Some(&after), 1).unwrap();
            assert_eq!((beginning.resumed, beginning.position), (Some(false), log.position(3)));
        }
        let _ = effects.run();
    }

    /// With an end that was lost, nothing could be said of an append that is tried again.
    #[test]
    fn the_known_end_of_a_log_is_of_its_newest_reign() {
        let (_, feed) = copy();
        let (protocols, mut effects) = (Protocols::new(None), Effects::take());
        let means = Means { protocols: &protocols, now: 1, time: 0, may_wait: true };
        let replica = feed.replica.as_ref().unwrap();
        let known = || replica.known_end().map(|end| (end.epoch, end.offset));
        let appended = |epoch: &str, offset| replica.drafts.lock().note_end(&Position::new(epoch, offset));
        assert!(known().is_none());
        assert!(replica.begin());
        read(&feed, &means, &mut effects, &record("a.1", 1, Proof::NONE, 3));
        assert_eq!(known(), Some(("a.1".into(), 3)));
        appended("a.1", 9);
        assert_eq!(known(), Some(("a.1".into(), 9)));
        // What was appended behind the third is lost by a failover.
        replica.ask();
        let other = record("a.2", 1, Proof::NONE, 2);
        read(&feed, &means, &mut effects, &other);
        assert_eq!(known(), Some(("a.2".into(), 2)));
        appended("a.3", 1);
        assert_eq!(known(), Some(("a.3".into(), 1)));
        assert!(!feed.differs(&Position { epoch: "a.4".into(), ..other.position(2) }, 1));
        assert_eq!(known(), Some(("a.4".into(), 2)));
        let _ = effects.run();
    }

    #[test]
    fn wakers_of_those_who_are_gone_are_dropped_while_the_broker_does_not_answer() {
        struct Task;
        impl std::task::Wake for Task {
            fn wake(self: Arc<Self>) {}
        }

        let (_, feed) = copy();
        let replica = feed.replica.as_ref().unwrap();
        let (number, _) = replica.ask();
        let tasks: Vec<_> = std::iter::repeat_with(|| Arc::new(Task)).take(1000).collect();
        for task in &tasks {
            let _held = Replica::hold(&feed);
            let waker = std::task::Waker::from(Arc::clone(task));
            assert!(replica.poll_read(number, &Context::from_waker(&waker)).is_pending());
        }
        let kept = tasks.iter().filter(|task| Arc::strong_count(task) > 1).count();
        assert!(kept <= 64, "{kept} tasks are kept");
    }

    #[test]
    fn what_is_before_the_copy_is_of_its_reign() {
        let (ledger, feed) = copy();
        let (protocols, mut effects) = (Protocols::new(None), Effects::take());
        let means = Means { protocols: &protocols, now: 1, time: 0, may_wait: true };
        let replica = feed.replica.as_ref().unwrap();
        assert!(replica.begin());
        let log = record("a.1", 11, Proof::new(5), 3);
        read(&feed, &means, &mut effects, &log);
        let of_reign = |epoch: &str| {
            let older = Record { proof: Proof::new(5), ..record(epoch, 3, Proof::new(4), 8) };
            Page { records: vec![older], top: Position { epoch: epoch.into(), ..log.position(13) }, first: 1 }
        };
        let behind = || feed.behind(&mut 4, &mut 1, Keeping::Block, None, 1);
        assert!(matches!(behind(), Behind::Past));
        assert!(feed.take_past(4, of_reign("a.2"), &means, &mut effects).is_err());
        // First it is read what has become of the log.
        assert_eq!(feed.next_read(), Some(Ask::Page(13)));
        feed.take_page(Page { records: Vec::new(), ..of_reign("a.1") }, &means, &mut effects);
        assert!(matches!(behind(), Behind::Past));

        feed.take_past(4, of_reign("a.1"), &means, &mut effects).unwrap();
        let Behind::Entry(entry, _) = behind() else { panic!("it is there") };
        assert_eq!(entry.position, of_reign("a.1").records[0].position(5));
        assert!(ledger.of(Class::Broker) > 0);
        // Within a record all positions have its proof.
        let at = |offset| Position { offset, ..entry.position.clone() };
        let follow = |after| feed.follow(To::task(None), 0, Keeping::Block, Some(&after), 1).unwrap().1.resumed;
        assert_eq!((follow(at(4)), follow(at(7)), follow(at(10))), (Some(true), Some(true), Some(true)));
        let other = |offset| at(offset).with_proof(Proof::new(9).to_string());
        assert_eq!((follow(other(4)), follow(other(7))), (Some(false), Some(false)));

        // Of a log that has restarted nothing older is held.
        let other = record("a.2", 11, Proof::new(7), 4);
        assert!(feed.take_record(record("a.2", 20, Proof::new(9), 1), &means, &mut effects));
        read(&feed, &means, &mut effects, &other);
        let behind = || feed.behind(&mut 4, &mut 2, Keeping::Block, None, 1);
        assert!(matches!(behind(), Behind::Past));
        let _ = effects.run();
    }

    #[test]
    fn a_follower_is_not_level_in_a_log_that_has_restarted() {
        let (ledger, feed) = copy();
        let (protocols, mut effects) = (Protocols::new(None), Effects::take());
        let means = Means { protocols: &protocols, now: 1, time: 0, may_wait: true };
        let follow = || feed.follow(To::task(None), 0, Keeping::Block, None, 1);
        assert!(follow().is_none(), "nothing is known of the log");
        let replica = feed.replica.as_ref().unwrap();
        assert!(replica.begin());
        read(&feed, &means, &mut effects, &record("a.1", 1, Proof::NONE, 3));
        let (following, beginning) = follow().unwrap();
        assert_eq!(beginning.position.offset, 3);
        assert!(following.arm());

        // What comes before something that is missing waits, and counts.
        let other = record("a.2", 1, Proof::NONE, 2);
        assert!(feed.take_record(record("a.2", 5, Proof::new(9), 1), &means, &mut effects));
        assert!(ledger.of(Class::Broker) > 0);
        read(&feed, &means, &mut effects, &other);
        assert_eq!(ledger.of(Class::Broker), 0);
        assert!(!following.arm());
        let Behind::Restarted(position) = following.read(1) else { panic!("it is told") };
        assert_eq!(position, other.position(2));
        assert!(following.arm());
        let next = record("a.2", 3, other.proof, 1);
        assert!(!feed.take_record(next.clone(), &means, &mut effects));
        // It comes again.
        assert!(!feed.take_record(next, &means, &mut effects));
        assert!(!following.arm());
        let Behind::Entry(entry, _) = following.read(1) else { panic!("there is one") };
        assert_eq!(entry.position.offset, 3);
        following.pass(&entry);
        assert!(following.arm());
        let _ = effects.run();
    }
}
