//! Principals revoked from a feed.

use super::{FeedState, Feeds};
use crate::{
    context::Principal,
    hub::{Client, Hub, Name, client::Memberships, members::Effects, revocations::revoked},
    outbox::Tag,
};
use realtime_protocol::Result;
use std::{collections::VecDeque, hash::BuildHasher, sync::Arc};

/// The feeds and topics that a connection was revoked from of late. One that was let in before a revocation may begin to follow
/// after it.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// The number of revocations so far.
    count: u64,
    /// The feeds or topics of the last ones, in order.
    recent: VecDeque<Tag>,
}

/// Revocations that a connection remembers. Of one that took longer to begin, nothing is known any more, and it is
/// refused.
const RECENT: usize = 16;

impl Left {
    fn add(&mut self, feed: Tag) {
        self.count += 1;
        self.recent.push_back(feed);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// Returns true if the feed may be among those that were left since there had been so many.
    fn has(&self, feed: Tag, since: u64) -> bool {
        let later = (self.count - since) as usize;
        later > self.recent.len() || self.recent.iter().rev().take(later).any(|left| *left == feed)
    }
}

impl Memberships {
    pub(crate) fn times_revoked(&self) -> u64 {
        self.left.as_ref().map_or(0, |left| left.count)
    }

    pub(super) fn was_revoked(&self, feed: Tag, since: u64) -> bool {
        self.left.as_ref().is_some_and(|left| left.has(feed, since))
    }
}

impl Hub {
    /// Ends all that a principal has of a feed on this node; returns the number of its connections.
    pub(crate) fn revoke_from_feed(&self, principal: &Principal, name: &str) -> usize {
        let clients = self.principals.of(principal);
        let tag = self.feeds.tag(name);
        // First of all: one that begins to follow from here on sees it, and one that has begun is found below.
        clients.iter().for_each(|client| client.leave_feed(name, tag));
        let effects = self.feeds.revoke(principal, name);
        clients.iter().for_each(|client| client.take_back());
        effects.run();
        clients.len()
    }
}

impl Feeds {
    /// Returns a hash of a feed's name: two feeds with one hash are too unlikely to matter.
    pub(super) fn tag(&self, name: &str) -> Tag {
        self.hasher.hash_one(name)
    }

    /// Ends the right of the principal's followers to queue entries. Returns the tasks to wake for that.
    fn revoke(&self, principal: &Principal, name: &str) -> Effects {
        let mut effects = Effects::take();
        let feed = self.shard(name).read().get(name).cloned();
        if let Some(feed) = feed {
            feed.revoke(principal, &mut effects);
        }
        effects
    }
}

impl FeedState {
    fn revoke(&self, principal: &Principal, effects: &mut Effects) {
        self.followers.for_each(|follower| {
            if follower.client().is_some_and(|client| client.context.principal() == Some(principal)) {
                follower.revoke(effects);
            }
        });
    }
}

impl Client {
    /// Returns how often it was revoked from feeds and topics.
    pub(crate) fn times_revoked(&self) -> u64 {
        self.topics.lock().times_revoked()
    }

    /// Fails if it was revoked from the feed since then.
    pub(crate) fn may_follow(&self, name: &str, since: u64) -> Result {
        let tag = self.hub.feeds.tag(name);
        if self.topics.lock().was_revoked(tag, since) { Err(revoked()) } else { Ok(()) }
    }

    /// Fails if it was revoked from the topic since then.
    pub(crate) fn may_hear(&self, topic: &str, since: u64) -> Result {
        let tag = self.hub.topics.tag(Name::Topic(topic));
        if self.topics.lock().was_revoked(tag, since) { Err(revoked()) } else { Ok(()) }
    }

    /// Notes that it is revoked from a feed or topic.
    pub(in crate::hub) fn note_revoked(&self, tag: Tag) {
        self.topics.lock().left.get_or_insert_default().add(tag);
    }

    /// Notes the revocation, and ends what the handler follows.
    fn leave_feed(self: &Arc<Self>, name: &str, tag: Tag) {
        self.note_revoked(tag);
        self.unfollow(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_a_revocation_is_refused() {
        let mut left = Left::default();
        assert!(!left.has(1, 0));
        left.add(1);
        assert!(left.has(1, 0) && !left.has(2, 0) && !left.has(1, 1));
        (2..18).for_each(|feed| left.add(feed));
        // It is not known any more which the first was.
        assert!(left.has(100, 0) && !left.has(100, 1) && left.has(17, 16));
        assert_eq!(left.recent.len(), RECENT);
    }
}
