use super::{
    Held, Outbox,
    signals::Signals,
    state::{Closing, Parked, Phase, State},
};
use crate::{
    ledger::{Bill, Ledger},
    seams::SendQueue,
    util::{
        register_waker,
        sync::atomic::Ordering::{Acquire, Relaxed, Release},
        wake,
    },
};
use realtime_protocol::Close;
use std::{sync::Arc, task::Context};

/// The driver's side.
impl Outbox {
    /// Returns true if publications are held back because the client was behind.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Acquire)
    }

    /// Queues held back publications while there is room. Returns what the caller has to do before the rest; call it
    /// again after that. For the driver.
    pub(crate) fn catch_up(&self) -> Option<Held> {
        let mut state = self.lock();
        while self.has_room(&state) {
            let Some(behind) = &mut state.behind else { break };
            if let Some(gap) = behind.take_gap() {
                return Some(gap);
            }
            if behind.take_feeds() {
                state.behind = None;
                self.is_behind.store(false, Release);
                return Some(Held::Feeds);
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

    /// Returns true if this side has started to close.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Acquire)
    }

    /// Ends sending. Returns the close that was started on this side.
    pub(crate) fn shut(&self) -> Option<Close> {
        let mut state = self.lock();
        state.queued.clear();
        state.behind = None;
        state.is_writing = false;
        state.bill = None;
        self.is_behind.store(false, Release);
        state.in_flight = 0;
        self.bytes.store(0, Relaxed);
        let phase = std::mem::replace(&mut state.phase, Phase::Closed);
        // The task would keep this alive, and this the task.
        let driver = state.driver.take();
        let waiting = state.take_waiting();
        drop(state);
        drop(driver);
        waiting.wake();
        match phase {
            Phase::Closing(close, _) => Some(*close),
            _ => None,
        }
    }

    pub(crate) fn signal_ping(&self) {
        self.signal(Signals::PING);
    }

    pub(crate) fn signal_look(&self) {
        self.signal(Signals::LOOK);
    }

    /// Returns true until the driver has had the turn requested by [`signal_look`](Self::signal_look).
    pub(crate) fn is_to_look(&self) -> bool {
        self.lock().signals.has(Signals::LOOK)
    }

    pub(crate) fn signal_shed(&self) {
        self.signal(Signals::SHED);
    }

    pub(crate) fn signal_expired(&self) {
        self.signal(Signals::EXPIRED);
    }

    fn signal(&self, signal: Signals) {
        let mut state = self.lock();
        state.signals.add(signal);
        self.news.store(true, Release);
        let driver = state.unpark();
        drop(state);
        wake(driver);
    }

    /// Returns true if there may be something new for the driver.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Acquire)
    }

    /// Moves all frames to `queue`. The driver runs, so no wake-up is needed.
    pub(crate) fn take(&self, queue: &mut SendQueue) -> Signals {
        let mut state = self.lock();
        self.news.store(false, Relaxed);
        state.parked = Parked::Not;
        let mut signals = std::mem::take(&mut state.signals);
        if signals.has(Signals::CLOSE) {
            let dropped = state.is_discarding() && queue.discard();
            if state.is_close_taken && !dropped {
                // The client has got a part of that close, or all of it: another one would be one too many.
                signals.remove(Signals::CLOSE);
            }
            state.is_close_taken = true;
        }
        state.queued.give(queue);
        let bytes = queue.bytes();
        // With signals the application's code may run first, which may revoke somebody and wait for writes.
        state.is_writing = bytes > 0 && signals.is_empty();
        state.in_flight = bytes;
        self.bytes.store(bytes, Relaxed);
        signals
    }

    /// Notes that `queue` is about to be written. Returns false if there are new signals, which come first.
    #[cold]
    pub(crate) fn begin_write(&self, queue: &SendQueue) -> bool {
        let mut state = self.lock();
        if !state.signals.is_empty() {
            return false;
        }
        state.is_writing = !queue.is_empty();
        true
    }

    /// Returns the close that this side has started.
    pub(crate) fn started_close(&self) -> Option<(Close, Closing)> {
        match &self.lock().phase {
            Phase::Closing(close, closing) => Some((Close::clone(close), *closing)),
            _ => None,
        }
    }

    /// Reports how many of the taken bytes are still to be written.
    #[inline]
    pub(crate) fn set_in_flight(&self, bytes: usize) {
        let mut state = self.lock();
        state.is_writing = false;
        state.in_flight = bytes;
        self.bytes.store(state.bytes(), Relaxed);
        self.wake_for_room(state);
    }

    /// Arms the driver's waker and returns `true`, unless there is something to do: new frames or signals, or room for
    /// publications held back.
    #[inline]
    pub(crate) fn park(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        if !state.queued.is_empty() || !self.may_park(&state) {
            return false;
        }
        state.parked = Parked::ForAll;
        if state.bill.is_some() {
            state.bill = None;
        }
        let replaced = register_waker(&mut state.driver, cx);
        drop(state);
        drop(replaced);
        true
    }

    /// Like [`park`](Self::park), for a driver whose transport takes nothing now and wakes it for frames.
    #[cold]
    pub(crate) fn park_blocked(&self, cx: &Context<'_>, blocked: &Blocked<'_>) -> bool {
        let mut state = self.lock();
        if !self.may_park(&state) {
            return false;
        }
        state.parked = Parked::ForSignals;
        state.count(blocked);
        let replaced = register_waker(&mut state.driver, cx);
        drop(state);
        drop(replaced);
        true
    }

    /// Returns true unless there are signals, or room for what is held back.
    #[inline]
    fn may_park(&self, state: &State) -> bool {
        if !state.signals.is_empty() {
            return false;
        }
        let may_catch_up = state.behind.is_some() && self.has_room(state);
        if may_catch_up {
            self.news.store(true, Release);
        }
        !may_catch_up
    }
}

/// A client whose transport takes nothing now.
#[derive(Debug)]
pub(crate) struct Blocked<'a> {
    /// The frames that the driver has taken, if any are left.
    pub(crate) sending: Option<&'a SendQueue>,
    pub(crate) ledger: &'a Arc<Ledger>,
}

impl State {
    fn count(&mut self, blocked: &Blocked<'_>) {
        let bill = self.bill.get_or_insert_with(|| Box::new(Bill::new(blocked.ledger)));
        self.queued.settle(bill, blocked.sending);
    }
}
