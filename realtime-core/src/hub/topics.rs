use super::{
    Client, Hub,
    feed::{Follower, Following},
    members::{Effects, Members},
};
use crate::{
    outbox::{Keeping, Post, Tag},
    protocol::Format,
    seams::Source,
    util::{ByName, Few, Hashed, Names, sync::RwLock},
    websocket::Frame,
};
use realtime_protocol::{ConnectionId, Error};
use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// The subscriptions to topics.
///
/// A topic exists while it has members. One lock for each topic makes all members see its publications in one order;
/// shards keep topics from contending. Joining or leaving a large topic waits for a publication no longer than it takes
/// to walk one part of it.
#[derive(Debug)]
pub(crate) struct Topics {
    hasher: RandomState,
    names: Names,
    topics: [RwLock<Map>; SHARDS],
    places: [RwLock<Map>; SHARDS],
}

type Map = ByName<Arc<TopicState>>;

/// The name of a topic, or of a place's topic: the two kinds are separate namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name<'a> {
    Topic(&'a str),
    Place(&'a str),
}

const SHARDS: usize = 64;

/// Names are keys of the hub's map: a client must not choose their size.
const MAX_NAME_BYTES: usize = 256;

#[derive(Debug)]
pub(crate) struct TopicState {
    /// True for the topic of a place.
    is_place: bool,
    name: Arc<str>,
    tag: Tag,
    members: Members,
}

/// A client's side of a subscription.
#[derive(Debug)]
pub(crate) enum Membership {
    Topic {
        topic: Arc<TopicState>,
        /// The part it is in; 0 is the first.
        part: u32,
    },
    Feed(Following),
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Membership>() == 16, "there is one for each topic of each connection");

impl Default for Topics {
    fn default() -> Self {
        let shards = || std::array::from_fn(|_| RwLock::default());
        Self { hasher: RandomState::new(), names: Names::default(), topics: shards(), places: shards() }
    }
}

impl Hub {
    /// Has the broker bring a topic while somebody hears it here, after the first has come or the last has left.
    pub(super) fn look_for_hearers(&self, topic: &Arc<str>) {
        if let Some(link) = &self.link {
            let is_heard = || self.topics.has_members(Name::Topic(topic)) || self.listeners.is_heard(topic);
            let _ = link.look(Source::Topic, topic, self.clock.now(), is_heard);
        }
    }
}

impl Topics {
    /// Subscribes a client; does nothing if it is subscribed already.
    pub(crate) fn join(&self, client: &Arc<Client>, name: Name<'_>, keeping: Keeping) -> Result<(), Error> {
        name.check()?;
        if let Some(begun) = self.join_quietly(client, name, keeping)? {
            self.tell_broker(&client.hub, &begun);
        }
        Ok(())
    }

    /// Returns the topic if it has begun with this member.
    fn join_quietly(
        &self,
        client: &Arc<Client>,
        name: Name<'_>,
        keeping: Keeping,
    ) -> Result<Option<Arc<TopicState>>, Error> {
        let mut topics = client.topics.lock();
        // Checked under the lock that `leave_all` takes: no member can be left behind.
        if topics.closed {
            return Err(Error::failed_precondition("the connection is closed"));
        }
        if topics.list.iter().any(|membership| membership.is_of(name)) {
            return Ok(None);
        }
        let limit = client.hub.config.topics_per_connection;
        if topics.list.len() >= limit {
            return Err(Error::resource_exhausted(format!("more than {limit} topics on one connection")));
        }
        loop {
            let (topic, is_new) = self.find_or_insert(name);
            if let Some(part) = topic.members.insert(client, keeping) {
                let begun = is_new.then(|| Arc::clone(&topic));
                topics.list.push(Membership::Topic { topic, part: part as u32 });
                return Ok(begun);
            }
            // Its last member has left and it is being removed: wait for that by taking its lock.
            self.remove(&topic);
        }
    }

    pub(crate) fn leave(&self, client: &Arc<Client>, name: Name<'_>) {
        let mut topics = client.topics.lock();
        let Some(at) = topics.list.iter().position(|membership| membership.is_of(name)) else { return };
        let membership = topics.list.swap_remove(at);
        drop(topics);
        self.end(client, membership);
    }

    /// Ends all subscriptions of a client and prevents new ones. Returns the places among them.
    pub(super) fn leave_all(&self, client: &Arc<Client>) -> Vec<Arc<str>> {
        let list = {
            let mut topics = client.topics.lock();
            topics.closed = true;
            std::mem::take(&mut topics.list)
        };
        let mut places = Vec::new();
        for membership in list {
            if let Membership::Topic { topic, .. } = &membership
                && topic.is_place
            {
                places.push(Arc::clone(&topic.name));
            }
            self.end(client, membership);
        }
        places
    }

    pub(crate) fn is_member(&self, client: &Client, name: Name<'_>) -> bool {
        client.topics.lock().list.iter().any(|membership| membership.is_of(name))
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.iter().chain(&self.places).map(|shard| shard.read().len()).sum()
    }

    /// Queues one message for all members except those in `except`; returns the tasks to wake. `encode` frames it
    /// once for each format, and is called without a lock.
    pub(super) fn publish(
        &self,
        name: Name<'_>,
        key: Option<&str>,
        except: &[ConnectionId],
        mut encode: impl FnMut(Format) -> Result<Option<Frame>, Error>,
    ) -> Result<Effects, Error> {
        name.check()?;
        let (hashed, shard) = self.shard(name);
        let topic = shard.read().get(hashed.key()).cloned();
        let Some(topic) = topic else { return Ok(Effects::default()) };
        let mut frames = Few::default();
        for format in topic.members.formats() {
            if let Some(frame) = encode(format)? {
                frames.push((format, frame));
            }
        }
        Ok(topic.members.publish(&frames, &Post { topic: &topic.name, tag: topic.tag, key }, except))
    }

    fn end(&self, client: &Client, membership: Membership) {
        // A follower leaves when it is dropped.
        let Membership::Topic { topic, part } = membership else { return };
        if topic.members.remove(client, part as usize) {
            self.remove(&topic);
            self.tell_broker(&client.hub, &topic);
        }
    }

    /// Has the broker bring the topic while it exists, after it has begun or ended.
    fn tell_broker(&self, hub: &Hub, topic: &TopicState) {
        if !topic.is_place {
            hub.look_for_hearers(&topic.name);
        }
    }

    fn has_members(&self, name: Name<'_>) -> bool {
        let (hashed, shard) = self.shard(name);
        shard.read().contains_key(hashed.key())
    }

    /// Returns the topic, and true if it is new.
    fn find_or_insert(&self, name: Name<'_>) -> (Arc<TopicState>, bool) {
        let (hashed, shard) = self.shard(name);
        if let Some(topic) = shard.read().get(hashed.key()) {
            return (Arc::clone(topic), false);
        }
        let mut shard = shard.write();
        if let Some(topic) = shard.get(hashed.key()) {
            return (Arc::clone(topic), false);
        }
        let is_place = matches!(name, Name::Place(_));
        let tag = self.tag(name);
        let name: Arc<str> = name.text().into();
        let topic = Arc::new(TopicState { is_place, name: Arc::clone(&name), tag, members: Members::default() });
        shard.insert(hashed.owned(name), Arc::clone(&topic));
        (topic, true)
    }

    /// Removes a topic that has ended, unless a new one of its name has replaced it.
    fn remove(&self, topic: &Arc<TopicState>) {
        let (hashed, shard) = self.shard(topic.name());
        let mut shard = shard.write();
        if shard.get(hashed.key()).is_some_and(|found| Arc::ptr_eq(found, topic)) {
            shard.remove(hashed.key());
            if shard.is_empty() {
                shard.shrink_to(0);
            }
        }
    }

    /// Returns a hash of a topic's name and kind.
    pub(super) fn tag(&self, name: Name<'_>) -> Tag {
        self.hasher.hash_one(name)
    }

    /// Returns the shard of a name, and the key of it there.
    fn shard<'a>(&self, name: Name<'a>) -> (Hashed<&'a str>, &RwLock<Map>) {
        let hashed = self.names.hashed(name.text());
        let shards = match name {
            Name::Topic(_) => &self.topics,
            Name::Place(_) => &self.places,
        };
        (hashed, &shards[hashed.shard(SHARDS)])
    }
}

