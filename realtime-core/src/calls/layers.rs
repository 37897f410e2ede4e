use super::around::ErasedAround;
use super::{CallCore, ErasedGuard};
use realtime_protocol::Result;
use std::sync::Arc;

/// What a call passes before its function: guards, and middleware around it.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    pub(crate) guards: Vec<Arc<dyn ErasedGuard>>,
    pub(crate) around: Vec<Arc<dyn ErasedAround>>,
}

impl Layers {
    pub(super) fn is_empty(&self) -> bool {
        self.guards.is_empty() && self.around.is_empty()
    }

    /// Returns these, and then those of `inner`.
    pub(super) fn before(&self, inner: &Self) -> Self {
        Self {
            guards: self.guards.iter().chain(&inner.guards).cloned().collect(),
            around: self.around.iter().chain(&inner.around).cloned().collect(),
        }
    }

    /// Asks the guards about a call.
    pub(super) async fn check(&self, call: &Arc<CallCore>) -> Result {
        for guard in &self.guards {
            guard.check(call).await?;
        }
        Ok(())
    }
}
