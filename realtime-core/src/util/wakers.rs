use std::task::{Context, Waker};

/// The tasks that wait for one event: nearly always one, the connection's own.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    first: Option<Waker>,
    #[expect(clippy::box_collection, reason = "there is one in each connection, and nearly never filled")]
    others: Option<Box<Vec<Waker>>>,
}

impl Wakers {
    /// Adds a task, once.
    pub(crate) fn add(&mut self, waker: &Waker) {
        let Some(first) = &self.first else {
            self.first = Some(waker.clone());
            return;
        };
        if first.will_wake(waker) {
            return;
        }
        let others = self.others.get_or_insert_default();
        if !others.iter().any(|known| known.will_wake(waker)) {
            others.push(waker.clone());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.as_ref().map_or(0, |others| others.len())
    }

    /// Takes the tasks to wake; none if `own` is the only one, since it is running and will wait again.
    pub(crate) fn take_others(&mut self, own: &Waker) -> Option<Self> {
        let first = self.first.as_ref()?;
        let only_own = self.others.is_none() && first.will_wake(own);
        (!only_own).then(|| std::mem::take(self))
    }

    /// Wakes all of them.
    #[inline]
    pub(crate) fn wake(self) {
        self.for_each(Waker::wake);
    }

    #[inline]
    pub(crate) fn for_each(self, mut with: impl FnMut(Waker)) {
        if let Some(first) = self.first {
            with(first);
        }
        if let Some(others) = self.others {
            others.into_iter().for_each(with);
        }
    }
}

/// Puts the waker of the task that polls into `slot`, and returns the one that was there before, if it is another: to be
/// dropped when no lock is held and nothing is borrowed, since a task may go with it.
#[must_use = "the waker is dropped without the lock"]
pub fn register_waker(slot: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        _ => slot.replace(cx.waker().clone()),
    }
}

/// Wakes a task, if there is one. Never under a lock: a waker may run the task, or drop it.
pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
