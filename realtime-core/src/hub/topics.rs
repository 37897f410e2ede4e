use super::{
    members::{Members, Post},
    places::is_place,
};
use crate::{
    ConnectionId, endpoint::Keeping, error::Error, session::Session, sync::RwLock, topic::MAX_NAME_BYTES,
    websocket::Frame,
};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// Who is subscribed to what.
///
/// A topic exists while it has members. One lock for each topic makes all members see its
/// publications in one order; shards keep topics out of each other's way. Who joins or leaves a
/// large topic waits for a publication no longer than it takes to walk one part of it.
#[derive(Debug)]
pub(crate) struct Topics {
    hasher: RandomState,
    shards: [RwLock<HashMap<Arc<str>, Arc<TopicState>>>; SHARDS],
}

const SHARDS: usize = 64;

#[derive(Debug)]
struct TopicState {
    name: Arc<str>,
    members: Members,
}

/// A session's side of a subscription.
#[derive(Debug)]
pub(crate) struct Membership {
    topic: Arc<TopicState>,
    /// Which part it is in; 0 is the first.
    part: usize,
}

impl Default for Topics {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| RwLock::default()) }
    }
}

impl Topics {
    /// Subscribes a session; does nothing if it is already.
    pub(crate) fn join(&self, session: &Arc<Session>, name: &str, keeping: Keeping) -> Result<(), Error> {
        check_name(name)?;
        let mut topics = session.topics.lock();
        // Under the lock that `leave_all` takes: no member can be left behind.
        if topics.closed {
            return Err(Error::failed_precondition("the connection is closed"));
        }
        if topics.list.iter().any(|membership| membership.is_of(name)) {
            return Ok(());
        }
        let limit = session.hub.config.topics_per_connection;
        if topics.list.len() >= limit {
            return Err(Error::resource_exhausted(format!("more than {limit} topics on one connection")));
        }
        loop {
            let topic = self.find_or_insert(name);
            if let Some(part) = topic.members.insert(session, keeping) {
                topics.list.push(Membership { topic, part });
                return Ok(());
            }
            // Its last member has left and it is being removed: wait for that, by its lock.
            self.remove(&topic);
        }
    }

    pub(crate) fn leave(&self, session: &Arc<Session>, name: &str) {
        let mut topics = session.topics.lock();
        let Some(at) = topics.list.iter().position(|membership| membership.is_of(name)) else { return };
        let membership = topics.list.swap_remove(at);
        drop(topics);
        self.end(session, membership);
    }

    /// Ends all subscriptions of a session, and that there can be any. Gives the topics of places among them.
    pub(super) fn leave_all(&self, session: &Arc<Session>) -> Vec<Arc<str>> {
        let list = {
            let mut topics = session.topics.lock();
            topics.closed = true;
            std::mem::take(&mut topics.list)
        };
        let mut places = Vec::new();
        for membership in list {
            if is_place(&membership.topic.name) {
                places.push(Arc::clone(&membership.topic.name));
            }
            self.end(session, membership);
        }
        places
    }

    pub(crate) fn is_member(&self, session: &Session, name: &str) -> bool {
        session.topics.lock().list.iter().any(|membership| membership.is_of(name))
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Queues one message for all members but `except`; gives to how many. `encode` frames it for
    /// a format, once each, and is called without a lock.
    pub(crate) fn publish(
        &self,
        name: &str,
        key: Option<&str>,
        except: &[ConnectionId],
        mut encode: impl FnMut(usize) -> Result<Option<Frame>, Error>,
    ) -> Result<usize, Error> {
        check_name(name)?;
        let Some(topic) = self.shard(name).read().get(name).cloned() else { return Ok(0) };
        let mut frames: Vec<(usize, Frame)> = Vec::new();
        for format in topic.members.formats() {
            if let Some(frame) = encode(format)? {
                frames.push((format, frame));
            }
        }
        Ok(topic.members.publish(&frames, &Post { topic: &topic.name, key }, except))
    }

    fn end(&self, session: &Session, membership: Membership) {
        let Membership { topic, part } = membership;
        if topic.members.remove(session, part) {
            self.remove(&topic);
        }
    }

    fn find_or_insert(&self, name: &str) -> Arc<TopicState> {
        let shard = self.shard(name);
        if let Some(topic) = shard.read().get(name) {
            return Arc::clone(topic);
        }
        let mut shard = shard.write();
        if let Some(topic) = shard.get(name) {
            return Arc::clone(topic);
        }
        let name: Arc<str> = name.into();
        let topic = Arc::new(TopicState { name: Arc::clone(&name), members: Members::default() });
        shard.insert(name, Arc::clone(&topic));
        topic
    }

    /// Removes a topic that ended, unless a new one of its name has taken the place.
    fn remove(&self, topic: &Arc<TopicState>) {
        let mut shard = self.shard(&topic.name).write();
        if shard.get(&topic.name).is_some_and(|found| Arc::ptr_eq(found, topic)) {
            shard.remove(&topic.name);
            if shard.is_empty() {
                shard.shrink_to(0);
            }
        }
    }

    fn shard(&self, name: &str) -> &RwLock<HashMap<Arc<str>, Arc<TopicState>>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    match name.len() {
        1..=MAX_NAME_BYTES => Ok(()),
        len => {
            Err(Error::invalid_argument(format!("a topic name of {len} bytes instead of 1 to {MAX_NAME_BYTES}")))
        }
    }
}

impl Membership {
    fn is_of(&self, name: &str) -> bool {
        &*self.topic.name == name
    }
}
