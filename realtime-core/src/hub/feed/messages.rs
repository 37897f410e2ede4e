//! The feeds that a handler's connection follows: memberships like those of topics.

use super::{Beginning, Following, Log, To};
use crate::{
    hub::{Client, Hub, revocations::revoked, topics::Membership},
    outbox::{Held, Keeping},
    protocol::Outgoing,
    util::wake,
};
use realtime_protocol::{Error, Position, Result};
use std::sync::Arc;

impl Hub {
    /// Adds a follower of a feed for a handler, which does not wait longer for its log than an append does.
    pub(crate) async fn follow_in_time(
        self: &Arc<Self>,
        name: &str,
        log: Log,
        keeping: Keeping,
        after: Option<&Position>,
        since: u64,
        to: impl Fn() -> To,
    ) -> Result<(Following, Beginning)> {
        let following = self.follow_prepared(name, log, keeping, after, since, to);
        let followed = self.before(self.config.append_timeout, following).await;
        followed.unwrap_or_else(|| Err(self.too_late(name)))
    }
}

impl Client {
    /// Sends the client the entries of a feed as messages, behind a position or from the end of the log on.
    pub(crate) async fn follow(
        self: &Arc<Self>,
        name: &str,
        log: Log,
        keeping: Keeping,
        after: Option<&Position>,
    ) -> Result<Beginning> {
        let since = self.times_revoked();
        let to = || To::messages(self);
        let (following, beginning) = self.hub.follow_in_time(name, log, keeping, after, since, to).await?;
        self.join_feed(following, since)?;
        Ok(beginning)
    }

    /// Adds a followed feed to the client's memberships, and begins to send.
    pub(super) fn join_feed(self: &Arc<Self>, following: Following, since: u64) -> Result {
        let follower = Arc::clone(following.follower());
        let name = follower.feed_name();
        // What it replaces leaves its feed outside the lock.
        let replaced = {
            let mut topics = self.topics.lock();
            if topics.closed {
                return Err(Error::failed_precondition("the connection is closed"));
            }
            if topics.was_revoked(self.hub.feeds.tag(name), since) {
                return Err(revoked());
            }
            let at = topics.list.iter().position(|membership| membership.is_of_feed(name));
            let limit = self.hub.config.topics_per_connection;
            if at.is_none() && topics.list.len() >= limit {
                return Err(Error::resource_exhausted(format!("more than {limit} topics on one connection")));
            }
            topics.list.push(Membership::Feed(following));
            at.map(|at| topics.list.swap_remove(at))
        };
        drop(replaced);
        if !follower.arm() {
            wake(self.outbox.hold_feeds());
        }
        Ok(())
    }

    /// Ends the following of a feed.
    pub(crate) fn unfollow(&self, name: &str) {
        let ended = self.topics.lock().take_feed(name);
        drop(ended);
    }

    /// Queues what was held back while the client was behind. For the driver.
    #[cold]
    pub(crate) fn catch_up(&self) {
        while let Some(held) = self.outbox.catch_up() {
            match held {
                Held::Gap(topic, gap) => self.reply(&Outgoing::Gap { id: None, topic: Some(&topic), gap: &gap }),
                Held::Feeds => self.catch_up_feeds(),
            }
        }
    }

    /// Queues the entries that the client's followers have not sent, while there is room.
    fn catch_up_feeds(&self) {
        let followers: Vec<_> = {
            let topics = self.topics.lock();
            topics.list.iter().filter_map(Membership::follower).cloned().collect()
        };
        let is_held = !followers.iter().all(|follower| follower.catch_up(self));
        if is_held {
            // The driver runs, and comes back here when there is room.
            let _ = self.outbox.hold_feeds();
        }
    }
}
