use crate::{
    ConnectionId,
    error::Error,
    session::{PushError, Session},
    sync::{Mutex, RwLock},
    topic::MAX_NAME_BYTES,
    websocket::Frame,
};
use std::{
    cell::Cell,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    iter,
    sync::{Arc, OnceLock},
    task::Waker,
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
    counts: Mutex<Counts>,
    /// Held while a publication is handed to the members: all get all of them in one order.
    order: Mutex<()>,
    first: Mutex<Members>,
    /// Once the first part is full.
    parts: OnceLock<Box<[Mutex<Members>]>>,
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
    pub(crate) fn join(&self, session: &Arc<Session>, name: &str) -> Result<(), Error> {
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
            if let Some(part) = topic.insert(session) {
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

    /// Ends all subscriptions of a session, and that there can be any.
    pub(crate) fn leave_all(&self, session: &Arc<Session>) {
        let list = {
            let mut topics = session.topics.lock();
            topics.closed = true;
            std::mem::take(&mut topics.list)
        };
        for membership in list {
            self.end(session, membership);
        }
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
        except: &[ConnectionId],
        mut encode: impl FnMut(usize) -> Result<Option<Frame>, Error>,
    ) -> Result<usize, Error> {
        check_name(name)?;
        let Some(topic) = self.shard(name).read().get(name).cloned() else { return Ok(0) };
        let mut frames: Vec<(usize, Frame)> = Vec::new();
        let formats = topic.counts.lock().formats();
        for format in formats {
            if let Some(frame) = encode(format)? {
                frames.push((format, frame));
            }
        }
        let mut effects = Effects::take();
        let order = topic.order.lock();
        for part in topic.parts() {
            part.lock().push(&frames, except, &mut effects);
        }
        drop(order);
        Ok(effects.run())
    }

    fn end(&self, session: &Session, membership: Membership) {
        let Membership { topic, part } = membership;
        if topic.remove(session, part) {
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
        let topic = Arc::new(TopicState::new(Arc::clone(&name)));
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

impl TopicState {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            counts: Mutex::default(),
            order: Mutex::default(),
            first: Mutex::default(),
            parts: OnceLock::new(),
        }
    }

    /// Gives the part that the session is in now; `None` if the topic has ended.
    fn insert(&self, session: &Arc<Session>) -> Option<usize> {
        // First counted, then there: a publication that finds it has its format.
        if !self.counts.lock().add(session.format()) {
            return None;
        }
        let mut first = self.first.lock();
        if first.list.len() < PART {
            first.insert(session);
            return Some(0);
        }
        drop(first);
        let parts = self.parts.get_or_init(|| (1..PARTS).map(|_| Mutex::default()).collect());
        let part = session.id.number as usize % parts.len();
        parts[part].lock().insert(session);
        Some(part + 1)
    }

    /// Gives whether that was the last one.
    fn remove(&self, session: &Session, part: usize) -> bool {
        let Some(members) = self.parts().nth(part) else { return false };
        members.lock().remove(session);
        self.counts.lock().remove(session.format())
    }

    fn parts(&self) -> impl Iterator<Item = &Mutex<Members>> {
        let more = self.parts.get().map_or(&[][..], |parts| parts);
        iter::once(&self.first).chain(more)
    }
}

/// Until here a topic is in one part.
const PART: usize = 512;

/// In so many is a larger one.
const PARTS: usize = 32;

/// How many members a topic has of each format.
#[derive(Debug, Default)]
struct Counts {
    /// The last one has left; nobody may join this one any more.
    ended: bool,
    of: Vec<usize>,
}

impl Counts {
    /// Gives `false` if the topic has ended.
    fn add(&mut self, format: usize) -> bool {
        if self.ended {
            return false;
        }
        if self.of.len() <= format {
            self.of.resize(format + 1, 0);
        }
        self.of[format] += 1;
        true
    }

    /// Gives whether that was the last one.
    fn remove(&mut self, format: usize) -> bool {
        self.of[format] -= 1;
        self.ended = self.of.iter().all(|count| *count == 0);
        self.ended
    }

    fn formats(&self) -> Vec<usize> {
        self.of.iter().enumerate().filter(|(_, count)| **count > 0).map(|(format, _)| format).collect()
    }
}

/// What a publication leaves to do when its topic's locks are gone.
#[derive(Default)]
struct Effects {
    delivered: usize,
    wake: Vec<Waker>,
    slow: Vec<Arc<Session>>,
}

impl Effects {
    /// With the thread's own list of wakers. Taken, not borrowed: a waker may itself publish.
    fn take() -> Self {
        Self { wake: WAKERS.take(), ..Self::default() }
    }

    /// Gives how many members got it.
    fn run(mut self) -> usize {
        self.wake.drain(..).for_each(Waker::wake);
        self.slow.iter().for_each(|session| session.close_slow());
        if self.wake.capacity() <= KEPT_WAKERS {
            WAKERS.set(self.wake);
        }
        self.delivered
    }
}

thread_local! {
    static WAKERS: Cell<Vec<Waker>> = const { Cell::new(Vec::new()) };
}

/// A longer list is freed instead of being kept by the thread.
const KEPT_WAKERS: usize = 16 * 1024;

/// The members of one part of a topic: a list to walk, and where each stands in it once it is long.
#[derive(Debug, Default)]
struct Members {
    list: Vec<Member>,
    places: HashMap<ConnectionId, usize>,
}

/// What a walk must know before it looks at the session itself.
#[derive(Debug)]
struct Member {
    format: usize,
    session: Arc<Session>,
}

/// From here on looking for a member in the list takes longer than in a map.
const SEARCHED: usize = 16;

impl Members {
    fn insert(&mut self, session: &Arc<Session>) {
        self.list.push(Member { format: session.format(), session: Arc::clone(session) });
        if self.list.len() > SEARCHED {
            let known = self.places.len();
            let unknown = self.list.iter().enumerate().skip(known);
            self.places.extend(unknown.map(|(at, member)| (member.session.id, at)));
        }
    }

    fn remove(&mut self, session: &Session) {
        let Some(at) = self.place(session.id) else { return };
        self.places.remove(&session.id);
        self.list.swap_remove(at);
        if let Some(moved) = self.list.get(at)
            && let Some(place) = self.places.get_mut(&moved.session.id)
        {
            *place = at;
        }
        if self.list.len() <= SEARCHED {
            self.places = HashMap::new();
        }
    }

    fn place(&self, id: ConnectionId) -> Option<usize> {
        if self.list.len() > SEARCHED {
            return self.places.get(&id).copied();
        }
        self.list.iter().position(|member| member.session.id == id)
    }

    /// Queues the frame of its format for each member but `except`.
    fn push(&self, frames: &[(usize, Frame)], except: &[ConnectionId], effects: &mut Effects) {
        let mut left_out: Vec<usize> = except.iter().filter_map(|id| self.place(*id)).collect();
        left_out.sort_unstable();
        left_out.dedup();
        let mut rest = &self.list[..];
        for at in left_out.into_iter().rev() {
            let (before, after) = rest.split_at(at);
            push_all(&after[1..], frames, effects);
            rest = before;
        }
        push_all(rest, frames, effects);
    }
}

fn push_all(members: &[Member], frames: &[(usize, Frame)], effects: &mut Effects) {
    for Member { format, session } in members {
        // One who joined with another format since the message was encoded is not told of it.
        let Some((_, frame)) = frames.iter().find(|(known, _)| known == format) else { continue };
        match session.outbox.push_shared(frame) {
            Ok(waker) => {
                effects.delivered += 1;
                effects.wake.extend(waker);
            }
            Err(PushError::Full) => effects.slow.push(Arc::clone(session)),
            Err(PushError::Closed) => {}
        }
    }
}
