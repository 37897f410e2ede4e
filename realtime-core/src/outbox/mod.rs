use crate::outbox::behind::Behind;
use crate::outbox::queued::Queued;
use crate::util::wakers::Wakers;
use crate::outbox::{Keeping, Post};
use crate::seams::SendQueue;
use crate::util::sync::{Mutex, MutexGuard};
use crate::util::sync::atomic::{AtomicBool, AtomicUsize};
use crate::util::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::websocket::{Draft, Frame};
use realtime_protocol::{Close, CloseCode, Code, Error, Gap};
use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

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

#[derive(Debug, Default)]
struct State {
    queued: Queued,
    /// Bytes that the driver took and has not yet written. It alone sets them, under the lock under which others decide
    /// by them: whoever finds no room is seen by the driver at the next write, or where it parks.
    in_flight: usize,
    behind: Option<Box<Behind>>,
    phase: Phase,
    signals: Signals,
    /// The driver's task, once it has parked.
    driver: Option<Waker>,
    /// It is to be woken.
    parked: bool,
    /// The transport takes nothing now: new frames are no reason to wake the driver.
    blocked: bool,
    /// The client is gone or going.
    ended: bool,
    /// Those who wait, if anyone does.
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    for_room: Wakers,
    for_end: Wakers,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The close frame is the last one in the queue.
    Closing(Box<Close>),
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
        if state.phase != Phase::Open {
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
        if state.phase != Phase::Open {
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

    /// Whether publications wait, because the client was behind.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Acquire)
    }

    /// Queues publications that waited for a client that was behind, as far as there is room. Returns the gap to be told
    /// before the rest, if something was dropped; then it is to be called again. For the driver.
    pub(crate) fn catch_up(&self) -> Option<(Arc<str>, Gap)> {
        let mut state = self.lock();
        while self.has_room(&state) {
            let Some(behind) = &mut state.behind else { break };
            if let Some(gap) = behind.take_gap() {
                return Some(gap);
            }
            let frame = behind.pop();
            if behind.is_empty() {
                state.behind = None;
                self.is_behind.store(false, Release);
            }
            if let Some(frame) = frame {
                self.add_shared(&mut state, &frame);
            }
        }
        None
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
        if state.phase != Phase::Open {
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
        state.phase != Phase::Open || fits
    }

    /// Queues a frame of the protocol itself behind the data: over the limit by one such frame at
    /// most. For the driver only, which sends it without being woken.
    pub(crate) fn push_reply(&self, frame: Draft<'_>) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
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
        if state.phase != Phase::Open {
            return Err(PushError::Closed);
        }
        if bytes > self.limit.saturating_sub(state.bytes()) {
            return Err(PushError::Full);
        }
        Ok(state)
    }

    #[inline]
    fn add(&self, state: &mut State, frame: Draft<'_>) {
        state.queued.add(frame, state.blocked);
        self.note(state);
    }

    #[inline]
    fn add_shared(&self, state: &mut State, frame: &Frame) {
        state.queued.add_shared(frame, state.blocked);
        self.note(state);
    }

    /// Something was queued.
    #[inline]
    fn note(&self, state: &State) {
        self.bytes.store(state.bytes(), Relaxed);
        self.news.store(true, Release);
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
            state.queued.clear();
            state.signals.discard = true;
        }
        state.behind = None;
        self.is_behind.store(false, Release);
        match frame {
            Some(frame) => self.add_shared(&mut state, &frame),
            None => state.signals.expired = true,
        }
        state.signals.closing = true;
        state.phase = Phase::Closing(Box::new(close));
        self.closing.store(true, Release);
        self.note(&state);
        let (driver, waiting) = (state.unpark(), state.take_waiting());
        drop(state);
        wake(driver);
        waiting.wake();
        true
    }

    /// Whether a close was begun on this side.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Acquire)
    }

