use std::time::Duration;

/// The entries that a [`Feed`](crate::Feed) keeps for those who follow it later: a number, an age and a size, whichever
/// is reached first.
///
/// The log of the `Feed` that was last appended to applies. All logs of a node together keep at most
/// [`Config::log_bytes`](crate::Config::log_bytes).
///
/// # Examples
///
/// ```
/// use realtime_core::{Feed, Log, Topic};
/// use std::time::Duration;
///
/// const NEWS: Feed<String> = Topic::fixed("news").log(Log::last(100).within(Duration::from_secs(3600)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub(super) entries: usize,
    pub(super) within: Duration,
    pub(super) bytes: usize,
}

impl Log {
    /// Keeps the newest `entries`, at least one, for 10 minutes and up to 1 MiB: a client that was away for minutes
    /// resumes, and a forgotten feed takes no memory for long.
    pub const fn last(entries: usize) -> Self {
        let entries = if entries == 0 { 1 } else { entries };
        Self { entries, within: Duration::from_secs(600), bytes: 1024 * 1024 }
    }

    /// Keeps entries for this time. The feed itself, and with it the meaning of its positions, lasts as long after its
    /// last use.
    #[must_use = "the changed log is returned"]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Keeps at most this many bytes: of each entry its encoded forms, its key and 320 bytes more. A larger entry is
    /// refused.
    #[must_use = "the changed log is returned"]
    pub const fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }
}

/// 1000 entries.
impl Default for Log {
    fn default() -> Self {
        Self::last(1000)
    }
}
