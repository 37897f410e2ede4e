//! The send queue of one client, bounded in bytes, and the signals to the driver that sends it.
//!
//! Ways in, by user:
//!
//! | user | method | at the limit |
//! |---|---|---|
//! | `send`, `emit`, a call of the client's procedure | [`push`](Outbox::push) | [`PushError::Full`] |
//! | a publication | [`push_shared`](Outbox::push_shared), [`push_or_keep`](Outbox::push_or_keep) | `Full`, or the topic's overflow policy |
//! | an entry of a feed | [`push_within`](Outbox::push_within) | `Full` above its share; [`hold_feeds`](Outbox::hold_feeds) has the driver read on later |
//! | an item or an answer, in the driver's own task | [`offer`](Outbox::offer), [`offer_frame`](Outbox::offer_frame) | returns the frame, to be retried by [`push_late`](Outbox::push_late) |
//! | the state that a handler begins with | [`push_late`](Outbox::push_late) | `Full` |
//! | the protocol itself: pongs, errors, gaps | [`push_reply`](Outbox::push_reply) | one frame above it |
//! | the end of a call of the client's procedure | [`push_control`](Outbox::push_control) | 4 KiB above it |
//! | the end of the connection | [`close`](Outbox::close), [`close_discarding`](Outbox::close_discarding) | does not count |
//!
//! May import `ledger`, `seams`, `websocket` and `util`.

mod behind;
mod driver;
mod keeping;
#[cfg(test)]
mod ledger_tests;
mod opening;
mod queued;
mod revoke;
mod right;
mod signals;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use behind::{Held, Post, Tag};
pub(crate) use driver::Blocked;
pub(crate) use keeping::Keeping;
pub(crate) use opening::Opening;
pub(crate) use right::Right;
pub(crate) use signals::Signals;
pub(crate) use state::Closing;
use state::{Phase, State};

use crate::{
    ledger::Ledger,
    util::{
        sync::{
            Mutex, MutexGuard,
            atomic::{
                AtomicBool, AtomicUsize,
                Ordering::{Relaxed, Release},
            },
        },
        wake,
    },
    websocket::{Draft, Frame},
};
use realtime_protocol::{Close, CloseCode, Code, Error};
use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// The send queue of one client, bounded in bytes, and the signals to its driver.
///
/// Anyone may push; the driver takes everything at once. Its waker is armed last, under the same lock that tells it
/// that nothing is there, and only when it parks: while it runs, no one wakes it.
#[derive(Debug)]
pub(crate) struct Outbox {
    limit: usize,
    /// The number of queued bytes that is worth a write.
    write: u32,
    /// All queued bytes, as a hint without the lock. Set under the lock.
    bytes: AtomicUsize,
    /// A hint that there is something for the driver, to save it the lock, which decides.
    news: AtomicBool,
    /// This side has started to close.
    closing: AtomicBool,
    /// Publications are held back until less is queued.
    is_behind: AtomicBool,
    state: Mutex<State>,
}

/// The reason why a frame was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

/// The bytes that may be queued before something is queued that can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Those of all streams of a connection together.
    Streams,
    Half,
}

impl Share {
    fn of(self, limit: usize) -> usize {
        match self {
            Self::Streams => STREAM_BYTES.min(limit / 2),
            Self::Half => limit / 2,
        }
    }
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            write: WRITE_BYTES.min(limit / 2) as u32,
            bytes: AtomicUsize::new(0),
            news: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            is_behind: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Queues a frame for this client and wakes the driver if it is parked.
    pub(crate) fn push(&self, frame: Draft<'_>) -> Result<(), PushError> {
        let mut state = self.admit(frame.len())?;
        self.add(&mut state, frame);
        let waker = state.unpark_for_frames();
        drop(state);
        wake(waker);
        Ok(())
    }

