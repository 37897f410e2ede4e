use super::{
    Log,
    entry::{Entry, Form, FormKind, Frames, Stored},
    follower::{Begin, Beginning, Follower, Following, To},
    followers::Followers,
    replica::Replica,
    tail::{Behind, ENTRY_BYTES, Standing, Tail, size_of_entry},
};
use crate::{
    hub::members::Effects,
    ledger::{Class, Ledger},
    outbox::{Keeping, may_hold},
    protocol::Protocols,
    util::sync::{
        Mutex, MutexGuard,
        atomic::{
            AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    websocket::Frame,
};
use realtime_protocol::{Error, Position, Result};
use std::{fmt, sync::Arc};

/// One feed: its log and its followers.
pub(crate) struct FeedState {
    pub(super) name: Arc<str>,
    /// The name of the log, if it is of this node alone.
    epoch: Box<str>,
    /// The link to the log, if it is one that several nodes share.
    pub(super) replica: Option<Box<Replica>>,
    /// Held while an entry is added and queued for the followers, so that all get the entries in one order. Followers
    /// that join, leave or catch up do not take it.
    pub(super) order: Mutex<()>,
    pub(super) tail: Mutex<Tail>,
    /// The offset of the newest entry, as a hint without the lock of the tail.
    end: AtomicU64,
    /// The restarts of the log, as a hint too.
    restarts: AtomicU32,
    pub(super) followers: Followers,
    /// The bytes of the tail, as counted in the ledger.
    bytes: AtomicUsize,
    pub(super) ledger: Arc<Ledger>,
}

/// The newest entries of a log.
#[derive(Debug)]
pub(crate) struct Newest {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// The position before the first of them.
    pub(crate) begin: Position,
    pub(crate) end: Position,
}

impl FeedState {
    pub(super) fn new(name: Arc<str>, asked: &Asked<'_>, ledger: &Arc<Ledger>) -> Result<Self> {
        // Another node or process must not have the same: a client would resume what never was.
        let epoch = getrandom::u64().map_err(Error::internal)?;
        let tail = Tail::new(asked.log, asked.within, asked.now);
        Ok(Self::with(name, format!("{epoch:016x}").into(), tail, None, ledger))
    }

    /// Creates the copy of a log that several nodes share.
    pub(super) fn copy(name: Arc<str>, asked: &Asked<'_>, ledger: &Arc<Ledger>) -> Self {
        let tail = Tail::copy(asked.log, asked.within, asked.now);
        Self::with(name, "".into(), tail, Some(Box::default()), ledger)
    }

    fn with(
        name: Arc<str>,
        epoch: Box<str>,
        tail: Tail,
        replica: Option<Box<Replica>>,
        ledger: &Arc<Ledger>,
    ) -> Self {
        Self {
            name,
            epoch,
            replica,
            order: Mutex::default(),
            tail: Mutex::new(tail),
            end: AtomicU64::new(0),
            restarts: AtomicU32::new(0),
            followers: Followers::default(),
            bytes: AtomicUsize::new(0),
            ledger: Arc::clone(ledger),
        }
    }

    /// Appends an entry, and sends it to the followers that are level. Returns `None` if the feed has ended.
    pub(super) fn append(
        &self,
        asked: &Asked<'_>,
        mut value: Stored,
        key: Option<Arc<str>>,
        limits: &Limits<'_>,
    ) -> Result<Option<(Position, Effects)>> {
        let mut effects = Effects::take();
        let order = self.order.lock();
        let offset = {
            let mut tail = self.tail.lock();
            if tail.ended {
                return Ok(None);
            }
            (tail.log, tail.within) = (asked.log, asked.within);
            tail.end() + 1
        };
        let position = Position::new(&*self.epoch, offset);
        // The value is encoded already: no code of an application runs from here on.
        let frame = frame_of(limits.protocols, &self.name, &mut value, &position)?;
        let entry = Arc::new(Entry { position: position.clone(), value, key, time: asked.now.into() });
        limits.check(&entry, &frame)?;
        let is_pushed = self.push(entry, frame, limits.protocols, &mut effects);
        drop(order);
        Ok(is_pushed.then_some((position, effects)))
    }

    /// Adds the next entry, and sends it to the followers that are level. Under the order lock. Returns false if the
    /// feed has ended.
    pub(super) fn push(
        &self,
        entry: Arc<Entry>,
        frame: Frame,
        protocols: &Protocols,
        effects: &mut Effects,
    ) -> bool {
        let form = Form { format: protocols.shared(), kind: FormKind::Item };
        let offset = entry.position.offset;
        let pushed = self.change(|tail| {
            tail.trim(entry.time);
            // It may have ended while the entry was framed.
            (!tail.ended).then(|| tail.push(Arc::clone(&entry), form, frame.clone()))
        });
        if pushed.is_none() {
            return false;
        }
        let known = vec![(form, frame)];
        let mut frames =
            Frames { protocols, topic: &self.name, entry: &entry, known, none: Vec::new(), failed: Vec::new() };
        self.followers.handle(&mut frames, effects);
        for (form, frame) in &frames.known[1..] {
            self.keep_form(offset, *form, frame);
        }
        true
    }

    /// Adds a follower. Returns `None` if the feed has ended.
    pub(super) fn follow(
        self: &Arc<Self>,
        to: To,
        since: u64,
        keeping: Keeping,
        after: Option<&Position>,
        now: u32,
    ) -> Option<(Following, Beginning)> {
        let (begin, position) = {
            let mut tail = self.tail.lock();
            if tail.ended || !self.is_loaded() {
                return None;
            }
            tail.followers += 1;
            tail.used = now;
            let known = after.filter(|after| self.is_here(after, &tail));
            let cursor = known.map_or(tail.end(), |known| known.offset);
            let diverged = after.is_some() && known.is_none();
            let position = known.cloned().unwrap_or_else(|| self.position_in(&tail, cursor));
            (Begin { cursor, diverged, restarts: tail.restarts() }, position)
        };
        let follower = Arc::new(Follower::new(self, to, since, keeping, begin));
        self.followers.insert(&follower);
        let whole = !begin.diverged && self.lock_trimmed(now).has_kept_behind(begin.cursor, now);
        let beginning = Beginning { position, resumed: after.map(|_| whole) };
        Some((Following(follower), beginning))
    }

    /// Returns true if this log once ended at the position. On one node the epoch alone decides: the log lives and dies
    /// with its process, so nothing of it is lost before its end is.
    fn is_here(&self, position: &Position, tail: &Tail) -> bool {
        if self.replica.is_some() {
            return tail.standing(position) != Standing::Unproven;
        }
        position.proof.is_none() && position.epoch == *self.epoch && position.offset <= tail.end()
    }

    pub(super) fn leave(&self, follower: &Follower) {
        self.followers.remove(follower);
        self.tail.lock().followers -= 1;
    }

    /// Returns the position of the newest entry; `None` if the feed has ended.
    pub(super) fn position(&self, now: u32) -> Option<Position> {
        let mut tail = self.tail.lock();
        tail.used = now;
        (!tail.ended && self.is_loaded()).then(|| self.position_in(&tail, tail.end()))
    }

    /// Returns the newest entries; `None` if the feed has ended.
    pub(super) fn newest(&self, count: usize, now: u32) -> Option<Newest> {
        let mut tail = self.lock_trimmed(now);
        tail.used = now;
        let entries = tail.newest(count);
        let end = tail.end();
        let begin = self.position_in(&tail, end - entries.len() as u64);
        (!tail.ended && self.is_loaded()).then(|| Newest { entries, begin, end: self.position_in(&tail, end) })
    }

    #[inline]
    pub(super) fn behind(
        &self,
        cursor: &mut u64,
        restarts: &mut u32,
        keeping: Keeping,
        form: Option<Form>,
        now: u32,
    ) -> Behind {
        let tail = self.lock_trimmed(now);
        if let Some((times, restart)) = tail.restarted_since(*restarts) {
            (*cursor, *restarts) = (restart.offset, times);
            return Behind::Restarted(restart.clone());
        }
        tail.behind(cursor, keeping, form, now)
    }

    /// Returns true if what stands behind a cursor is before the copy of the log, and not here.
    pub(super) fn is_past(&self, mut cursor: u64, restarts: u32, keeping: Keeping, now: u32) -> bool {
        let tail = self.lock_trimmed(now);
        tail.restarts() == restarts && matches!(tail.behind(&mut cursor, keeping, None, now), Behind::Past)
    }

    pub(super) fn keep_form(&self, offset: u64, form: Form, frame: &Frame) {
        self.change(|tail| tail.keep(offset, form, frame));
    }

    /// Drops what is too old. Returns the tick of the next look, or `None` if the feed has ended: nobody follows it,
    /// nothing is kept, and it was not used for as long as entries are kept.
    pub(super) fn expire(&self, now: u32) -> Option<u32> {
        let mut tail = self.lock_trimmed(now);
        if let Some(due) = tail.next_due() {
            return Some(u32::try_from(due).unwrap_or(u32::MAX));
        }
        // Looked at under this lock: one who begins to wait either finds it ended, or is seen here.
        if tail.followers > 0 || self.is_busy() {
            tail.used = now;
        }
        let due = tail.used.saturating_add(tail.within);
        tail.ended = due <= now;
        (!tail.ended).then_some(due)
    }

    /// Ends the feed if nobody follows it and nothing is kept.
    pub(super) fn end_if_empty(&self) -> bool {
        let mut tail = self.tail.lock();
        if tail.followers == 0 && tail.is_empty() && !self.is_busy() {
            tail.ended = true;
        }
        tail.ended
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Drops the oldest entry.
    pub(super) fn drop_oldest(&self) {
        self.change(Tail::drop_oldest);
    }

    /// Returns the offset of the newest entry, and the restarts of the log.
    pub(super) fn end(&self) -> (u64, u32) {
        let tail = self.tail.lock();
        (tail.end(), tail.restarts())
    }

    pub(super) fn end_hint(&self) -> u64 {
        self.end.load(Acquire)
    }

    pub(super) fn restarts_hint(&self) -> u32 {
        self.restarts.load(Acquire)
    }

    /// Returns the position of the newest entry, and the restarts of the log.
    pub(super) fn newest_position(&self) -> (Position, u32) {
        let tail = self.tail.lock();
        (self.position_in(&tail, tail.end()), tail.restarts())
    }

    fn position_in(&self, tail: &Tail, offset: u64) -> Position {
        tail.position(offset).unwrap_or_else(|| Position::new(&*self.epoch, offset))
    }

    fn is_loaded(&self) -> bool {
        self.replica.as_ref().is_none_or(|replica| replica.is_loaded())
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.tail.lock().ended
    }

    pub(super) fn is_followed(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.is_followed())
    }

    fn is_busy(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.is_busy())
    }

    #[inline]
    fn lock_trimmed(&self, now: u32) -> MutexGuard<'_, Tail> {
        let mut tail = self.tail.lock();
        if tail.next_due().is_some_and(|due| due <= now.into()) {
            self.trim(&mut tail, now);
        }
        tail
    }

    #[cold]
    fn trim(&self, tail: &mut Tail, now: u32) {
        tail.trim(now.into());
        self.count(tail);
    }

    /// Changes the tail, and counts its bytes anew.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Tail) -> T) -> T {
        let mut tail = self.tail.lock();
        let changed = change(&mut tail);
        self.end.store(tail.end(), Release);
        self.restarts.store(tail.restarts(), Release);
        self.count(&tail);
        changed
    }

    fn count(&self, tail: &Tail) {
        let before = self.bytes.swap(tail.bytes(), Relaxed);
        self.ledger.change(Class::Logs, before, tail.bytes());
    }
}

