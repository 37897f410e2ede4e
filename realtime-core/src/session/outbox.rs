use super::wakers::Wakers;
use crate::{
    error::{Code, Error},
    sync::{Mutex, MutexGuard},
    transport::SendQueue,
    websocket::{Close, CloseCode, Frame},
};
use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

/// What waits to be sent to one client, bounded in bytes, and what others want of its driver.
///
/// Anyone may push; the driver takes everything at once. Its waker is armed last, under the same
/// lock that tells it nothing is there, and only when it parks: while it runs, nobody wakes it.
#[derive(Debug)]
pub(crate) struct Outbox {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    /// Bytes in `frames`.
    queued: usize,
    /// Bytes that the driver took and has not yet written.
    in_flight: usize,
    phase: Phase,
    signals: Signals,
    driver: Option<Waker>,
    /// The transport takes nothing now: new frames are no reason to wake the driver.
    blocked: bool,
    /// The client is gone or going.
    ended: bool,
    /// Those who wait for room.
    for_room: Wakers,
    /// Those who wait for the end.
    for_end: Wakers,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The close frame is the last one in the queue.
    Closing(Close),
    /// The driver sends nothing any more.
    Closed,
}

/// What the driver is asked to do beside sending.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signals {
    /// Send a ping.
    pub(crate) ping: bool,
    /// Look at the handler's backlog again: another task has taken something from it.
    pub(crate) look: bool,
    /// The time for closing is over: end at once.
    pub(crate) expired: bool,
    /// A close was begun on this side.
    pub(crate) closing: bool,
    /// Drop what was taken and not yet begun to be written.
    pub(crate) discard: bool,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Queues a frame and wakes the driver if it is parked.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), PushError> {
        let waker = self.push_unwoken(frame)?;
        wake(waker);
        Ok(())
    }

    /// Queues a frame; the caller wakes, after it has let go of its own locks.
    pub(crate) fn push_unwoken(&self, frame: Frame) -> Result<Option<Waker>, PushError> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err(PushError::Closed);
        }
        if frame.len() > self.limit.saturating_sub(state.bytes()) {
            return Err(PushError::Full);
        }
        state.push(frame);
        Ok(if state.blocked { None } else { state.driver.take() })
    }

    /// Queues a frame of the protocol itself behind the data: over the limit by one such frame at
    /// most. For the driver only, which sends it without being woken.
    pub(crate) fn push_reply(&self, frame: Frame) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err(PushError::Closed);
        }
        if state.bytes() > self.limit {
            return Err(PushError::Full);
        }
        state.push(frame);
        Ok(())
    }

    /// Whether a frame fits at all, into an outbox that is empty.
    pub(crate) fn may_hold(&self, frame: &Frame) -> Result<(), Error> {
        if frame.len() <= self.limit {
            return Ok(());
        }
        let (bytes, limit) = (frame.len(), self.limit);
        Err(Error::new(
            Code::RESOURCE_EXHAUSTED,
            format!("a message of {bytes} bytes, and an outbox holds {limit}"),
        ))
    }

    /// Begins to close: the close frame goes behind what is queued, and nothing after it.
    /// Gives whether this call was the one that began.
    pub(crate) fn close(&self, close: Close) -> bool {
        let frame = (close.code != CloseCode::ABNORMAL).then(|| Frame::close(&close));
        self.begin_close(close, frame, false)
    }

    /// Answers the client's close with its own code.
    pub(crate) fn close_reply(&self, close: Close) {
        let frame = Frame::close_reply(close.code);
        self.begin_close(close, Some(frame), false);
    }

    /// Like `close`, and what is queued is dropped: its reader does not keep up.
    pub(crate) fn close_discarding(&self, close: Close) -> bool {
        let frame = Frame::close(&close);
        self.begin_close(close, Some(frame), true)
    }

    /// Without a frame, the connection is cut.
    fn begin_close(&self, close: Close, frame: Option<Frame>, discard: bool) -> bool {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return false;
        }
        if discard {
            state.frames = VecDeque::new();
            state.queued = 0;
            state.signals.discard = true;
        }
        match frame {
            Some(frame) => state.push(frame),
            None => state.signals.expired = true,
        }
        state.signals.closing = true;
        state.phase = Phase::Closing(close);
        let (driver, waiting) = (state.driver.take(), state.take_waiting());
        drop(state);
        wake(driver);
        wake_all(waiting);
        true
    }

    /// Nothing will be sent any more. Gives the close that was begun on this side.
    pub(crate) fn shut(&self) -> Option<Close> {
        let mut state = self.lock();
        state.frames = VecDeque::new();
        (state.queued, state.in_flight) = (0, 0);
        let phase = std::mem::replace(&mut state.phase, Phase::Closed);
        let waiting = state.take_waiting();
        drop(state);
        wake_all(waiting);
        match phase {
            Phase::Closing(close) => Some(close),
            _ => None,
        }
    }

    pub(crate) fn signal_ping(&self) {
        self.signal(|signals| signals.ping = true);
    }

    pub(crate) fn signal_look(&self) {
        self.signal(|signals| signals.look = true);
    }

    pub(crate) fn signal_expired(&self) {
        self.signal(|signals| signals.expired = true);
    }

    fn signal(&self, set: impl FnOnce(&mut Signals)) {
        let mut state = self.lock();
        set(&mut state.signals);
        let driver = state.driver.take();
        drop(state);
        wake(driver);
    }

    /// Moves everything to `queue`. Disarms the driver's waker: it runs.
    pub(crate) fn take(&self, queue: &mut SendQueue) -> Signals {
        let mut state = self.lock();
        state.driver = None;
        state.blocked = false;
        let signals = std::mem::take(&mut state.signals);
        if signals.discard {
            queue.discard();
        }
        while let Some(frame) = state.frames.pop_front() {
            queue.push(frame.into_bytes());
        }
        state.queued = 0;
        if state.frames.capacity() > KEPT_FRAMES {
            state.frames = VecDeque::new();
        }
        self.set_in_flight(state, queue.bytes());
        signals
    }

    /// Tells how much of what was taken is still to be written.
    pub(crate) fn release(&self, queue: &SendQueue) {
        self.set_in_flight(self.lock(), queue.bytes());
    }

    fn set_in_flight(&self, mut state: MutexGuard<'_, State>, bytes: usize) {
        state.in_flight = bytes;
        if state.for_room.is_empty() || state.bytes() > self.limit / 2 {
            return;
        }
        let waiting = std::mem::take(&mut state.for_room);
        drop(state);
        waiting.wake();
    }

    /// Arms the driver's waker, unless something came in the meantime: then gives `false`.
    pub(crate) fn park(&self, cx: &Context<'_>, blocked: bool) -> bool {
        let mut state = self.lock();
        let signals = state.signals;
        if signals.ping
            || signals.look
            || signals.expired
            || signals.closing
            || (!blocked && !state.frames.is_empty())
        {
            return false;
        }
        state.driver = Some(cx.waker().clone());
        state.blocked = blocked;
        true
    }

    /// The client closed or is lost: tells those who wait for it.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let waiting = state.take_waiting();
        drop(state);
        wake_all(waiting);
    }

    /// Ready when either side has begun to close.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.ended || state.phase != Phase::Open {
            return Poll::Ready(());
        }
        state.for_end.add(cx.waker());
        Poll::Pending
    }

    pub(crate) fn has_ended(&self) -> bool {
        let state = self.lock();
        state.ended || state.phase != Phase::Open
    }

    /// Ready when less than half of the limit waits, or sending has ended.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.ended || state.phase != Phase::Open || state.bytes() <= self.limit / 2 {
            return Poll::Ready(());
        }
        state.for_room.add(cx.waker());
        Poll::Pending
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn take_waiting(&mut self) -> [Wakers; 2] {
        [std::mem::take(&mut self.for_room), std::mem::take(&mut self.for_end)]
    }

    fn bytes(&self) -> usize {
        self.queued + self.in_flight
    }

    fn push(&mut self, frame: Frame) {
        self.queued += frame.len();
        self.frames.push_back(frame);
    }
}

/// A queue that a burst has grown beyond this is freed when it is empty.
const KEPT_FRAMES: usize = 16;

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn wake_all(waiting: [Wakers; 2]) {
    waiting.into_iter().for_each(Wakers::wake);
}