    /// Queues a frame that ends something, and wakes the driver if it is parked. Such frames may exceed the limit by
    /// [`CONTROL_BYTES`] in total, so that a client that is behind is told all the same.
    pub(crate) fn push_control(&self, frame: Draft<'_>) -> Result<(), PushError> {
        let mut state = self.lock();
        if !state.phase.takes_frames() {
            return Err(PushError::Closed);
        }
        if state.bytes() + frame.len() > self.limit.saturating_add(CONTROL_BYTES) {
            return Err(PushError::Full);
        }
        self.add(&mut state, frame);
        let waker = state.unpark_for_frames();
        drop(state);
        wake(waker);
        Ok(())
    }

    /// Queues an encoded frame. The caller wakes the driver after it has released its own locks.
    #[inline(always)]
    pub(crate) fn push_shared(&self, frame: &Frame) -> Result<Option<Waker>, PushError> {
        let mut state = self.admit(frame.len())?;
        Ok(self.add_and_unpark(&mut state, frame))
    }

    /// Queues a shared frame; for a client that is behind, holds it back or drops it, as `keeping` says.
    #[inline(never)]
    pub(crate) fn push_or_keep(
        &self,
        frame: &Frame,
        post: &Post<'_>,
        keeping: Keeping,
        ledger: &Arc<Ledger>,
    ) -> Result<Option<Waker>, PushError> {
        let mut state = self.lock();
        if !state.phase.takes_frames() {
            return Err(PushError::Closed);
        }
        let waits = state.behind.as_ref().is_some_and(|behind| behind.has(post.tag));
        if waits || state.bytes() + frame.len() > self.limit / 2 {
            state.behind.get_or_insert_default().add(frame, post, keeping, ledger);
            self.is_behind.store(true, Release);
            if !self.has_room(&state) {
                // The driver is awake and looks here before it parks, or it waits for its transport.
                return Ok(None);
            }
            self.news.store(true, Release);
            return Ok(state.unpark_for_frames());
        }
        self.add_shared(&mut state, frame);
        Ok(state.unpark_for_frames())
    }

    /// Queues a frame of a feed, if no more is queued than its kind may have. The caller wakes the driver after it has
    /// released its own locks.
    #[inline(always)]
    pub(crate) fn push_within(
        &self,
        frame: &Frame,
        share: Share,
        right: &Right,
    ) -> Result<Option<Waker>, PushError> {
        let mut state = self.admit(frame.len())?;
        if state.bytes() > share.of(self.limit) {
            return Err(PushError::Full);
        }
        right.check()?;
        Ok(self.add_and_unpark(&mut state, frame))
    }

    /// Has the driver catch up with the client's feeds as soon as there is room.
    pub(crate) fn hold_feeds(&self) -> Option<Waker> {
        let mut state = self.lock();
        if !state.phase.takes_frames() {
            return None;
        }
        state.behind.get_or_insert_default().hold_feeds();
        self.is_behind.store(true, Release);
        if !self.has_room(&state) {
            // The driver is awake and looks here before it parks, or it waits for its transport.
            return None;
        }
        self.news.store(true, Release);
        state.unpark_for_frames()
    }

    /// Queues a frame of this client's own, with the right of a follower if it is of a feed; returns it if there is no room.
    /// For the driver's own task.
    pub(crate) fn offer(&self, frame: Draft<'_>, right: Option<&Right>) -> Option<Frame> {
        let admitted = self.admit(frame.len());
        let Ok(mut state) = admitted else {
            let full = matches!(admitted, Err(PushError::Full));
            return full.then(|| frame.into_frame());
        };
        if right.is_none_or(|right| right.check().is_ok()) {
            self.add(&mut state, frame);
        }
        None
    }

    /// Like [`offer`](Self::offer), for an encoded frame.
    pub(crate) fn offer_frame(&self, frame: Frame, right: Option<&Right>) -> Option<Frame> {
        match self.admit(frame.len()) {
            Ok(mut state) => {
                if right.is_none_or(|right| right.check().is_ok()) {
                    self.add_shared(&mut state, &frame);
                }
                None
            }
            Err(PushError::Full) => Some(frame),
            Err(PushError::Closed) => None,
        }
    }

