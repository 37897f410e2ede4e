use super::{
    FeedState,
    entry::{Entry, Form, FormKind, Frames},
    tail::Behind,
};
use crate::{
    hub::{Client, Hub, members::Effects},
    outbox::{Keeping, PushError, Right, Share, may_hold},
    protocol::{Outgoing, Protocols},
    util::{
        register_waker,
        sync::{
            Mutex,
            atomic::{
                AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
                Ordering::{Acquire, Relaxed, Release},
            },
        },
    },
    websocket::Frame,
};
use realtime_protocol::{Error, Gap, Position, Result};
use std::{
    fmt,
    ops::Deref,
    sync::Arc,
    task::{Context, Waker},
};

/// One that follows a feed: a cursor into its log, and no queue.
///
/// It is *level* when it has all entries. While it is, an appender sends it the next one, or wakes it. Otherwise it
/// reads on by itself, and an append costs no more than a look at the flag. Whoever holds the lock of its part may
/// change a level follower; only its own task changes another.
pub(crate) struct Follower {
    pub(super) feed: Arc<FeedState>,
    to: To,
    keeping: Keeping,
    level: AtomicBool,
    /// The offset of the last entry that it was sent.
    cursor: AtomicU64,
    /// Entries that the client accepts; [`UNLIMITED`] for any number.
    credit: AtomicU64,
    /// Its task waits until what is next is read from the broker.
    waits: AtomicBool,
    /// It is not told yet that its position was of another history.
    diverged: AtomicBool,
    /// The restarts of the log that it has been told of.
    restarts: AtomicU32,
    right: Right,
    /// The number of revocations from feeds that its client had seen when it was asked for.
    since: u64,
    /// Its part of the feed's followers, and its place there.
    pub(super) part: AtomicUsize,
    pub(super) place: AtomicUsize,
}

/// The way in which a follower gets its entries.
pub(crate) enum To {
    /// Its task reads them, for a client if it is not the application's own.
    Task { client: Option<Arc<Client>>, task: Mutex<Option<Waker>> },
    /// The frames of a subscription: an appender queues them, and its task catches up.
    Items { client: Arc<Client>, form: Form, task: Mutex<Option<Waker>> },
    /// The messages of a handler: an appender queues them, and the driver catches up.
    Messages { client: Arc<Client>, form: Form },
}

const UNLIMITED: u64 = u64::MAX;

/// The place at which a follower begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    pub(super) cursor: u64,
    /// It is to be told that its position was of another history.
    pub(super) diverged: bool,
    pub(super) restarts: u32,
}

/// The beginning of following.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    pub(crate) position: Position,
    /// `None` if no position was given.
    pub(crate) resumed: Option<bool>,
}

impl Follower {
    pub(super) fn new(feed: &Arc<FeedState>, to: To, since: u64, keeping: Keeping, begin: Begin) -> Self {
        let Begin { cursor, diverged, restarts } = begin;
        Self {
            feed: Arc::clone(feed),
            to,
            since,
            keeping,
            level: AtomicBool::new(false),
            cursor: AtomicU64::new(cursor),
            credit: AtomicU64::new(UNLIMITED),
            waits: AtomicBool::new(false),
            diverged: AtomicBool::new(diverged),
            restarts: AtomicU32::new(restarts),
            right: Right::default(),
            part: AtomicUsize::new(0),
            place: AtomicUsize::new(0),
        }
    }

    pub(crate) fn feed_name(&self) -> &Arc<str> {
        &self.feed.name
    }

    /// Returns the client that its entries are for, unless that is the application.
    pub(super) fn client(&self) -> Option<&Arc<Client>> {
        match &self.to {
            To::Task { client, .. } => client.as_ref(),
            To::Items { client, .. } | To::Messages { client, .. } => Some(client),
        }
    }

    pub(crate) fn right(&self) -> &Right {
        &self.right
    }

    /// Returns true if it was asked for before its client had seen so many revocations.
    pub(super) fn is_older_than(&self, revocations: u64) -> bool {
        self.since < revocations
    }

