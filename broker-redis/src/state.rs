use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// A condition that is logged when it changes, and not each time it shows.
#[derive(Debug)]
pub(crate) struct State {
    what: &'static str,
    is_bad: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// The kind of what is wrong now.
    kind: Option<String>,
    is_logged: bool,
    /// What was logged last.
    last: Option<(String, Instant)>,
}

/// The time within which the same is not logged again: where one of two servers is down, requests fail and succeed by
/// turns.
const QUIET: Duration = Duration::from_secs(10);

impl State {
    pub(crate) const fn new(what: &'static str) -> Self {
        let known = Known { kind: None, is_logged: false, last: None };
        Self { what, is_bad: AtomicBool::new(false), known: Mutex::new(known) }
    }

    /// Says that it is bad, in a way that `kind` names; logs the reason if that is new.
    pub(crate) fn bad(&self, kind: &str, reason: &str) {
        if self.is_news(kind, Instant::now()) {
            tracing::warn!("{}: {reason}", self.what);
        }
    }

    /// Says that it is not bad any more.
    pub(crate) fn good(&self) {
        if self.is_bad.load(Relaxed) && self.was_logged() {
            tracing::info!("{}: works again", self.what);
        }
    }

    fn is_news(&self, kind: &str, now: Instant) -> bool {
        let mut known = self.lock();
        self.is_bad.store(true, Relaxed);
        let is_known = known.is_logged && known.kind.as_deref() == Some(kind);
        let is_recent = |(last, at): &(String, Instant)| last == kind && now.duration_since(*at) < QUIET;
        known.kind = Some(kind.to_owned());
        if is_known {
            return false;
        }
        known.is_logged = !known.last.as_ref().is_some_and(is_recent);
        if known.is_logged {
            known.last = Some((kind.to_owned(), now));
        }
        known.is_logged
    }

    fn was_logged(&self) -> bool {
        let mut known = self.lock();
        self.is_bad.store(false, Relaxed);
        known.kind.take().is_some() && known.is_logged
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_news_and_more_of_the_same_is_not() {
        let (state, now) = (State::new("x"), Instant::now());
        assert!(state.is_news("OOM", now));
        assert!(!state.is_news("OOM", now + QUIET * 2));
        assert!(state.is_news("READONLY", now));
        assert!(state.was_logged());
        assert!(!state.was_logged());
        assert!(state.is_news("OOM", now));
    }

    #[test]
    fn what_comes_and_goes_is_news_once_in_a_while() {
        let (state, now) = (State::new("x"), Instant::now());
        assert!(state.is_news("OOM", now));
        assert!(state.was_logged());
        for _ in 0..3 {
            assert!(!state.is_news("OOM", now + QUIET / 2));
            assert!(!state.was_logged());
        }
        assert!(!state.is_news("OOM", now + QUIET / 2));
        assert!(state.is_news("OOM", now + QUIET), "it stays");
        assert!(state.was_logged());
    }
}