    /// Queues a frame that has waited for room: over the limit by one such frame at most. Whoever is not the driver wakes
    /// it by what is returned. Of a client that is leaving nobody waits for room, and a frame that has none is dropped.
    pub(crate) fn push_late(&self, frame: &Frame, right: Option<&Right>) -> Result<Option<Waker>, PushError> {
        let mut state = self.lock();
        if !state.phase.takes_frames() {
            return Ok(None);
        }
        if !self.has_room(&state) {
            return if state.phase == Phase::Open { Err(PushError::Full) } else { Ok(None) };
        }
        if right.is_some_and(|right| right.check().is_err()) {
            return Ok(None);
        }
        self.add_shared(&mut state, frame);
        Ok(state.unpark_for_frames())
    }

    /// Returns true if a stream may queue `bytes`: all streams together get only a part of the outbox, so that the
    /// answer to a call does not wait behind all their items.
    #[inline]
    pub(crate) fn takes_stream(&self, bytes: usize) -> bool {
        let fits = |waiting| waiting <= Share::Streams.of(self.limit) && bytes <= self.limit - waiting;
        // The hint is enough where there is room: others may add to the queue at any time.
        fits(self.bytes()) || {
            let state = self.lock();
            !state.phase.takes_frames() || fits(state.bytes())
        }
    }

    /// Queues a frame of the protocol itself behind the data: over the limit by one such frame at most. For the
    /// driver only, which sends it without being woken.
    pub(crate) fn push_reply(&self, frame: Draft<'_>) -> Result<(), PushError> {
        let mut state = self.lock();
        if !state.phase.takes_frames() {
            return Err(PushError::Closed);
        }
        if state.bytes() > self.limit {
            return Err(PushError::Full);
        }
        self.add(&mut state, frame);
        Ok(())
    }