    /// Returns true if its entries are messages: nothing else tells its client that it was revoked.
    pub(super) fn is_of_messages(&self) -> bool {
        matches!(self.to, To::Messages { .. })
    }

    /// Lets it queue nothing more, and has its task see that. Under the lock of its part.
    pub(super) fn revoke(&self, effects: &mut Effects) {
        self.right.revoke();
        self.level.store(false, Release);
        if let To::Task { task, .. } | To::Items { task, .. } = &self.to {
            effects.wake(task.lock().clone());
        }
    }

    pub(crate) fn form(&self) -> Option<Form> {
        match &self.to {
            To::Task { .. } => None,
            To::Items { form, .. } | To::Messages { form, .. } => Some(*form),
        }
    }

    pub(crate) fn set_credit(&self, credit: Option<u32>) {
        self.credit.store(credit.map_or(UNLIMITED, u64::from), Release);
    }

    pub(crate) fn grant(&self, more: u32) {
        let add =
            |credit: u64| (credit != UNLIMITED).then(|| credit.saturating_add(more.into()).min(UNLIMITED - 1));
        // Without a limit there is nothing to add to.
        let _ = self.credit.fetch_update(Release, Relaxed, add);
    }

    pub(crate) fn has_credit(&self) -> bool {
        self.credit.load(Acquire) > 0
    }

    pub(crate) fn use_credit(&self) {
        let less = |credit: u64| (credit != UNLIMITED).then(|| credit.saturating_sub(1));
        let _ = self.credit.fetch_update(Release, Relaxed, less);
    }

    /// Goes on at the end of the log, and returns its position: for one whose state is loaded anew. For its own task,
    /// before it is level for the first time.
    pub(crate) fn restart(&self) -> Position {
        let (end, restarts) = self.feed.newest_position();
        self.diverged.store(false, Relaxed);
        self.restarts.store(restarts, Relaxed);
        self.cursor.store(end.offset, Relaxed);
        end
    }

