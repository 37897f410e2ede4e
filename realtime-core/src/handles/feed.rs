use super::Topic;
use crate::{
    calls::{FeedOf, Reply},
    hub::{Attendance, Log},
    outbox::Keeping,
    seams::BoxFuture,
};
use realtime_protocol::{Overflow, Position, Result, internal::Policy};
use serde::Serialize;
use std::fmt;

/// A named topic with a log of its newest messages, the entries. Made by [`Topic::log`].
///
/// Everyone who follows a feed gets every entry once and in order, over lost connections too, or is told in place how
/// many are missing. Nobody is left out, the author neither: offsets without holes are what a client checks.
///
/// A follower is a place in the log and has no queue. One that does not keep up takes no memory and reads on when it
/// can; one that is slower than the log is kept is told of a gap.
///
/// See `docs/delivery.md` for what clients do with positions and gaps, and how a state and its changes fit together.
///
/// With a [`Broker`](crate::Broker) that keeps logs, all nodes share the log of a feed, and an entry is delivered once it
/// has its place there; with another broker feeds are refused with `UNIMPLEMENTED`.
///
/// # Examples
///
/// ```
/// use realtime_core::{Endpoint, Feed, Log, Procedure, Result, Subscription, Topic, Call};
/// use serde::{Deserialize, Serialize};
/// use std::sync::Mutex;
///
/// #[derive(Serialize, Deserialize)]
/// enum Change {
///     Whole(Vec<String>),
///     Added(String),
/// }
///
/// const LIST: Feed<Change> = Topic::fixed("list").log(Log::last(1000));
/// const CHANGES: Subscription<(), Change> = Subscription::new("changes");
/// const ADD: Procedure<String, ()> = Procedure::new("add");
///
/// async fn add(call: Call<Mutex<Vec<String>>>, line: String) -> Result {
///     // First the state, then the log: one who loads the state misses nothing.
///     call.state().lock().unwrap().push(line.clone());
///     call.append(&LIST, &Change::Added(line)).await?;
///     Ok(())
/// }
///
/// let endpoint = Endpoint::new(Mutex::new(Vec::new()))
///     .procedure(ADD, add)
///     .feed(CHANGES, |call: Call<Mutex<Vec<String>>>, ()| async move {
///         Ok(LIST.follow().or_begin_with(move || async move {
///             Ok(Change::Whole(call.state().lock().unwrap().clone()))
///         }))
///     });
/// ```
pub struct Feed<T> {
    topic: Topic<T>,
    log: Log,
}

impl<T> Feed<T> {
    pub(super) const fn new(topic: Topic<T>, log: Log) -> Self {
        Self { topic, log }
    }

    /// Sets the policy for a follower that does not keep up; by default it [waits](Overflow::block). The others skip
    /// entries of the log, with a count, or end the subscription. One that comes back is behind like a slow one, and skips the
    /// same; its subscription is not ended before it has caught up. The key of [`Overflow::conflate`] is that of the
    /// `Feed` appended to.
    #[must_use = "the changed feed is returned"]
    pub fn with_overflow(mut self, overflow: Overflow<T>) -> Self {
        self.topic = self.topic.with_overflow(overflow);
        self
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        self.topic.name()
    }

    /// Follows the feed, for a subscription of an [`Endpoint`](crate::Endpoint::feed): behind the client's position if
    /// it comes back, or from the end of the log on.
    pub fn follow(&self) -> Follow<T> {
        Follow { feed: self.clone(), after: None, begin: None, attendance: None }
    }

    pub(crate) fn log(&self) -> Log {
        self.log
    }

    pub(crate) fn keeping(&self) -> Keeping {
        self.topic.policy().unwrap_or(Policy::Block).into()
    }

    pub(crate) fn key_of(&self, entry: &T) -> Option<String> {
        self.topic.key_of(entry)
    }
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self { topic: self.topic.clone(), log: self.log }
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed({:?})", self.name())
    }
}

/// The feed that a subscription follows, and from where. Made by [`Feed::follow`].
#[must_use = "it is returned to the endpoint"]
pub struct Follow<T> {
    feed: Feed<T>,
    after: Option<Position>,
    begin: Option<Begin<T>>,
    pub(super) attendance: Option<Result<Attendance>>,
}

type Begin<T> = Box<dyn FnMut() -> BoxFuture<'static, Result<T>> + Send>;

impl<T> Follow<T> {
    /// Goes on behind this position, whatever the client's is: a [position](crate::Call::position) that was taken
    /// before the state was loaded, for example.
    pub fn after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }

    /// Makes the first item, the state that the entries change, for a client that comes without a position or cannot
    /// go on from it. The position is taken before `begin` runs, and what is appended meanwhile comes behind the item:
    /// if the state is changed before the change is appended, nothing is missed. A change may come that is in the
    /// state already. Over a broker it runs again, on a clone, when the log has lost what was delivered.
    pub fn or_begin_with<F, R>(mut self, begin: F) -> Self
    where
        F: FnOnce() -> R + Clone + Send + 'static,
        R: Future<Output = Result<T>> + Send + 'static,
    {
        self.begin = Some(Box::new(move || {
            let begin = begin.clone();
            Box::pin(async move { begin().await })
        }));
        self
    }

    pub(crate) fn into_erased(self) -> Result<FeedOf>
    where
        T: Serialize + Send + Sync + 'static,
    {
        let Self { feed, after, begin, attendance } = self;
        let erased = |mut begin: Begin<T>| -> crate::calls::Begin {
            Box::new(move || {
                let begun = begin();
                Box::pin(async move { Ok(Box::new(begun.await?) as Reply) })
            })
        };
        let (name, log, keeping) = (feed.name().to_owned(), feed.log, feed.keeping());
        let (begin, attendance) = (begin.map(erased), attendance.transpose()?);
        Ok(FeedOf { name, log, keeping, after, begin, is_prepared: false, attendance })
    }
}

impl<T> fmt::Debug for Follow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("feed", &self.feed).field("after", &self.after).finish_non_exhaustive()
    }
}
