use super::{PushError, marks::Tag, state::State};
use crate::util::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

/// The mark of the frames of one follower of a feed, and its right to queue them.
///
/// The right is looked at under the lock under which frames are taken back: what is queued before a revocation is cut
/// out, and nothing is queued after it.
#[derive(Debug)]
pub(crate) struct Label {
    topic: Tag,
    revoked: AtomicBool,
}

impl Label {
    pub(crate) fn new(topic: Tag) -> Self {
        Self { topic, revoked: AtomicBool::new(false) }
    }

    /// Ends the right. What is queued is still to be taken back.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Release);
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Acquire)
    }
}

impl State {
    /// Marks the next `bytes` as a frame with this label, if there is one.
    #[inline]
    pub(super) fn label(&mut self, label: Option<&Label>, bytes: usize) -> Result<(), PushError> {
        let Some(label) = label else { return Ok(()) };
        if label.is_revoked() {
            return Err(PushError::Closed);
        }
        self.mark(label.topic, bytes);
        Ok(())
    }
}
