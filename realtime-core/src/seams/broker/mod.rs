//! The link between the nodes of a cluster, and what passes over it.

mod append_error;
mod memory;
mod proof;
mod publication;
mod record;
mod valid;
mod wire;

pub use append_error::AppendError;
pub use memory::MemoryBroker;
pub use proof::Proof;
pub use publication::Publication;
pub(crate) use record::check_top;
pub use record::{Body, Draft, Logged, Page, Record, Retention, Writer};

use async_trait::async_trait;
use bytes::Bytes;
use realtime_protocol::{Code, Error, Position, Result};
use std::{fmt, time::Duration};

/// The link between the nodes of a cluster: carries publications to the members on other nodes, and keeps the logs of
/// feeds.
///
/// A node delivers a publication to its own members directly; the broker carries it to the other nodes. An entry of a
/// feed is delivered only when it comes back with its place in the log, on the node that appended it too. Without a
/// broker, a node is alone.
///
/// `publish` and `receive` make a broker that is complete for topics; [`abilities`](Self::abilities) says what else it
/// can do. `publish`, `follow` and `receive` are each called by one task, which waits for one call to finish before
/// it makes the next; the others are called by many tasks at once.
///
/// A call that is never answered must not hold up the others: `publish` and `follow` are given up after 10 s, `append`, `read` and
/// `tops` after [`Config::append_timeout`](crate::Config::append_timeout). Their futures are then dropped. A `receive` that brings
/// nothing takes the node [out of service](crate::Readiness).
///
/// An error from a broker never means that something was not done, unless the method says so: a request whose answer
/// is lost may have been carried out.
#[async_trait]
pub trait Broker: Send + Sync + fmt::Debug + 'static {
    /// Returns what the broker can do beside carrying publications.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// Returns the number of the shard that carries this topic, below [`Abilities::shards`].
    fn shard_of(&self, topic: &str) -> usize {
        let _ = topic;
        0
    }

    /// Changes what this node is brought; returns once that is confirmed.
    ///
    /// By default a node is brought everything. After a lost connection the broker restores what was asked for by
    /// itself, and then reports [`Missed`].
    ///
    /// # Errors
    ///
    /// The change may have been made or not; it is asked for again.
    async fn follow(&self, changes: &[FollowChange]) -> Result {
        let _ = changes;
        Ok(())
    }

    /// Hands publications to the other nodes, in this order; returns once the broker has accepted all of them.
    ///
    /// # Errors
    ///
    /// See [`Untaken`]. What the broker certainly has not taken is tried again later if the error
    /// [is retryable](Error::is_retryable); what it may have taken is not, because a publication arrives at most once.
    /// After an [`Error`] passed on by `?`, a panic, or no answer in time, all of the batch may have been taken:
    /// [`Untaken::all`] is for an error from before anything was sent.
    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken>;

    /// Appends a record to the log of a feed; returns the position of its last entry.
    ///
    /// `again_since` is set where an earlier attempt of the same draft may have succeeded: the end of the log as the
    /// node knew it before the first. The broker then looks behind it for a record of this [`Writer`], and returns the
    /// position of that one instead of appending another. If it cannot see all of the log behind `again_since` any more,
    /// the outcome is [`AppendError::Unknown`]. So it is where that position was lost, because what was appended since may
    /// be before it, unless the log has dropped nothing yet.
    ///
    /// # Errors
    ///
    /// [`AppendError::Refused`] if the record certainly is not in the log; [`AppendError::Unknown`] if it may be.
    async fn append(&self, draft: &Draft, again_since: Option<&Position>) -> Result<Position, AppendError> {
        let _ = (draft, again_since);
        Err(AppendError::Refused(no_logs()))
    }

    /// Returns the records that hold entries behind the offset `after`, oldest first: as many as fit in about `limit`
    /// bytes, one at least if there is one.
    ///
    /// # Errors
    ///
    /// The log could not be read; the call is repeated.
    async fn read(&self, topic: &str, after: u64, limit: usize) -> Result<Page> {
        let _ = (topic, after, limit);
        Err(no_logs())
    }

    /// Returns the position of the newest entry of each log, in the order of `topics`.
    ///
    /// # Errors
    ///
    /// The logs could not be read; the call is repeated. An append that needs it is refused with an error that is not
    /// [retryable](Error::is_retryable).
    async fn tops(&self, topics: &[&str]) -> Result<Vec<Position>> {
        let _ = topics;
        Err(no_logs())
    }

    /// Stores `value` under `key` for `keep`, unless there is a value. Returns that of another, or `None` if the key
    /// is now the caller's.
    ///
    /// # Errors
    ///
    /// The value may have been stored or not.
    async fn claim(&self, key: &str, value: &[u8], keep: Duration) -> Result<Option<Bytes>> {
        let _ = (key, value, keep);
        Err(Error::new(Code::UNIMPLEMENTED, "this broker stores no claims"))
    }

    /// Replaces the value `from` under `key` by `to`, kept for `keep`. Returns false if the value was another.
    ///
    /// # Errors
    ///
    /// The value may have been replaced or not.
    async fn settle(&self, key: &str, from: &[u8], to: &[u8], keep: Duration) -> Result<bool> {
        let _ = (key, from, to, keep);
        Err(Error::new(Code::UNIMPLEMENTED, "this broker stores no claims"))
    }

    /// Waits for what the broker brings, and adds it to `into`: at least one arrival. A node is brought its own
    /// publications and records too, and ignores the publications.
    ///
    /// # Errors
    ///
    /// The link is down; the call is retried after a second.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must lose nothing.
    async fn receive(&self, into: &mut Vec<Arrival>) -> Result;
}