impl<'a> Name<'a> {
    fn text(self) -> &'a str {
        let (Self::Topic(text) | Self::Place(text)) = self;
        text
    }

    /// Checks the name: names may come from clients, and go to logs and to brokers.
    pub(super) fn check(self) -> Result<(), Error> {
        let what = match self {
            Self::Topic(_) => "a topic name",
            Self::Place(_) => "the name of a presence",
        };
        let text = self.text();
        let len = text.len();
        if !(1..=MAX_NAME_BYTES).contains(&len) {
            let text = format!("{what} of {len} bytes instead of 1 to {MAX_NAME_BYTES}");
            return Err(Error::invalid_argument(text));
        }
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(Error::invalid_argument(format!("{what} with a control character: {text:?}")));
        }
        Ok(())
    }
}

impl TopicState {
    fn name(&self) -> Name<'_> {
        if self.is_place { Name::Place(&self.name) } else { Name::Topic(&self.name) }
    }
}

impl Membership {
    fn is_of(&self, name: Name<'_>) -> bool {
        matches!(self, Self::Topic { topic, .. } if topic.name() == name)
    }

    pub(super) fn is_of_feed(&self, name: &str) -> bool {
        self.follower().is_some_and(|follower| **follower.feed_name() == *name)
    }

    pub(super) fn follower(&self) -> Option<&Arc<Follower>> {
        if let Self::Feed(following) = self { Some(following.follower()) } else { None }
    }
}
