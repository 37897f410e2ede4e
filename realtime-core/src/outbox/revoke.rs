use super::{
    Outbox, Tag,
    state::{Closing, Phase, State},
};
use crate::util::{
    sync::{MutexGuard, atomic::Ordering::Release, yield_thread},
    wake,
};
use realtime_protocol::Close;
use std::task::Waker;

/// Frames taken back. When these have returned, the transport is given none of them any more; of a frame that was begun
/// to be written, the rest is.
impl Outbox {
    /// Drops all frames and closes, also where a close has begun that waits behind frames. `discard` drops those that
    /// have left the outbox, and returns whom to wake; it comes before the driver can send the close.
    pub(crate) fn revoke(&self, close: Close, discard: impl FnOnce() -> Option<Waker>) {
        let Some(state) = self.lock_between_writes() else { return };
        let waker = discard();
        if state.phase.takes_frames() || (state.bytes() > 0 && !state.is_discarding()) {
            self.start_close(state, close, Closing::Discarding);
        } else {
            drop(state);
        }
        wake(waker);
    }

    /// Drops what is held back of a topic.
    pub(crate) fn drop_held(&self, topic: Tag) {
        let mut state = self.lock();
        let Some(behind) = &mut state.behind else { return };
        behind.remove(topic);
        if behind.is_empty() {
            state.behind = None;
            self.is_behind.store(false, Release);
        }
    }

    /// Drops all frames and closes if anything waits for the client: frames do not say which topic they are of.
    pub(crate) fn revoke_waiting(&self, close: Close, discard: impl FnOnce() -> Option<Waker>) {
        let Some(state) = self.lock_between_writes() else { return };
        if state.bytes() == 0 || state.is_discarding() {
            return;
        }
        // A close that has begun is behind these frames: it comes again, without them.
        let close = match &state.phase {
            Phase::Closing(own, _) => Close::clone(own),
            _ => close,
        };
        let waker = discard();
        self.start_close(state, close, Closing::Discarding);
        wake(waker);
    }

    /// Locks the state while the transport writes nothing; `None` if it never will again. A write does not wait for the
    /// client, so this is short.
    fn lock_between_writes(&self) -> Option<MutexGuard<'_, State>> {
        loop {
            let state = self.lock();
            if state.phase == Phase::Closed {
                return None;
            }
            if !state.is_writing {
                return Some(state);
            }
            drop(state);
            yield_thread();
        }
    }
}