fn no_logs() -> Error {
    Error::new(Code::UNIMPLEMENTED, "this broker keeps no logs: feeds need one that does")
}

/// The abilities of a [`Broker`] beside carrying publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// It keeps the logs of feeds: `append`, `read` and `tops`.
    pub logs: bool,
    /// It stores claims: `claim` and `settle`.
    pub claims: bool,
    /// The number of parts that fail independently of each other, 1 by default.
    pub shards: usize,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { logs: false, claims: false, shards: 1 }
    }
}

impl Abilities {
    /// Adds logs.
    #[must_use = "the changed abilities are returned"]
    pub const fn with_logs(mut self) -> Self {
        self.logs = true;
        self
    }

    /// Adds claims.
    #[must_use = "the changed abilities are returned"]
    pub const fn with_claims(mut self) -> Self {
        self.claims = true;
        self
    }

    /// Sets the number of shards, at least one.
    #[must_use = "the changed abilities are returned"]
    pub const fn with_shards(mut self, shards: usize) -> Self {
        self.shards = if shards == 0 { 1 } else { shards };
        self
    }
}

/// A change to what a node is brought.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FollowChange {
    /// The name of the topic or feed.
    pub topic: String,
    /// The kind of messages.
    pub of: Source,
    /// False to end it.
    pub wanted: bool,
}

/// The two kinds of messages under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The publications of a topic.
    Topic,
    /// The records of a feed.
    Log,
}

/// Something that a broker brings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// A publication to a topic.
    Publication(Publication),
    /// A record of a feed. It may come twice, or late.
    Record(Record),
    /// Something may have been missed.
    Missed(Missed),
}

/// The topics and feeds of which a node may have missed something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// All of them.
    All,
    /// Those that one shard carries.
    Shard(usize),
    /// Those of these names.
    Topics(Vec<String>),
}

/// The outcome of a batch of publications that the broker has not accepted as a whole.
///
/// Those that were certainly not accepted are handed over again: after a pause if the error is retryable, and otherwise one by one,
/// where each that is refused again is dropped.
#[derive(Debug)]
pub struct Untaken {
    /// The number of publications that were accepted: the first ones.
    pub taken: usize,
    /// The number of those behind them that may have been accepted. More than there are means all of them.
    pub unsure: usize,
    /// The reason.
    pub error: Error,
}

impl Untaken {
    /// Says that certainly nothing of a batch was accepted.
    pub fn all(error: Error) -> Self {
        Self { taken: 0, unsure: 0, error }
    }
}

/// Says that all of a batch may have been accepted: an error does not tell what was done before it.
impl From<Error> for Untaken {
    fn from(error: Error) -> Self {
        Self { taken: 0, unsure: usize::MAX, error }
    }
}
