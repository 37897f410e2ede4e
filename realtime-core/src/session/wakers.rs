use std::task::Waker;

/// The tasks that wait for one thing.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Vec<Waker>);

impl Wakers {
    /// Adds a task, once.
    pub(crate) fn add(&mut self, waker: &Waker) {
        if !self.0.iter().any(|known| known.will_wake(waker)) {
            self.0.push(waker.clone());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes them all but `own`, which is running.
    pub(crate) fn wake_others(self, own: &Waker) {
        for waker in self.0 {
            if !waker.will_wake(own) {
                waker.wake();
            }
        }
    }

    /// Wakes them all.
    pub(crate) fn wake(self) {
        for waker in self.0 {
            waker.wake();
        }
    }
}
