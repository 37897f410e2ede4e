use crate::{
    ConnectionId,
    error::Error,
    session::{PushError, Session},
    sync::{Mutex, RwLock},
    topic::MAX_NAME_BYTES,
    websocket::Frame,
};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    task::Waker,
};

/// Who is subscribed to what.
///
/// A topic exists while it has members. One lock for each topic makes all members see its
/// publications in one order; shards keep topics out of each other's way.
#[derive(Debug)]
pub(crate) struct Topics {
    hasher: RandomState,
    shards: [RwLock<HashMap<Arc<str>, Arc<TopicState>>>; SHARDS],
}

const SHARDS: usize = 64;

#[derive(Debug)]
struct TopicState {
    name: Arc<str>,
    members: Mutex<Members>,
}

/// A session's side of a subscription.
#[derive(Debug)]
pub(crate) struct Membership(Arc<TopicState>);

impl Default for Topics {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| RwLock::default()) }
    }
}

impl Topics {
    /// Subscribes a session; does nothing if it is already.
    pub(crate) fn join(&self, session: &Arc<Session>, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let mut topics = session.topics.lock();
        // Under the lock that `leave_all` takes: no member can be left behind.
        if topics.closed {
            return Err(Error::failed_precondition("the connection is closed"));
        }
        if topics.list.iter().any(|membership| &*membership.0.name == name) {
            return Ok(());
        }
        let limit = session.hub.config.topics_per_connection;
        if topics.list.len() >= limit {
            return Err(Error::resource_exhausted(format!("more than {limit} topics on one connection")));
        }
        loop {
            let topic = self.find_or_insert(name);
            if topic.members.lock().insert(session) {
                topics.list.push(Membership(topic));
                return Ok(());
            }
            // Its last member has left and it is being removed: wait for that, by its lock.
            self.remove(&topic);
        }
    }

    pub(crate) fn leave(&self, session: &Arc<Session>, name: &str) {
        let mut topics = session.topics.lock();
        let Some(at) = topics.list.iter().position(|membership| &*membership.0.name == name) else { return };
        let Membership(topic) = topics.list.swap_remove(at);
        drop(topics);
        self.leave_topic(session, &topic);
    }

    /// Ends all subscriptions of a session, and that there can be any.
    pub(crate) fn leave_all(&self, session: &Arc<Session>) {
        let list = {
            let mut topics = session.topics.lock();
            topics.closed = true;
            std::mem::take(&mut topics.list)
        };
        for Membership(topic) in list {
            self.leave_topic(session, &topic);
        }
    }

    pub(crate) fn is_member(&self, session: &Session, name: &str) -> bool {
        session.topics.lock().list.iter().any(|membership| &*membership.0.name == name)
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Queues one message for all members but `except`; gives to how many. `encode` frames it for
    /// a format, once each, and is called without a lock.
    pub(crate) fn publish(
        &self,
        name: &str,
        except: &[ConnectionId],
        mut encode: impl FnMut(usize) -> Result<Option<Frame>, Error>,
    ) -> Result<usize, Error> {
        check_name(name)?;
        let Some(topic) = self.shard(name).read().get(name).cloned() else { return Ok(0) };
        let mut frames: Vec<(usize, Option<Frame>)> = Vec::new();
        loop {
            let members = topic.members.lock();
            let missing = members.formats().find(|format| !frames.iter().any(|(known, _)| known == format));
            if let Some(format) = missing {
                let sample = members.list.first().map(Arc::clone);
                drop(members);
                let frame = encode(format)?;
                // Else it would close them all, for what is none of their fault.
                if let (Some(frame), Some(sample)) = (&frame, sample) {
                    sample.outbox.may_hold(frame.len())?;
                }
                frames.push((format, frame));
                continue;
            }
            let mut effects = Effects::default();
            let mut delivered = 0;
            for session in members.list.iter().filter(|session| !except.contains(&session.id)) {
                let frame = frames.iter().find(|(format, _)| *format == session.format());
                let Some((_, Some(frame))) = frame else { continue };
                match session.outbox.push_shared(frame) {
                    Ok(waker) => {
                        delivered += 1;
                        effects.wake.extend(waker);
                    }
                    Err(PushError::Full) => effects.slow.push(Arc::clone(session)),
                    Err(PushError::Closed) => {}
                }
            }
            drop(members);
            effects.run();
            return Ok(delivered);
        }
    }

    fn leave_topic(&self, session: &Session, topic: &Arc<TopicState>) {
        let is_empty = topic.members.lock().remove(session);
        if is_empty {
            self.remove(topic);
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
        let topic = Arc::new(TopicState { name: Arc::clone(&name), members: Mutex::default() });
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

/// What a publication leaves to do when its topic's lock is gone.
#[derive(Default)]
struct Effects {
    wake: Vec<Waker>,
    slow: Vec<Arc<Session>>,
}

impl Effects {
    fn run(self) {
        for waker in self.wake {
            waker.wake();
        }
        for session in self.slow {
            session.close_slow();
        }
    }
}

/// The members of one topic: a list to walk, and where each stands in it once it is long.
#[derive(Debug, Default)]
struct Members {
    /// The last one has left; nobody may join this one any more.
    ended: bool,
    list: Vec<Arc<Session>>,
    places: HashMap<ConnectionId, usize>,
    /// How many there are of each format.
    counts: Vec<usize>,
}

/// From here on looking for a member in the list takes longer than in a map.
const SEARCHED: usize = 16;

impl Members {
    /// Gives `false` if the topic has ended.
    fn insert(&mut self, session: &Arc<Session>) -> bool {
        if self.ended {
            return false;
        }
        let format = session.format();
        if self.counts.len() <= format {
            self.counts.resize(format + 1, 0);
        }
        self.counts[format] += 1;
        self.list.push(Arc::clone(session));
        if self.list.len() > SEARCHED {
            let known = self.places.len();
            self.places.extend(self.list.iter().enumerate().skip(known).map(|(at, session)| (session.id, at)));
        }
        true
    }

    /// Gives whether that was the last one.
    fn remove(&mut self, session: &Session) -> bool {
        let Some(at) = self.place(session.id) else { return false };
        self.places.remove(&session.id);
        self.counts[session.format()] -= 1;
        self.list.swap_remove(at);
        if let Some(moved) = self.list.get(at)
            && let Some(place) = self.places.get_mut(&moved.id)
        {
            *place = at;
        }
        if self.list.len() <= SEARCHED {
            self.places = HashMap::new();
        }
        self.ended = self.list.is_empty();
        self.ended
    }

    fn place(&self, id: ConnectionId) -> Option<usize> {
        if self.list.len() > SEARCHED {
            return self.places.get(&id).copied();
        }
        self.list.iter().position(|session| session.id == id)
    }

    fn formats(&self) -> impl Iterator<Item = usize> {
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(format, _)| format)
    }
}
