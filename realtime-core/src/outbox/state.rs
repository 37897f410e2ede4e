use super::{behind::Behind, queued::Queued, signals::Signals};
use crate::util::Wakers;
use realtime_protocol::Close;
use std::task::Waker;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queued: Queued,
    /// Bytes that the driver took and has not yet written. It alone sets them, under the lock under which others decide
    /// by them: whoever finds no room is seen by the driver at the next write, or where it parks.
    pub(super) in_flight: usize,
    pub(super) behind: Option<Box<Behind>>,
    pub(super) phase: Phase,
    pub(super) signals: Signals,
    /// The driver's task, once it has parked.
    pub(super) driver: Option<Waker>,
    pub(super) parked: Parked,
    /// Those who wait, if anyone does.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// Whether the driver is to be woken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Parked {
    /// It runs, or was woken.
    #[default]
    Not,
    /// It waits for anything.
    ForAll,
    /// Its transport takes nothing now: new frames are no reason to wake it.
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
    /// The client is gone or going; what is queued still leaves.
    Leaving,
    /// A close was begun on this side: nothing goes behind it.
    Closing(Box<Close>),
    /// The driver sends nothing any more.
    Closed,
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

    pub(super) fn unpark(&mut self) -> Option<Waker> {
        match std::mem::take(&mut self.parked) {
            Parked::Not => None,
            Parked::ForAll | Parked::ForSignals => self.driver.clone(),
        }
    }

    /// Where the transport takes nothing, new frames are no reason to wake the driver.
    #[inline]
    pub(super) fn unpark_for_frames(&mut self) -> Option<Waker> {
        if self.is_blocked() { None } else { self.unpark() }
    }

    #[inline]
    pub(super) fn is_blocked(&self) -> bool {
        self.parked == Parked::ForSignals
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