    #[inline]
    fn admit(&self, bytes: usize) -> Result<MutexGuard<'_, State>, PushError> {
        let state = self.lock();
        if !state.phase.takes_frames() {
            return Err(PushError::Closed);
        }
        if bytes > self.limit.saturating_sub(state.bytes()) {
            return Err(PushError::Full);
        }
        Ok(state)
    }

    #[inline(always)]
    fn add(&self, state: &mut State, frame: Draft<'_>) {
        let blocked = state.is_blocked();
        state.queued.add(frame, blocked);
        if blocked {
            state.count_queued();
        }
        self.note(state);
    }

    /// Adds a frame, and returns the driver's task if it is to be woken for it.
    #[inline(always)]
    fn add_and_unpark(&self, state: &mut State, frame: &Frame) -> Option<Waker> {
        if state.is_blocked() {
            // It waits for its transport.
            self.add_blocked(state, frame);
            return None;
        }
        state.queued.add_shared(frame, false);
        self.note(state);
        state.unpark()
    }

    #[cold]
    fn add_blocked(&self, state: &mut State, frame: &Frame) {
        state.queued.add_shared(frame, true);
        state.count_queued();
        self.note(state);
    }

    #[inline(always)]
    fn add_shared(&self, state: &mut State, frame: &Frame) {
        let blocked = state.is_blocked();
        state.queued.add_shared(frame, blocked);
        if blocked {
            state.count_queued();
        }
        self.note(state);
    }

    /// Notes that something was queued.
    #[inline]
    fn note(&self, state: &State) {
        self.bytes.store(state.bytes(), Relaxed);
        self.news.store(true, Release);
    }

    /// Starts to close: the close is sent behind the queued frames, and nothing after it. Returns true if this call
    /// started it.
    pub(crate) fn close(&self, close: Close) -> bool {
        self.begin_close(close, Closing::Own)
    }

    /// Answers the client's close with its own code.
    pub(crate) fn close_reply(&self, close: Close) {
        self.begin_close(close, Closing::Reply);
    }

    /// Like `close`, but drops the queued frames, since the client does not read fast enough.
    pub(crate) fn close_discarding(&self, close: Close) -> bool {
        self.begin_close(close, Closing::Discarding)
    }

    fn begin_close(&self, close: Close, closing: Closing) -> bool {
        let state = self.lock();
        if !state.phase.takes_frames() {
            return false;
        }
        self.start_close(state, close, closing);
        true
    }

    fn start_close(&self, mut state: MutexGuard<'_, State>, close: Close, closing: Closing) {
        if closing == Closing::Discarding {
            state.queued.clear();
            // The driver drops the frames that it has taken in its next turn.
            state.bill = None;
        }
        state.behind = None;
        self.is_behind.store(false, Release);
        state.signals.add(Signals::CLOSE);
        if close.code == CloseCode::ABNORMAL {
            state.signals.add(Signals::EXPIRED);
        }
        state.phase = Phase::Closing(Box::new(close), closing);
        self.closing.store(true, Release);
        self.note(&state);
        let (driver, waiting) = (state.unpark(), state.take_waiting());
        drop(state);
        wake(driver);
        waiting.wake();
    }

    /// Wakes those that wait for room if there is some.
    #[inline]
    fn wake_for_room(&self, mut state: MutexGuard<'_, State>) {
        if state.waiting.is_none() || !self.has_room(&state) {
            return;
        }
        let waiting = state.take_for_room();
        drop(state);
        waiting.wake();
    }

    /// Has the driver free unused memory when it runs next.
    pub(crate) fn signal_shrink(&self) {
        self.lock().signals.add(Signals::SHRINK);
        self.news.store(true, Release);
    }

    /// Frees unused memory.
    pub(crate) fn shrink(&self) {
        let mut state = self.lock();
        if state.queued.is_empty() {
            state.queued.clear();
        }
    }

    /// Drops what is held back for a client that is behind, but the newest publication of each topic; returns how many
    /// were dropped.
    pub(crate) fn drop_older(&self) -> usize {
        self.lock().behind.as_mut().map_or(0, |behind| behind.drop_older())
    }

    /// Returns the bytes that wait for a client whose transport takes nothing; 0 for others.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.lock().bill.as_ref().map_or(0, |bill| bill.bytes())
    }

    /// Notes that the client has closed or is lost; wakes those that wait for that.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Leaving;
        }
        let waiting = state.take_waiting();
        drop(state);
        waiting.wake();
    }

    /// Ready when either side has started to close.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Poll::Ready(());
        }
        state.waiting.get_or_insert_default().for_end.add(cx.waker());
        Poll::Pending
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().phase != Phase::Open
    }

    /// Ready when at most half of the limit is queued, or sending has ended.
    #[inline]
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_roomy() { Poll::Ready(()) } else { self.wait_for_room(cx) }
    }

    #[cold]
    fn wait_for_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.phase != Phase::Open || self.has_room(&state) {
            return Poll::Ready(());
        }
        state.waiting.get_or_insert_default().for_room.add(cx.waker());
        Poll::Pending
    }

    /// Returns true if at most half of the limit seems to be queued. Others may add to it at any time; only the
    /// driver takes away.
    #[inline]
    pub(crate) fn is_roomy(&self) -> bool {
        self.bytes() <= self.limit / 2
    }

    /// Returns true if so much is queued that it should be written before more is handled: as much as one write
    /// takes, or half of the limit if that is less.
    #[inline]
    pub(crate) fn is_worth_a_write(&self) -> bool {
        self.bytes() > self.write as usize
    }

    fn has_room(&self, state: &State) -> bool {
        state.bytes() <= self.limit / 2
    }

    /// Returns the number of bytes to be written.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Bytes of one write.
const WRITE_BYTES: usize = 64 * 1024;

/// Bytes that all streams of a connection together may have queued.
const STREAM_BYTES: usize = WRITE_BYTES;

/// Bytes beyond the limit for frames that end something: a hundred of them.
const CONTROL_BYTES: usize = 4 * 1024;

/// Fails if a frame does not even fit into an empty outbox.
#[inline]
pub(crate) fn may_hold(limit: usize, bytes: usize) -> Result<(), Error> {
    if bytes <= limit { Ok(()) } else { Err(too_large(limit, bytes)) }
}

#[cold]
fn too_large(limit: usize, bytes: usize) -> Error {
    let text = format!("a message of {bytes} bytes does not fit: an outbox holds {limit}");
    Error::new(Code::RESOURCE_EXHAUSTED, text)
}