    /// Registers the task to wake when there is something to read.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let (To::Task { task, .. } | To::Items { task, .. }) = &self.to else { return };
        let replaced = register_waker(&mut task.lock(), cx);
        drop(replaced);
    }

    /// Lets appenders take over, if nothing is left to read. Returns false if there is something.
    ///
    /// The flag is set first: an entry that comes after the look at the log finds it.
    pub(crate) fn arm(&self) -> bool {
        let is_behind = self.cursor.load(Relaxed) < self.feed.end_hint() || !self.is_of_this_log();
        if is_behind || self.diverged.load(Relaxed) {
            if self.level.load(Relaxed) {
                // An appender is about to queue the entry. It has done so when the lock is free, or leaves it to this task.
                self.feed.followers.change(self, || self.level.store(false, Release));
            }
            return false;
        }
        // Where the log has restarted, its first entries are appended after a walk over all parts: none finds it level.
        self.feed.followers.change(self, || self.level.store(self.is_of_this_log(), Release));
        let (end, restarts) = self.feed.end();
        self.feed.followers.change(self, || {
            let is_level = self.cursor.load(Relaxed) >= end && self.restarts.load(Relaxed) == restarts;
            if !is_level {
                self.level.store(false, Release);
            }
            is_level
        })
    }

    fn is_of_this_log(&self) -> bool {
        self.restarts.load(Relaxed) == self.feed.restarts_hint()
    }

    /// Returns true if what is next has still to be read from the broker: its task is woken then. For its own task, once
    /// [`read`](Self::read) has returned [`Behind::Past`].
    pub(crate) fn awaits_past(&self, hub: &Arc<Hub>) -> bool {
        if self.feed.replica.is_none() || self.diverged.load(Relaxed) {
            return false;
        }
        // First of all: a page that comes after the look at what is there finds it.
        self.waits.store(true, Release);
        let (cursor, restarts) = (self.cursor.load(Relaxed), self.restarts.load(Relaxed));
        let is_past = self.feed.is_past(cursor, restarts, self.keeping, hub.clock.now());
        if is_past {
            hub.read_past(&self.feed);
        } else {
            self.waits.store(false, Release);
        }
        is_past
    }

    /// Returns the offset behind which it waits for entries from the broker, if it does.
    pub(super) fn awaited(&self) -> Option<u64> {
        self.waits.load(Relaxed).then(|| self.cursor.load(Relaxed))
    }

    /// Wakes its task if that waits for what is behind an offset before `served`. Under the lock of its part.
    pub(super) fn end_wait(&self, served: u64, effects: &mut Effects) {
        if self.cursor.load(Relaxed) < served && self.waits.swap(false, Relaxed) {
            self.wake(effects);
        }
    }

    /// Has it read what is missing, if it is level or waits. Under the lock of its part.
    pub(super) fn interrupt(&self, effects: &mut Effects) {
        if self.level.swap(false, Relaxed) || self.waits.swap(false, Relaxed) {
            self.wake(effects);
        }
    }

    fn wake(&self, effects: &mut Effects) {
        match &self.to {
            To::Task { task, .. } | To::Items { task, .. } => effects.wake(task.lock().clone()),
            To::Messages { client, .. } => effects.wake(client.outbox.hold_feeds()),
        }
    }

    /// Returns what the follower is to be sent next, and moves its cursor over a gap. For its own task, while it is
    /// not level.
    pub(crate) fn read(&self, now: u32) -> Behind {
        if self.diverged.load(Relaxed) {
            self.diverged.store(false, Relaxed);
            return Behind::Gap(Gap::new(0, "diverged"));
        }
        let mut cursor = self.cursor.load(Relaxed);
        let mut restarts = self.restarts.load(Relaxed);
        let behind = self.feed.behind(&mut cursor, &mut restarts, self.keeping, self.form(), now);
        self.restarts.store(restarts, Relaxed);
        self.cursor.store(cursor, Relaxed);
        behind
    }

    /// Notes that the entry which was read is sent.
    pub(crate) fn pass(&self, entry: &Entry) {
        self.cursor.store(entry.position.offset, Relaxed);
    }

    /// Returns the frame of an entry in the follower's form, if its protocol has one, and keeps it with the entry for others.
    ///
    /// # Errors
    ///
    /// The entry cannot be written in this form.
    #[inline]
    pub(crate) fn frame(
        &self,
        protocols: &Protocols,
        entry: &Entry,
        known: Option<Frame>,
    ) -> Result<Option<Frame>> {
        match (&known, self.form()) {
            (None, Some(form)) => self.make_frame(protocols, entry, form),
            _ => Ok(known),
        }
    }

    #[inline(never)]
    fn make_frame(&self, protocols: &Protocols, entry: &Entry, form: Form) -> Result<Option<Frame>> {
        let mut frames = Frames {
            protocols,
            topic: &self.feed.name,
            entry,
            known: Vec::new(),
            none: Vec::new(),
            failed: Vec::new(),
        };
        let Some(frame) = frames.of(form).cloned() else {
            let unwritable = || Error::internal("an entry cannot be written in the client's format");
            return if frames.has_failed(form) { Err(unwritable()) } else { Ok(None) };
        };
        self.feed.keep_form(entry.position.offset, form, &frame);
        Ok(Some(frame))
    }

    /// Takes part in an append. For appenders, under the lock of the follower's part.
    #[inline(always)]
    pub(super) fn handle(&self, frames: &mut Frames<'_>, effects: &mut Effects) {
        if self.level.load(Relaxed) {
            self.handle_level(frames, effects);
        }
    }

    #[inline(always)]
    fn handle_level(&self, frames: &mut Frames<'_>, effects: &mut Effects) {
        let offset = frames.entry.position.offset;
        if self.cursor.load(Relaxed) + 1 != offset {
            // It has read the entry already.
            return;
        }
        let (client, form, share) = match &self.to {
            To::Task { .. } | To::Messages { form: Form { kind: FormKind::Bare, .. }, .. } => {
                return self.stall(effects);
            }
            To::Items { client, form, .. } => (client, *form, Share::Streams),
            To::Messages { client, form } => (client, *form, Share::Half),
        };
        let credit = self.credit.load(Relaxed);
        if credit == 0 {
            return self.stall(effects);
        }
        let Some(frame) = frames.of(form) else {
            if frames.has_failed(form) {
                return self.stall(effects);
            }
            // The client's protocol has no such thing.
            return self.cursor.store(offset, Relaxed);
        };
        match client.outbox.push_within(frame, share, &self.right) {
            Ok(waker) => {
                effects.deliver(waker);
                self.cursor.store(offset, Relaxed);
                if credit != UNLIMITED {
                    self.credit.fetch_sub(1, Relaxed);
                }
            }
            Err(PushError::Full) => self.stall(effects),
            Err(PushError::Closed) => self.level.store(false, Release),
        }
    }

    /// Leaves the rest to the follower's own task.
    #[cold]
    fn stall(&self, effects: &mut Effects) {
        self.level.store(false, Release);
        match &self.to {
            To::Task { task, .. } | To::Items { task, .. } => effects.wake(task.lock().clone()),
            To::Messages { client, .. } if self.keeping == Keeping::Nothing => effects.slow(client),
            To::Messages { client, .. } => effects.wake(client.outbox.hold_feeds()),
        }
    }

    /// Queues messages until the follower is level. Returns false if there is no room. For the driver.
    pub(super) fn catch_up(&self, client: &Client) -> bool {
        let hub = &client.hub;
        while !self.arm() {
            match self.read(hub.clock.now()) {
                Behind::Nothing => {}
                // It comes back when that is here.
                Behind::Past if self.awaits_past(hub) => return true,
                Behind::Past => {}
                Behind::Restarted(_) => self.tell(client, &Gap::new(0, "diverged")),
                Behind::Gap(gap) => self.tell(client, &gap),
                Behind::Entry(entry, known) => {
                    let fits = |frame: &Option<Frame>| {
                        frame.as_ref().is_none_or(|frame| may_hold(hub.config.outbox_bytes, frame.len()).is_ok())
                    };
                    let Some(frame) = self.frame(&hub.protocols, &entry, known).ok().filter(fits) else {
                        self.tell(client, &Gap::new(1, "overflow"));
                        self.pass(&entry);
                        continue;
                    };
                    let Some(frame) = frame else {
                        self.pass(&entry);
                        continue;
                    };
                    // As soon as there is room: the driver does not come back for one that needs more.
                    if client.outbox.push_late(&frame, Some(&self.right)).is_err() {
                        return false;
                    }
                    self.pass(&entry);
                }
            }
        }
        true
    }

    fn tell(&self, client: &Client, gap: &Gap) {
        client.reply(&Outgoing::Gap { id: None, topic: Some(&self.feed.name), gap });
    }
}

impl To {
    pub(crate) fn task(client: Option<&Arc<Client>>) -> Self {
        Self::Task { client: client.cloned(), task: Mutex::default() }
    }

    pub(crate) fn items(client: &Arc<Client>) -> Self {
        let form = Form { format: client.format, kind: FormKind::Item };
        Self::Items { client: Arc::clone(client), form, task: Mutex::default() }
    }

    pub(crate) fn messages(client: &Arc<Client>) -> Self {
        let is_built_in = client.hub.protocols.is_built_in(client.format);
        let kind = if is_built_in { FormKind::Message } else { FormKind::Bare };
        let form = Form { format: client.format, kind };
        Self::Messages { client: Arc::clone(client), form }
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Follower({:?} at {})", self.feed.name, self.cursor.load(Relaxed))
    }
}

/// A follower of a feed, until it is dropped.
#[derive(Debug)]
pub(crate) struct Following(pub(super) Arc<Follower>);

impl Following {
    pub(crate) fn follower(&self) -> &Arc<Follower> {
        &self.0
    }
}

impl Deref for Following {
    type Target = Follower;

    fn deref(&self) -> &Follower {
        &self.0
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // Others may still be reading for it.
        self.0.right.revoke();
        self.0.feed.leave(&self.0);
    }
}
