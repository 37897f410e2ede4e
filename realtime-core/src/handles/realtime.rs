use super::{AnyConnection, AnyTopic, Audience, Feed, FeedUpdates, Memory, Past, Topic, any_topic::Name};
use crate::{
    config::Config,
    context::Principal,
    hub::{Drained, Hub, Readiness, RevokedFrom, drain},
    seams::{AppendError, Runtime},
};
use realtime_protocol::{ConnectionId, Position, Presence, Present, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// The registry that an application builds at start-up and mounts with an adapter.
///
/// A clone is another handle to the same registry. Its clock stops when the last handle and all connections are gone.
///
/// # Examples
///
/// ```
/// use realtime_core::{FnConnection, Realtime, Topic};
///
/// let realtime = Realtime::builder()
///     .handler_fn("news", |connection: FnConnection<(), String>| async move {
///         connection.subscribe(&Topic::fixed("news"))?;
///         connection.closed().await;
///         Ok(())
///     })
///     .build();
/// realtime.to(&Topic::fixed("news")).send(&"hello".to_owned()).unwrap();
/// ```
#[derive(Clone)]
pub struct Realtime(pub(crate) Arc<Hub>);

impl Realtime {
    pub(crate) fn of(hub: &Arc<Hub>) -> Self {
        Self(Arc::clone(hub))
    }

    /// Publishes to a topic: select the members on the returned builder, then call `send` or `emit`.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Event, Realtime, Result, Topic};
    ///
    /// const NEWS: Topic<String> = Topic::fixed("news");
    /// const LATE: Event<u64> = Event::new("LATE");
    ///
    /// fn announce(realtime: &Realtime) -> Result {
    ///     realtime.to(&NEWS).send(&"the next train is late".into())?;
    ///     realtime.to(&NEWS).emit(LATE, &10)
    /// }
    /// ```
    pub fn to<'a, T>(&'a self, topic: &'a Topic<T>) -> Audience<'a, T> {
        Audience::new(&self.0, None, topic)
    }

    /// Appends an entry to a feed, and returns its position.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the entry may be in the log or not.
    pub async fn append<T: Serialize + Sync + 'static>(
        &self,
        feed: &Feed<T>,
        entry: &T,
    ) -> Result<Position, AppendError> {
        self.0.append(feed.name(), feed.log(), entry, feed.key_of(entry)).await
    }

    /// Returns the position of the newest entry of a feed, or that before its first.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a feed whose name is empty or over 256 bytes, `RESOURCE_EXHAUSTED` over
    /// [`Config::feeds`]. With a broker, `UNIMPLEMENTED` if it keeps no logs, and `UNAVAILABLE` if it does not answer within
    /// [`Config::append_timeout`].
    pub async fn position<T>(&self, feed: &Feed<T>) -> Result<Position> {
        self.0.position_of(feed.name(), feed.log()).await
    }

    /// Returns the past of a feed.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Feed, Log, Realtime, Result, Topic};
    ///
    /// const NEWS: Feed<String> = Topic::fixed("news").log(Log::last(100));
    ///
    /// async fn latest(realtime: &Realtime) -> Result<Vec<String>> {
    ///     let history = realtime.history(&NEWS).last(10).await?;
    ///     Ok(history.items.into_iter().map(|item| item.value).collect())
    /// }
    /// ```
    pub fn history<'a, T>(&self, feed: &'a Feed<T>) -> Past<'a, T> {
        Past::new(self.clone(), feed)
    }

    /// Follows a feed on the server, for a projection or a bot: behind a position, or from the end of the log on. Over a
    /// broker it begins when it is polled and the log is known here, however long that takes.
    ///
    /// # Errors
    ///
    /// As [`position`](Self::position).
    pub fn follow<T>(&self, feed: &Feed<T>, after: Option<&Position>) -> Result<FeedUpdates<T>> {
        FeedUpdates::new(self, feed, after)
    }

    /// Returns the clients present in a place, with a broker those on all nodes; those whose data does not parse as `P`
    /// are skipped.
    pub fn present<P: DeserializeOwned>(&self, presence: &Presence<P>) -> Vec<Present<P>> {
        read(self.0.present(presence.name()))
    }

    /// Returns the clients of this node that are present in a place, with what they have entered here; see
    /// [`present`](Self::present).
    pub fn present_here<P: DeserializeOwned>(&self, presence: &Presence<P>) -> Vec<Present<P>> {
        read(self.0.present_here(presence.name()))
    }

    /// Returns the connection with this id, if it is open on this node.
    pub fn find(&self, id: ConnectionId) -> Option<AnyConnection> {
        self.0.connections.find(id).map(AnyConnection::new)
    }

    /// Returns the open connections of this node for which `filter` returns true.
    pub fn filter(&self, mut filter: impl FnMut(&AnyConnection) -> bool) -> Vec<AnyConnection> {
        let all = self.0.connections.all().into_iter().map(AnyConnection::new);
        all.filter(|connection| filter(connection)).collect()
    }

    /// Returns the number of open connections on this node.
    pub fn connections(&self) -> usize {
        self.0.connections.len()
    }

    /// Returns whether new clients should be sent to this node: it is not draining, and what it publishes arrives. A
    /// load balancer asks for it by a route, such as
    ///
    /// `get(move || async move { (realtime.readiness().status(), realtime.readiness().to_json()) })`
    ///
    /// on axum. A node whose clock does not run is ready unless it drains: its first client starts the clock. Call
    /// [`start`](Self::start) where the broker should be checked before.
    pub fn readiness(&self) -> Readiness {
        self.0.readiness()
    }

    /// Returns the counters of this node.
    pub fn stats(&self) -> Stats {
        let hub = &self.0;
        let counters = &hub.counters;
        Stats {
            connections: hub.connections.len(),
            topics: hub.topics.len(),
            accepted: counters.accepted.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            feeds: hub.feeds.len(),
            log_bytes: hub.feeds.bytes(),
            appended: counters.appended.load(Relaxed),
            published: counters.published.load(Relaxed),
            delivered: counters.delivered.load(Relaxed),
            slow_consumers: counters.slow_consumers.load(Relaxed),
            broker_failures: counters.broker_failures.load(Relaxed),
            ready: hub.readiness().ready,
            nodes: hub.other_nodes(),
            memory: Memory::of(&hub.ledger),
        }
    }

    /// Ends all that a principal has. When this returns, nothing more of it leaves this node: what is queued for it is
    /// dropped, in outboxes and behind them; its connections close with 3000 and the reason `revoked`; its streams end;
    /// its calls by HTTP are answered with 401; its memberships and places are left; kept outcomes of calls with an
    /// idempotency key are forgotten. Its running calls are dropped when their connection has its next turn. A request
    /// that middleware has let in before, and that becomes a connection or an answer after, is ended too. Returns the
    /// number of its open connections on this node.
    ///
    /// Frames leave when the transport is given them: bytes in a socket's buffer have left, and so has a frame of which a
    /// part is there, the rest of which follows. A `Principal` is [set by middleware](Principal), which should refuse it
    /// from now on: revoke it there first. Waits for writes of its connections that are being made.
    ///
    /// With a broker, the other nodes are told, and do the same when they hear of it. They are told every second until they
    /// confirm, also when they come back within ten minutes after a partition; of more than 1 MiB of names, the oldest
    /// are dropped, and a principal of more than 8 KiB is not told. [`revoked_everywhere`](Self::revoked_everywhere) waits
    /// for the confirmations, and fails if some were dropped too early, or not told. A node that starts later is not told: who connects there was let in after.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Principal, Realtime};
    ///
    /// fn block(realtime: &Realtime, user: &str) {
    ///     // First where middleware looks, so that it does not let the user in again.
    ///     # fn mark_as_blocked(_: &str) {}
    ///     mark_as_blocked(user);
    ///     realtime.revoke(&Principal(user.into()));
    /// }
    /// ```
    pub fn revoke(&self, principal: &Principal) -> usize {
        self.0.revoke_on_all_nodes(principal, None)
    }

    /// Waits until each other node that is heard has done what was revoked on this one so far, by [`revoke`](Self::revoke)
    /// and [`revoke_from`](Self::revoke_from). A node that is lost from sight meanwhile does not count: it is parted, and
    /// is told once it is back, or it has ended. Returns at once without a broker; with one, the node has to have heard
    /// what it publishes for 2 s without a break, by when it has heard the others.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` if a node has not confirmed within 10 s, or if the broker does not work for this node: then others may
    /// live that it does not hear. They go on being told. Also for ten minutes after revocations were dropped, of more than
    /// 1 MiB, that a node which is heard had not confirmed, or the principal was longer than 8 KiB.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the other nodes are told nevertheless.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Principal, Realtime, Result};
    ///
    /// /// When it returns, nothing more leaves for the user from any node that is heard.
    /// async fn block(realtime: &Realtime, user: &str) -> Result {
    ///     # fn mark_as_blocked(_: &str) {}
    ///     mark_as_blocked(user);
    ///     realtime.revoke(&Principal(user.into()));
    ///     realtime.revoked_everywhere().await
    /// }
    /// ```
    pub async fn revoked_everywhere(&self) -> Result {
        self.0.revoked_everywhere().await
    }

    /// Ends the memberships of a principal in a topic or feed. When this returns, nothing more of the topic leaves this node
    /// for it; other nodes are told as by [`revoke`](Self::revoke). A connection for which nothing waits stays open, and
    /// may subscribe again: the application has to refuse that first. One for which something waits, of this topic or
    /// not, is closed with 3000, and what waits is dropped; its client connects again. Returns the number of the
    /// principal's connections on this node, members or not.
    ///
    /// Frames leave as in [`revoke`](Self::revoke); of a stream of server-sent events for which nothing waits, up to
    /// 64 KiB are with the framework.
    ///
    /// From a [`Feed`], it ends the principal's subscriptions with the error `UNAUTHENTICATED`, `revoked`, and what its
    /// handlers follow. A subscription that was asked for before, and begins after, is ended too.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Feed, Log, Principal, Realtime, Topic};
    ///
    /// const ROOM: Topic<String> = Topic::fixed("room");
    /// const NEWS: Feed<String> = Topic::fixed("news").log(Log::last(100));
    ///
    /// fn expel(realtime: &Realtime, user: &Principal) {
    ///     realtime.revoke_from(user, &ROOM);
    ///     realtime.revoke_from(user, &NEWS);
    /// }
    /// ```
    pub fn revoke_from(&self, principal: &Principal, topic: &impl AnyTopic) -> usize {
        let from = match topic.in_kind() {
            Name::Topic(name) => RevokedFrom::Topic(name.to_owned()),
            Name::Feed(name) => RevokedFrom::Feed(name.to_owned()),
        };
        self.0.revoke_on_all_nodes(principal, Some(from))
    }

    /// Ends all connections before a shutdown: refuses new ones with 503, closes the open ones with 1001 in batches
    /// over the first half of `deadline`, waits for them to end, and cuts the rest at the deadline.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, new connections are still refused, and those not yet closed stay open.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        drain(Arc::clone(&self.0), deadline).await
    }

    /// Starts the clock and the link to the broker. The first connection does this too; call it on a node that
    /// publishes before it has connections.
    pub fn start(&self, runtime: impl Runtime) {
        self.0.start(|| Arc::new(runtime));
    }

    /// Returns the limits this registry was built with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Advances the clock by one tick. Only with [`RealtimeBuilder::manual_time`].
    ///
    /// # Panics
    ///
    /// If the clock runs by itself.
    #[doc(hidden)]
    #[track_caller]
    pub fn tick(&self) {
        assert!(self.0.manual_time, "the clock runs by itself");
        self.0.tick();
    }
}