impl fmt::Debug for FeedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FeedState({:?})", self.name)
    }
}

/// A feed as it was asked for, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) name: &'a str,
    pub(super) log: Log,
    /// `log.within`, in ticks.
    pub(super) within: u32,
    pub(super) now: u32,
}

/// The bounds of one entry.
pub(super) struct Limits<'a> {
    pub(super) protocols: &'a Protocols,
    pub(super) outbox_bytes: usize,
    pub(super) log_bytes: usize,
}

impl Limits<'_> {
    pub(super) fn check(&self, entry: &Entry, frame: &Frame) -> Result {
        may_hold(self.outbox_bytes, frame.len())?;
        let bytes = size_of_entry(entry, frame);
        if bytes <= self.log_bytes {
            return Ok(());
        }
        Err(Error::resource_exhausted(format!(
            "an entry of {bytes} bytes does not fit: a log holds {}",
            self.log_bytes
        )))
    }
}

/// Writes the frame that most followers are sent. The value becomes a part of it.
pub(super) fn frame_of(
    protocols: &Protocols,
    topic: &str,
    value: &mut Stored,
    position: &Position,
) -> Result<Frame> {
    let packet = crate::protocol::Outgoing::Entry { topic, data: &*value, position };
    let frame = protocols.frame(protocols.shared(), &packet)?;
    let frame = frame.ok_or_else(|| Error::internal("JSON has entries"))?;
    value.keep_in(&frame);
    Ok(frame)
}

const _: () = assert!(ENTRY_BYTES >= 2 * size_of::<Entry>(), "an entry is counted with all that belongs to it");