    /// Nothing will be sent any more. Gives the close that was begun on this side.
    pub(crate) fn shut(&self) -> Option<Close> {
        let mut state = self.lock();
        state.queued.clear();
        state.behind = None;
        self.is_behind.store(false, Release);
        state.in_flight = 0;
        self.bytes.store(0, Relaxed);
        let phase = std::mem::replace(&mut state.phase, Phase::Closed);
        // Its task would keep this alive, and this the task.
        let driver = state.driver.take();
        let waiting = state.take_waiting();
        drop(state);
        drop(driver);
        waiting.wake();
        match phase {
            Phase::Closing(close) => Some(*close),
            _ => None,
        }
    }

    pub(crate) fn signal_ping(&self) {
        self.signal(|signals| signals.ping = true);
    }

    pub(crate) fn signal_look(&self) {
        self.signal(|signals| signals.look = true);
    }

    /// Whether the driver has not yet had the turn that [`signal_look`](Self::signal_look) asked for.
    pub(crate) fn is_to_look(&self) -> bool {
        self.lock().signals.look
    }

    pub(crate) fn signal_expired(&self) {
        self.signal(|signals| signals.expired = true);
    }

    fn signal(&self, set: impl FnOnce(&mut Signals)) {
        let mut state = self.lock();
        set(&mut state.signals);
        self.news.store(true, Release);
        let driver = state.unpark();
        drop(state);
        wake(driver);
    }

