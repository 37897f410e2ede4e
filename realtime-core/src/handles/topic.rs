use super::Feed;
use crate::{hub::Log, outbox::Keeping};
use realtime_protocol::{Overflow, internal::Policy};
use std::{borrow::Cow, fmt};

/// A named topic that messages of type `T` are published to.
///
/// A message reaches the members of the moment, at most once. For messages that a client may miss while it is away there
/// are [feeds](Self::log); `docs/delivery.md` compares them.
///
/// # Examples
///
/// ```
/// use realtime_core::Topic;
///
/// const NEWS: Topic<String> = Topic::fixed("news");
/// let room: Topic<String> = Topic::new(format!("room:{}", 7));
/// assert_eq!((NEWS.name(), room.name()), ("news", "room:7"));
/// ```
///
/// A name has 1 to 256 bytes and no ASCII control characters, since it goes to logs and brokers. Names are checked
/// where they are used, and invalid ones are refused with `INVALID_ARGUMENT`, so a name may contain client input.
pub struct Topic<T> {
    name: Cow<'static, str>,
    /// `None` for the default.
    overflow: Option<Overflow<T>>,
}

impl<T> Topic<T> {
    /// Creates a topic named at compile time.
    pub const fn fixed(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), overflow: None }
    }

    /// Creates a topic named at run time.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), overflow: None }
    }

    /// Sets the policy for a member that does not keep up; by default it is [closed](Overflow::close). The policy of
    /// the `Topic` passed to `subscribe` applies; the key of [`Overflow::conflate`] is that of the `Topic` published
    /// to.
    #[must_use = "the changed topic is returned"]
    pub const fn with_overflow(mut self, overflow: Overflow<T>) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// Makes it a feed: its messages are kept in a log, from which clients that were away go on.
    ///
    /// The names of topics and feeds are separate: publishing to a topic adds nothing to the log of a feed.
    pub const fn log(self, log: Log) -> Feed<T> {
        Feed::new(self, log)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn keeping(&self) -> Keeping {
        match self.policy().unwrap_or(Policy::Close).into() {
            // A publisher never waits.
            Keeping::Block => Keeping::Nothing,
            keeping => keeping,
        }
    }

    /// Returns the key of the messages that this one replaces.
    pub(crate) fn key_of(&self, message: &T) -> Option<String> {
        if let Some(Policy::Conflate(key)) = self.policy() { Some(key(message)) } else { None }
    }

    /// Returns the policy that was set.
    pub(super) fn policy(&self) -> Option<Policy<T>> {
        self.overflow.map(|overflow| overflow.0)
    }
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), overflow: self.overflow }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", self.name)
    }
}