/// Reads the data of present clients; those that do not parse are skipped.
fn read<P: DeserializeOwned>(present: Vec<Present<serde_json::Value>>) -> Vec<Present<P>> {
    let read =
        |present: Present<_>| Some(Present::new(present.connection, serde_json::from_value(present.data).ok()?));
    present.into_iter().filter_map(read).collect()
}

impl fmt::Debug for Realtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Realtime").field(&self.0).finish()
    }
}

/// Counters of a node, for dashboards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Open connections.
    pub connections: usize,
    /// Topics that have members.
    pub topics: usize,
    /// Requests that became connections.
    pub accepted: u64,
    /// Refused requests.
    pub refused: u64,
    /// Feeds that have followers or entries, or had them lately.
    pub feeds: usize,
    /// Bytes of the logs of all feeds.
    pub log_bytes: usize,
    /// Entries appended to feeds.
    pub appended: u64,
    /// Publications.
    pub published: u64,
    /// Publications queued for a member, and entries queued as they were appended, counted for each member.
    pub delivered: u64,
    /// Connections closed because the client did not read fast enough.
    pub slow_consumers: u64,
    /// Publications that the broker did not accept after all retries, and failures to receive one.
    pub broker_failures: u64,
    /// The node is [ready](Realtime::readiness).
    pub ready: bool,
    /// Other nodes that are heard.
    pub nodes: usize,
    /// Bytes held for clients, and what was done to hold no more.
    pub memory: Memory,
}
