//! What waits for one client, bounded in bytes, and what others want of the future that sends it.
//!
//! Ways in, by who uses them:
//!
//! | who | way | at the limit |
//! |---|---|---|
//! | `send`, `emit`, a call of the client's procedure | [`push`](Outbox::push) | [`PushError::Full`] |
//! | a publication | [`push_shared`](Outbox::push_shared), [`push_or_keep`](Outbox::push_or_keep) | `Full`, or as its topic's overflow says |
//! | an item or an answer, in the driver's own task | [`offer`](Outbox::offer), [`offer_frame`](Outbox::offer_frame) | the frame is given back, to be tried again by [`push_late`](Outbox::push_late) |
//! | the protocol itself: pongs, errors, gaps | [`push_reply`](Outbox::push_reply) | one frame above it |
//! | the end of a call of the client's procedure | [`push_control`](Outbox::push_control) | 4 KiB above it |
//! | the end of the connection | [`close`](Outbox::close), [`close_discarding`](Outbox::close_discarding) | does not count |
//!
//! May import `seams`, `websocket` and `util`.

mod behind;
mod driver;
mod keeping;
mod opening;
mod queued;
mod signals;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use behind::Post;
pub(crate) use keeping::Keeping;
pub(crate) use opening::Opening;
pub(crate) use signals::{Closing, Signals};
use state::{Phase, State};

use crate::{
    util::sync::{
        Mutex, MutexGuard,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, Release},
        },
    },
    websocket::{Draft, Frame},
};
use realtime_protocol::{Close, CloseCode, Code, Error};
use std::task::{Context, Poll, Waker};

/// What waits to be sent to one client, bounded in bytes, and what others want of its driver.
///
/// Anyone may push; the driver takes everything at once. Its waker is armed last, under the same
/// lock that tells it nothing is there, and only when it parks: while it runs, nobody wakes it.
#[derive(Debug)]
pub(crate) struct Outbox {
    limit: usize,
    /// From here on what waits is worth a write.
    write: usize,
    /// All bytes that wait, for those to whom a hint is enough. Set under the lock.
    bytes: AtomicUsize,
    /// Something is there for the driver. Only to spare it a look: the lock decides.
    news: AtomicBool,
    /// A close was begun on this side.
    closing: AtomicBool,
    /// Publications wait until less is queued.
    is_behind: AtomicBool,
    state: Mutex<State>,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            write: WRITE_BYTES.min(limit / 2),
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

    /// Queues a frame that ends something, and wakes the driver if it is parked: such frames may pass the limit by
    /// [`CONTROL_BYTES`] together, so that a client that is behind is told all the same.
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

    /// Queues a frame that others get as well; the caller wakes, after it has let go of its own
    /// locks.
    #[inline(always)]
    pub(crate) fn push_shared(&self, frame: &Frame) -> Result<Option<Waker>, PushError> {
        let mut state = self.admit(frame.len())?;
        self.add_shared(&mut state, frame);
        Ok(state.unpark_for_frames())
    }

