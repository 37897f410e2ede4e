//! The ledger: the bytes that the process holds for its clients, counted in classes against one budget.
//!
//! It counts what waits and what is kept. A client whose transport takes everything has no account in it.
//!
//! May import `util`.

mod account;
mod acts;
mod bill;
mod counted;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use account::Account;
pub(crate) use acts::Acts;
pub(crate) use bill::Bill;
#[cfg(test)]
pub(crate) use bill::PLACE;
pub(crate) use counted::{Counted, HELD_PLACE};
use shared::SharedFrames;

use crate::util::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Relaxed, Release},
};

/// The bytes that the process holds for its clients, and the limits at which it frees some.
#[derive(Debug)]
pub(crate) struct Ledger {
    limits: Limits,
    /// All classes but [`Class::Control`].
    total: AtomicUsize,
    classes: [AtomicUsize; CLASSES],
    shared: SharedFrames,
    pub(crate) acts: Acts,
    /// The total above which memory is freed: raised while there is nothing to free, so that not every publication
    /// searches for it again.
    next: AtomicUsize,
    freeing: AtomicBool,
}

/// The classes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The logs of feeds.
    Logs,
    /// A client's own frames that its transport does not take, or that wait for credit or room.
    Own,
    /// Frames of several clients that wait for at least one of them.
    Shared,
    /// The places of waiting frames in the queues.
    Places,
    /// Input that is not handled yet.
    Inbound,
    /// Outcomes of calls with an idempotency key.
    Outcomes,
    /// Publications and entries that wait for the broker, and records of it that wait for others.
    Broker,
    /// The lists of clients that are present on other nodes.
    Presence,
    /// Pings and pongs that wait; from their own part of the budget.
    Control,
}

pub(crate) const CLASSES: usize = Class::Control as usize + 1;

/// The limits, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The whole budget.
    pub(crate) all: usize,
    /// Freeing stops here.
    pub(crate) calm: usize,
    /// Above it logs are trimmed, and publications dropped that may be.
    pub(crate) shed: usize,
    /// Closing stops here.
    pub(crate) relieved: usize,
    /// Above it new work is refused.
    pub(crate) refuse: usize,
    /// From here on clients are closed.
    pub(crate) close: usize,
    /// Bytes of logs that are never trimmed for the budget.
    pub(crate) logs: usize,
}

impl Limits {
    fn of(budget: usize) -> Self {
        // The rest is for pings, pongs, replies and closes, which are never refused or dropped for the budget.
        let data = budget - budget / CONTROL;
        let percent = |percent: usize| data / 100 * percent;
        Self {
            all: budget,
            calm: percent(80),
            shed: percent(85),
            relieved: percent(90),
            refuse: percent(95),
            close: data,
            logs: data / 16,
        }
    }
}

/// The part of the budget that control frames have of their own, as a divisor.
const CONTROL: usize = 16;

/// Growth after which memory is searched for again if the last search has not found enough, as a divisor of the budget.
const STEP: usize = 64;

impl Ledger {
    pub(crate) fn new(budget: usize) -> Self {
        let limits = Limits::of(budget);
        Self {
            limits,
            total: AtomicUsize::new(0),
            classes: std::array::from_fn(|_| AtomicUsize::new(0)),
            shared: SharedFrames::default(),
            acts: Acts::default(),
            next: AtomicUsize::new(limits.shed),
            freeing: AtomicBool::new(false),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn total(&self) -> usize {
        self.total.load(Relaxed)
    }

    pub(crate) fn of(&self, class: Class) -> usize {
        self.classes[class as usize].load(Relaxed)
    }

    pub(crate) fn add(&self, class: Class, bytes: usize) {
        self.classes[class as usize].fetch_add(bytes, Relaxed);
        if class != Class::Control {
            self.total.fetch_add(bytes, Relaxed);
        }
    }

    pub(crate) fn sub(&self, class: Class, bytes: usize) {
        self.classes[class as usize].fetch_sub(bytes, Relaxed);
        if class != Class::Control {
            self.total.fetch_sub(bytes, Relaxed);
        }
    }

    /// Counts a holder's bytes anew.
    pub(crate) fn change(&self, class: Class, before: usize, after: usize) {
        if after > before {
            self.add(class, after - before);
        } else if before > after {
            self.sub(class, before - after);
        }
    }

    /// Returns true if no new connection, subscription or call is accepted.
    #[inline]
    pub(crate) fn refuses(&self) -> bool {
        self.total() > self.limits.refuse
    }

    /// Returns true if memory should be freed.
    #[inline]
    pub(crate) fn is_tight(&self) -> bool {
        self.total() > self.next.load(Relaxed)
    }

    /// Has the next look find out if memory should be freed, whatever the last one has found.
    pub(crate) fn look_again(&self) {
        self.next.store(self.limits.shed, Relaxed);
    }

    /// Returns the turn to free memory, unless another thread has it.
    pub(crate) fn begin_freeing(&self) -> Option<Freeing<'_>> {
        (!self.freeing.swap(true, AcqRel)).then_some(Freeing(self))
    }
}

/// The turn to free memory.
pub(crate) struct Freeing<'a>(&'a Ledger);

impl Drop for Freeing<'_> {
    fn drop(&mut self) {
        let Ledger { limits, next, freeing, .. } = self.0;
        next.store((self.0.total() + limits.all / STEP).max(limits.shed), Relaxed);
        freeing.store(false, Release);
    }
}
