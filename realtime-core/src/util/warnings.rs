use crate::util::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use std::collections::HashMap;

/// The warnings logged recently, so that one caused by many requests is not logged for each.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    /// Texts, with the tick at which each was logged.
    logged: Mutex<HashMap<Box<str>, u32>>,
    proxy: AtomicBool,
}

impl Warnings {
    /// Returns true if a text should be logged: once in `interval` ticks, and at most [`MAX_TEXTS`] texts in that time.
    pub(crate) fn is_due(&self, text: &str, now: u32, interval: u32) -> bool {
        let mut logged = self.logged.lock();
        let is_recent = |at: u32| now.wrapping_sub(at) < interval;
        if logged.get(text).is_some_and(|&at| is_recent(at)) {
            return false;
        }
        if logged.len() >= MAX_TEXTS {
            logged.retain(|_, at| is_recent(*at));
        }
        let room = logged.len() < MAX_TEXTS || logged.contains_key(text);
        if room {
            logged.insert(text.into(), now);
        }
        room
    }

    /// Returns true if a warning about an untrusted proxy was logged.
    pub(crate) fn has_proxy(&self) -> bool {
        self.proxy.load(Relaxed)
    }

    /// Returns true at the first warning about an untrusted proxy.
    pub(crate) fn is_first_of_proxy(&self) -> bool {
        !self.proxy.swap(true, Relaxed)
    }
}

/// Texts stored, of up to a kilobyte each: clients choose parts of them.
const MAX_TEXTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_logged_once_in_its_interval() {
        let warnings = Warnings::default();
        assert!(warnings.is_due("a", 1, 10));
        assert!(!warnings.is_due("a", 10, 10));
        assert!(warnings.is_due("b", 10, 10));
        assert!(warnings.is_due("a", 11, 10));
        assert!(!warnings.is_due("a", 20, 10));
    }

    #[test]
    fn texts_are_bounded() {
        let warnings = Warnings::default();
        let due = |now| (0..1000).filter(|n| warnings.is_due(&format!("{now} {n}"), now, 10)).count();
        assert_eq!(due(1), MAX_TEXTS);
        assert_eq!(due(5), 0);
        assert_eq!(warnings.logged.lock().len(), MAX_TEXTS);
        assert_eq!(due(11), MAX_TEXTS);
        assert_eq!(warnings.logged.lock().len(), MAX_TEXTS);
    }
}
