use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// A condition that is logged when it changes, and not each time it shows.
#[derive(Debug)]
pub(crate) struct State {
    what: &'static str,
    is_bad: AtomicBool,
    kind: Mutex<Option<String>>,
}

impl State {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, is_bad: AtomicBool::new(false), kind: Mutex::new(None) }
    }

    /// Says that it is bad in this way; logs the reason if it was not.
    pub(crate) fn bad(&self, kind: &str, reason: &str) {
        if self.replace(Some(kind)).as_deref() != Some(kind) {
            tracing::warn!("{}: {reason}", self.what);
        }
    }

    pub(crate) fn good(&self) {
        if self.is_bad.load(Relaxed) && self.replace(None).is_some() {
            tracing::info!("{}: works again", self.what);
        }
    }

    fn replace(&self, kind: Option<&str>) -> Option<String> {
        let mut current = self.kind.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_bad.store(kind.is_some(), Relaxed);
        std::mem::replace(&mut current, kind.map(str::to_owned))
    }
}
