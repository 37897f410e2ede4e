//! Principals revoked from a feed.

use super::{FeedState, Feeds};
use crate::{
    context::Principal,
    hub::{
        Client, Hub, Name,
        client::Memberships,
        members::Effects,
        revocations::{REASON, revoked},
        topics::Membership,
    },
    outbox::Tag,
};
use realtime_protocol::{CloseCode, ConnectionId, Result};
use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasher,
    sync::Arc,
};

/// The feeds and topics that a connection was revoked from of late. One that was let in before a revocation may begin to follow
/// after it.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// The number of revocations so far.
    count: u64,
    /// The feeds or topics of the last ones, in order.
    recent: VecDeque<Tag>,
}

/// The number of revocations that each connection has seen with the one that is under way.
type Seen = HashMap<ConnectionId, u64>;

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

    /// Takes a followed feed off the list; the caller drops it without the lock.
    pub(super) fn take_feed(&mut self, name: &str) -> Option<Membership> {
        let at = self.list.iter().position(|membership| membership.is_of_feed(name))?;
        Some(self.list.swap_remove(at))
    }

    pub(super) fn was_revoked(&self, feed: Tag, since: u64) -> bool {
        self.left.as_ref().is_some_and(|left| left.has(feed, since))
    }
}

impl Hub {
    /// Ends all that a principal has of a feed on this node; returns the number of its connections.
    pub(in crate::hub) fn revoke_from_feed(&self, principal: &Principal, name: &str) -> usize {
        let clients = self.principals.of(principal);
        let tag = self.feeds.tag(name);
        // First of all: one that begins to follow from here on sees it, and one that has begun is found below. One that is
        // asked for from here on has a right of its own.
        let seen = clients.iter().map(|client| (client.id, client.leave_feed(name, tag))).collect();
        let (late, effects) = self.feeds.revoke(principal, name, &seen);
        clients.iter().for_each(|client| client.take_back());
        // They connected meanwhile, and nobody knows if before or after the application let go of them.
        late.iter().for_each(|client| client.close(CloseCode::UNAUTHORIZED, REASON));
        effects.run();
        clients.len()
    }
}

impl Feeds {
    /// Returns a hash of a feed's name: two feeds with one hash are too unlikely to matter.
    pub(super) fn tag(&self, name: &str) -> Tag {
        self.hasher.hash_one(name)
    }

    /// Ends the right of the principal's followers to queue entries, but of those that were asked for after their clients
    /// had `seen` the revocation. Returns the clients that are to be told, and the tasks to wake.
    fn revoke(&self, principal: &Principal, name: &str, seen: &Seen) -> (Vec<Arc<Client>>, Effects) {
        let mut effects = Effects::take();
        let feed = self.shard(name).read().get(name).cloned();
        let late = feed.map_or_else(Vec::new, |feed| feed.revoke(principal, seen, &mut effects));
        (late, effects)
    }
}

impl FeedState {
    fn revoke(&self, principal: &Principal, seen: &Seen, effects: &mut Effects) -> Vec<Arc<Client>> {
        let mut late = Vec::new();
        self.followers.for_each(|follower| {
            let Some(client) = follower.client().filter(|client| client.context.principal() == Some(principal))
            else {
                return;
            };
            match seen.get(&client.id) {
                Some(revocations) if !follower.is_older_than(*revocations) => return,
                Some(_) => {}
                None if follower.is_of_messages() => late.push(Arc::clone(client)),
                None => {}
            }
            follower.revoke(effects);
        });
        late
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

    /// Notes that it is revoked from a topic.
    pub(in crate::hub) fn note_revoked(&self, tag: Tag) {
        self.topics.lock().left.get_or_insert_default().add(tag);
    }

    /// Notes the revocation, and ends what the handler follows. Returns the number of revocations that it has seen.
    fn leave_feed(self: &Arc<Self>, name: &str, tag: Tag) -> u64 {
        let (revocations, ended) = {
            let mut topics = self.topics.lock();
            let left = topics.left.get_or_insert_default();
            left.add(tag);
            (left.count, topics.take_feed(name))
        };
        drop(ended);
        revocations
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
