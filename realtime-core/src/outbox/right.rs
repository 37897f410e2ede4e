use super::PushError;
use crate::util::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

/// The right of one follower of a feed to queue frames.
///
/// It is looked at under the lock under which frames are taken back: what is queued before a revocation is dropped, and
/// nothing is queued after it.
#[derive(Debug, Default)]
pub(crate) struct Right {
    revoked: AtomicBool,
}

impl Right {
    /// Ends the right. What is queued is still to be taken back.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Release);
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Acquire)
    }

    pub(super) fn check(&self) -> Result<(), PushError> {
        if self.is_revoked() { Err(PushError::Closed) } else { Ok(()) }
    }
}