    /// Queues a frame that others get as well; for a client that is behind it waits, or is dropped, as `keeping` says.
    #[inline(never)]
    pub(crate) fn push_or_keep(
        &self,
        frame: &Frame,
        post: &Post<'_>,
        keeping: Keeping,
    ) -> Result<Option<Waker>, PushError> {
        let mut state = self.lock();
        if !state.phase.takes_frames() {
            return Err(PushError::Closed);
        }
        let waits = state.behind.as_ref().is_some_and(|behind| behind.has(post.topic));
        if waits || state.bytes() + frame.len() > self.limit / 2 {
            state.behind.get_or_insert_default().add(frame, post, keeping);
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

    /// Queues a frame of this client's own, or gives it back if there is no room. For the driver's own task.
    pub(crate) fn offer(&self, frame: Draft<'_>) -> Option<Frame> {
        let admitted = self.admit(frame.len());
        let Ok(mut state) = admitted else {
            let full = matches!(admitted, Err(PushError::Full));
            return full.then(|| frame.into_frame());
        };
        self.add(&mut state, frame);
        None
    }

    /// As [`offer`](Self::offer), for a frame that exists.
    pub(crate) fn offer_frame(&self, frame: Frame) -> Option<Frame> {
        match self.admit(frame.len()) {
            Ok(mut state) => {
                self.add_shared(&mut state, &frame);
                None
            }
            Err(PushError::Full) => Some(frame),
            Err(PushError::Closed) => None,
        }
    }

    /// Queues a frame that has waited for room: over the limit by one such frame at most.
    pub(crate) fn push_late(&self, frame: &Frame) -> Result<(), PushError> {
        let mut state = self.lock();
        if !state.phase.takes_frames() {
            return Ok(());
        }
        if !self.has_room(&state) {
            return Err(PushError::Full);
        }
        self.add_shared(&mut state, frame);
        Ok(())
    }

    /// Whether a stream may add so many bytes to what waits: together streams take no more than a part of the outbox,
    /// so that a call is not answered behind all that they can make.
    pub(crate) fn takes_stream(&self, bytes: usize) -> bool {
        let state = self.lock();
        let waiting = state.bytes();
        let fits = waiting <= STREAM_BYTES.min(self.limit / 2) && bytes <= self.limit - waiting;
        !state.phase.takes_frames() || fits
    }

    /// Queues a frame of the protocol itself behind the data: over the limit by one such frame at
    /// most. For the driver only, which sends it without being woken.
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

    #[inline]
    fn add(&self, state: &mut State, frame: Draft<'_>) {
        let blocked = state.is_blocked();
        state.queued.add(frame, blocked);
        self.note(state);
    }

    #[inline]
    fn add_shared(&self, state: &mut State, frame: &Frame) {
        let blocked = state.is_blocked();
        state.queued.add_shared(frame, blocked);
        self.note(state);
    }

    /// Something was queued.
    #[inline]
    fn note(&self, state: &State) {
        self.bytes.store(state.bytes(), Relaxed);
        self.news.store(true, Release);
    }

    /// Begins to close: the close goes behind what is queued, and nothing after it. Returns whether this call was the one
    /// that began.
    pub(crate) fn close(&self, close: Close) -> bool {
        self.begin_close(close, Closing::Own)
    }

    /// Answers the client's close with its own code.
    pub(crate) fn close_reply(&self, close: Close) {
        self.begin_close(close, Closing::Reply);
    }

    /// Like `close`, and what is queued is dropped: its reader does not keep up.
    pub(crate) fn close_discarding(&self, close: Close) -> bool {
        self.begin_close(close, Closing::Discarding)
    }

    fn begin_close(&self, close: Close, closing: Closing) -> bool {
        let mut state = self.lock();
        if !state.phase.takes_frames() {
            return false;
        }
        if closing == Closing::Discarding {
            state.queued.clear();
        }
        state.behind = None;
        self.is_behind.store(false, Release);
        state.signals.close(closing);
        if close.code == CloseCode::ABNORMAL {
            state.signals.add(Signals::EXPIRED);
        }
        state.phase = Phase::Closing(Box::new(close));
        self.closing.store(true, Release);
        self.note(&state);
        let (driver, waiting) = (state.unpark(), state.take_waiting());
        drop(state);
        wake(driver);
        waiting.wake();
        true
    }

    /// Wakes those who wait for room if there is some.
    #[inline]
    fn wake_for_room(&self, mut state: MutexGuard<'_, State>) {
        if state.waiting.is_none() || !self.has_room(&state) {
            return;
        }
        let waiting = state.take_for_room();
        drop(state);
        waiting.wake();
    }

    /// Frees what nothing waits in.
    pub(crate) fn shrink(&self) {
        let mut state = self.lock();
        if state.queued.is_empty() {
            state.queued.clear();
        }
    }

    /// The client closed or is lost: tells those who wait for it.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Leaving;
        }
        let waiting = state.take_waiting();
        drop(state);
        waiting.wake();
    }

    /// Ready when either side has begun to close.
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

    /// Ready when at most half of the limit waits, or sending has ended.
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

    /// Whether at most half of the limit seems to wait. Others may add to it at any time; only the driver takes away.
    #[inline]
    pub(crate) fn is_roomy(&self) -> bool {
        self.bytes() <= self.limit / 2
    }

    /// Whether so much waits that it is to be written before more is handled: as much as one write takes, or half of the
    /// limit if that is less.
    #[inline]
    pub(crate) fn is_worth_a_write(&self) -> bool {
        self.bytes() > self.write
    }

    fn has_room(&self, state: &State) -> bool {
        state.bytes() <= self.limit / 2
    }

    /// Bytes that wait to be written.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// As much as one write takes.
const WRITE_BYTES: usize = 64 * 1024;

/// What all streams of a connection together may have waiting.
const STREAM_BYTES: usize = WRITE_BYTES;

/// What frames that end something may take beside the limit: a hundred of them.
const CONTROL_BYTES: usize = 4 * 1024;

/// Whether a frame fits at all, into an outbox that is empty.
pub(crate) fn may_hold(limit: usize, bytes: usize) -> Result<(), Error> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::new(Code::RESOURCE_EXHAUSTED, format!("a message of {bytes} bytes, and an outbox holds {limit}")))
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