    /// Whether it is worth looking what there is.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Acquire)
    }

    /// Moves everything to `queue`. The driver runs: nobody need wake it.
    pub(crate) fn take(&self, queue: &mut SendQueue) -> Signals {
        let mut state = self.lock();
        self.news.store(false, Relaxed);
        state.parked = false;
        state.blocked = false;
        let signals = std::mem::take(&mut state.signals);
        if signals.discard {
            queue.discard();
        }
        state.queued.give(queue);
        state.in_flight = queue.bytes();
        self.bytes.store(state.in_flight, Relaxed);
        signals
    }

    /// Tells how much of what was taken is still to be written.
    #[inline]
    pub(crate) fn set_in_flight(&self, bytes: usize) {
        let mut state = self.lock();
        state.in_flight = bytes;
        self.bytes.store(state.bytes(), Relaxed);
        self.wake_for_room(state);
    }

    /// Arms the driver's waker and returns `true`, unless there is something to do: frames or signals that came in the
    /// meantime, or room for publications that wait. A transport that is `blocked` wakes the driver for frames.
    pub(crate) fn park(&self, cx: &Context<'_>, blocked: bool) -> bool {
        let mut state = self.lock();
        if state.has_signals() || (!blocked && !state.queued.is_empty()) {
            return false;
        }
        if state.behind.is_some() && self.has_room(&state) {
            self.news.store(true, Release);
            return false;
        }
        if !state.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            state.driver = Some(cx.waker().clone());
        }
        state.parked = true;
        state.blocked = blocked;
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
        state.ended = true;
        let waiting = state.take_waiting();
        drop(state);
        waiting.wake();
    }

    /// Ready when either side has begun to close.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.ended || state.phase != Phase::Open {
            return Poll::Ready(());
        }
        state.waiting.get_or_insert_default().for_end.add(cx.waker());
        Poll::Pending
    }

    pub(crate) fn has_ended(&self) -> bool {
        let state = self.lock();
        state.ended || state.phase != Phase::Open
    }

    /// Ready when at most half of the limit waits, or sending has ended.
    #[inline]
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_roomy() { Poll::Ready(()) } else { self.wait_for_room(cx) }
    }

    #[cold]
    fn wait_for_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.ended || state.phase != Phase::Open || self.has_room(&state) {
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

impl State {
    #[inline]
    fn bytes(&self) -> usize {
        self.queued.bytes() + self.in_flight
    }

    fn has_signals(&self) -> bool {
        let Signals { ping, look, expired, closing, discard: _ } = self.signals;
        ping || look || expired || closing
    }

    fn unpark(&mut self) -> Option<Waker> {
        if std::mem::take(&mut self.parked) { self.driver.clone() } else { None }
    }

    /// Where the transport takes nothing, new frames are no reason to wake the driver.
    #[inline]
    fn unpark_for_frames(&mut self) -> Option<Waker> {
        if self.blocked { None } else { self.unpark() }
    }

    fn take_waiting(&mut self) -> Waiting {
        self.waiting.take().map_or_else(Waiting::default, |waiting| *waiting)
    }

    fn take_for_room(&mut self) -> Wakers {
        let Some(waiting) = &mut self.waiting else { return Wakers::default() };
        let for_room = std::mem::take(&mut waiting.for_room);
        if waiting.for_end.is_empty() {
            self.waiting = None;
        }
        for_room
    }
}

impl Waiting {
    fn wake(self) {
        self.for_room.wake();
        self.for_end.wake();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::queued::{COPIED_BYTES, JOINED_BYTES, SMALL_BYTES};
    use crate::websocket::Opcode;
    use bytes::Bytes;

    const LIMIT: usize = 1 << 20;

    fn payload(len: usize, byte: u8) -> Vec<u8> {
        vec![byte; len]
    }

    /// What is queued goes out in its order, whoever queued it and however it is held.
    #[test]
    fn own_and_shared_frames_keep_their_order() {
        let lens = [10, SMALL_BYTES + 1, COPIED_BYTES + 1, 10, 10, JOINED_BYTES, 10];
        for shared in 0..1 << lens.len() {
            let outbox = Outbox::new(LIMIT);
            let mut expected = Vec::new();
            for (at, len) in lens.into_iter().enumerate() {
                let payload = payload(len, at as u8);
                let frame = Frame::new(Opcode::Binary, &payload);
                expected.extend_from_slice(frame.bytes());
                if shared >> at & 1 == 1 {
                    assert!(outbox.push_shared(&frame).unwrap().is_none());
                } else {
                    outbox.push(Draft::new(Opcode::Binary, &payload)).unwrap();
                }
            }
            assert_eq!(outbox.bytes(), expected.len());
            let mut queue = SendQueue::default();
            outbox.take(&mut queue);
            let sent: Vec<u8> = std::iter::from_fn(|| queue.pop()).flatten().collect();
            assert!(sent == expected, "{shared:b}");
        }
    }

    #[test]
    fn the_driver_does_not_park_while_something_waits() {
        let cx = Context::from_waker(Waker::noop());
        let outbox = Outbox::new(LIMIT);
        assert!(outbox.park(&cx, false));
        outbox.push(Draft::new(Opcode::Text, b"a")).unwrap();
        assert!(outbox.has_news());
        assert!(!outbox.park(&cx, false));
        assert!(outbox.park(&cx, true), "a transport that takes nothing tells when it does");
        outbox.signal_ping();
        assert!(!outbox.park(&cx, true));
    }

    #[test]
    fn what_is_shared_stays_so_for_one_who_does_not_read() {
        let cx = Context::from_waker(Waker::noop());
        let outbox = Outbox::new(LIMIT);
        let shared = Frame::new(Opcode::Text, b"to all");
        assert!(outbox.park(&cx, true));
        outbox.push(Draft::new(Opcode::Text, b"to one")).unwrap();
        outbox.push_shared(&shared).unwrap();
        outbox.push_shared(&shared).unwrap();
        let mut queue = SendQueue::default();
        queue.push(Bytes::from_static(b"what waits already"));
        outbox.take(&mut queue);
        let same = std::iter::from_fn(|| queue.pop()).filter(|frame| frame.as_ptr() == shared.bytes().as_ptr());
        assert_eq!(same.count(), 2);
    }

    #[test]
    fn a_slow_consumer_is_sent_the_close_frame_and_nothing_else() {
        let outbox = Outbox::new(LIMIT);
        outbox.push(Draft::new(Opcode::Text, b"late")).unwrap();
        outbox.push_shared(&Frame::new(Opcode::Text, b"too late")).unwrap();
        let close = Close::by_server(CloseCode::TRY_AGAIN_LATER, "slow");
        assert!(outbox.close_discarding(close.clone()));
        let mut queue = SendQueue::default();
        queue.push(Bytes::from_static(b"taken before"));
        assert!(outbox.take(&mut queue).closing);
        assert_eq!(queue.pop().as_ref(), Some(Frame::close(&close).bytes()));
        assert!(queue.is_empty());
    }
}
