use super::{behind::Behind, queued::Queued, signals::Signals};
use crate::{ledger::Bill, util::Wakers};
use realtime_protocol::Close;
use std::task::Waker;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queued: Queued,
    /// Bytes that the driver has taken and not yet written. Only the driver sets them, under the lock under which
    /// others check for room: a task that finds none is seen by the driver at the next write, or when it parks.
    pub(super) in_flight: usize,
    pub(super) behind: Option<Box<Behind>>,
    /// The driver has taken frames, and its transport is writing them. Means nothing once the phase is `Closed`.
    pub(super) is_writing: bool,
    /// The driver has taken a close, which is the last of its frames until it is written.
    pub(super) is_close_taken: bool,
    /// The account of the client on the ledger, from the time at which its transport takes nothing.
    pub(super) bill: Option<Box<Bill>>,
    pub(super) phase: Phase,
    pub(super) signals: Signals,
    /// The driver's task, once it has parked.
    pub(super) driver: Option<Waker>,
    pub(super) parked: Parked,
    /// The tasks that wait, if any.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// The state of the driver's task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Parked {
    /// Running, or woken.
    #[default]
    Not,
    /// Waiting for anything.
    ForAll,
    /// Waiting for signals alone: its transport accepts nothing now, so new frames need not wake it.
    ForSignals,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) for_room: Wakers,
    pub(super) for_end: Wakers,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Open,
    /// The client is gone or leaving; queued frames are still sent.
    Leaving,
    /// This side has started to close: nothing is queued behind the close.
    Closing(Box<Close>, Closing),
    /// The driver sends nothing any more.
    Closed,
}

/// The way in which this side closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// On its own, behind the queued frames.
    Own,
    /// In reply to the client's close.
    Reply,
    /// On its own; frames that are queued, or taken and not begun to be written, are dropped.
    Discarding,
}

impl Phase {
    pub(super) fn takes_frames(&self) -> bool {
        matches!(self, Self::Open | Self::Leaving)
    }
}

impl State {
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.queued.bytes() + self.in_flight
    }

    /// Returns true if the driver drops what it has before it writes more, or has done so: only a close is left.
    pub(super) fn is_discarding(&self) -> bool {
        matches!(self.phase, Phase::Closing(_, Closing::Discarding))
    }

    #[inline]
    pub(super) fn unpark(&mut self) -> Option<Waker> {
        match std::mem::take(&mut self.parked) {
            Parked::Not => None,
            Parked::ForAll | Parked::ForSignals => self.driver.clone(),
        }
    }

    /// Wakes the driver for new frames, unless its transport accepts nothing now.
    #[inline]
    pub(super) fn unpark_for_frames(&mut self) -> Option<Waker> {
        if self.is_blocked() { None } else { self.unpark() }
    }

    #[inline]
    pub(super) fn is_blocked(&self) -> bool {
        self.parked == Parked::ForSignals
    }

    /// Counts what was queued for a client whose transport takes nothing.
    #[cold]
    pub(super) fn count_queued(&mut self) {
        if let Some(bill) = &mut self.bill {
            self.queued.follow(bill);
        }
    }

    pub(super) fn take_waiting(&mut self) -> Waiting {
        self.waiting.take().map_or_else(Waiting::default, |waiting| *waiting)
    }

    pub(super) fn take_for_room(&mut self) -> Wakers {
        let Some(waiting) = &mut self.waiting else { return Wakers::default() };
        let for_room = std::mem::take(&mut waiting.for_room);
        if waiting.for_end.is_empty() {
            self.waiting = None;
        }
        for_room
    }
}

impl Waiting {
    pub(super) fn wake(self) {
        self.for_room.wake();
        self.for_end.wake();
    }
}
